# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stage `lint`: style and types of everything in the checkout."""

from __future__ import annotations

import re

import checks_examples
from machine import COLLECTIONS, ROOT, files
from stages import Stage, bad, exits_zero, says

_SHELL = re.compile(rb"^#!\s*(/usr/bin/env\s+|/bin/|/usr/bin/)(ba|da)?sh\b")
_COLLECTION = "ansible_collections/dbops/postgres"


def check(stage: Stage) -> None:
    python = files("*.py")
    module_utils = files("plugins/module_utils/*.py")
    _with_files(stage, "ruff check", ["ruff", "check"], python)
    _with_files(stage, "ruff format", ["ruff", "format", "--check"], python)
    _with_files(stage, "yamllint", ["yamllint", "--strict"], [*files("*.yml", "*.yaml"), ".yamllint", ".ansible-lint"])
    _with_files(stage, "shellcheck", ["shellcheck", "--external-sources"], shell_scripts())
    if not module_utils:
        stage.record("mypy", bad("there is nothing in plugins/module_utils"))
    else:
        stage.check(
            "mypy: module_utils",
            ["mypy", "--config-file", str(ROOT / "pyproject.toml"), *(f"{_COLLECTION}/{name}" for name in module_utils)],
            says(r"no issues found in (\d+) source files?", "{} files"),
            cwd=COLLECTIONS,
        )
    stage.check(
        "mypy: tests/run",
        ["mypy", "--config-file", str(ROOT / "pyproject.toml"), *files("tests/run/*.py")],
        says(r"no issues found in (\d+) source files?", "{} files"),
    )
    stage.check(
        "ansible-lint",
        ["ansible-lint", "--offline", "--profile", "production"],
        says(r"Passed: 0 failure\(s\), 0 warning\(s\) in (\d+) files processed", "{} files, profile production"),
    )
    checks_examples.check(stage)


def shell_scripts() -> list[str]:
    """Shell scripts are known by their first line: most have no extension."""

    def first_line(name: str) -> bytes:
        with (ROOT / name).open("rb") as script:
            return script.readline(80)

    return [name for name in files() if _SHELL.match(first_line(name))]


def _with_files(stage: Stage, what: str, argv: list[str], names: list[str]) -> None:
    """A linter that is handed its files by name."""
    if names:
        stage.check(what, [*argv, *names], exits_zero(f"{len(names)} files"))
    else:
        stage.record(what, bad("there is nothing to check"))
