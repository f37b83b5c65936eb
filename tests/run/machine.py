# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The machine that the tests run on: the checkout's folders, the programs' environment, the Python interpreters."""

from __future__ import annotations

import functools
import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
VENV = ROOT / ".venv"
COLLECTIONS = ROOT / ".ansible" / "collections"

_NAME = re.compile(r"python3\.\d+")

#: What a person has set for their own work must not decide what the tests find.
_DROPPED = ("ANSIBLE_", "MOLECULE_", "PYTEST_", "PYTHON", "RUFF_", "MYPY", "GALAXY_", "GIT_", "VIRTUAL_ENV")


def files(*patterns: str) -> list[str]:
    """The checkout's own files, whether committed yet or not, that match a git pattern; ignored ones never."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return sorted(name for name in set(listed.split("\0")) if name and (ROOT / name).is_file())


def environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of every program: this checkout's tools first, nothing of the person's own Ansible settings."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED)}
    env["PATH"] = os.pathsep.join([str(VENV / "bin"), *_path()])
    env["LC_ALL"] = "C.UTF-8"
    env["NO_COLOR"] = "1"
    env["ANSIBLE_NOCOLOR"] = "1"
    env["ANSIBLE_COLLECTIONS_PATH"] = str(COLLECTIONS)
    env["ANSIBLE_COLLECTIONS_SCAN_SYS_PATH"] = "false"  # only what the collection declares, not all of PyPI's package ansible
    env["ANSIBLE_HOME"] = str(CACHE / "ansible")
    env["PYTHONPYCACHEPREFIX"] = str(CACHE / "pycache")
    env.update(extra or {})
    return env


def _path() -> list[str]:
    """PATH without a version manager's shims: they exist for versions that are not active, and then fail."""
    return [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder and not folder.endswith("/shims")]


@functools.lru_cache(maxsize=None)
def interpreters() -> dict[tuple[int, int], Path]:
    """Every Python 3 on this machine that really starts, by version: on PATH, or kept by pyenv."""
    homes = [Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv"), Path.home() / ".pyenv"]
    folders = [Path(folder) for folder in _path()] + [found for home in homes for found in sorted(home.glob("versions/*/bin"))]
    usable: dict[tuple[int, int], Path] = {}
    for folder in folders:
        for program in sorted(folder.glob("python3.*")) if folder.is_dir() else []:
            version = _version(program) if _NAME.fullmatch(program.name) else None
            if version:
                usable.setdefault(version, program)
    return dict(sorted(usable.items()))


def _version(program: Path) -> tuple[int, int] | None:
    """The version that an interpreter says it has, provided that it can make virtual environments."""
    asked = subprocess.run(
        [str(program), "-c", "import ensurepip, sys, venv; print(*sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode != 0:
        return None
    major, minor = asked.stdout.split()
    return int(major), int(minor)
