# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Installs the collection as people do: from the built tarball, into an empty folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from controller import ROOT

#: All that a user needs; what else is in the tarball is for reading.
NEEDED = {"meta", "plugins", "roles", "playbooks", "MANIFEST.json", "FILES.json"}

#: The collections that ours depends on, as the checkout has them.
DEPENDENCIES = ROOT / ".ansible" / "collections" / "ansible_collections" / "community"


def install_tarball(folder: Path) -> Path:
    """Make of an empty folder a collections path: the installed tarball, all else than what is needed deleted, and the dependencies."""
    galaxy = [str(Path(sys.executable).parent / "ansible-galaxy"), "collection"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")} | {"ANSIBLE_HOME": str(folder / "home")}
    subprocess.run([*galaxy, "build", "--output-path", str(folder), str(ROOT)], cwd=folder, env=env, check=True, capture_output=True)
    [tarball] = folder.glob("dbops-postgres-*.tar.gz")
    install = [*galaxy, "install", "--offline", "--no-deps", "--collections-path", str(folder), str(tarball)]
    subprocess.run(install, cwd=folder, env=env, check=True, capture_output=True)
    installed = folder / "ansible_collections" / "dbops" / "postgres"
    for entry in installed.iterdir():
        if entry.name not in NEEDED:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    assert {entry.name for entry in installed.iterdir()} == NEEDED
    (folder / "ansible_collections" / "community").symlink_to(DEPENDENCIES)
    return folder
