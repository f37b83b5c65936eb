# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stage `unit`: pytest on the controller's Python, and the files that run on managed hosts on the oldest Python as well."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import junit
from machine import CACHE, ROOT, files, interpreters
from stages import Finished, Stage, Tally, Verdict, bad, exits_zero, skip

#: The oldest Python of a managed host: ansible-core 2.18's own floor.
FLOOR = (3, 8)
CONTROLLER = (3, 11)
REQUIREMENTS = ROOT / "tests" / "unit" / "requirements-oldest.txt"


def check(stage: Stage) -> None:
    _pytest(stage, "pytest", ["python", "-m", "pytest"], "tests/unit")
    if not files("tests/unit/module_utils/*/test_*.py"):
        stage.record("pytest, oldest Python", bad("there is nothing in tests/unit/module_utils"))
        return
    old = {version: program for version, program in interpreters().items() if FLOOR <= version < CONTROLLER}
    if not old:
        stage.record("pytest, oldest Python", skip("no Python older than the controller's on this machine"))
        return
    version = min(old)
    name = ".".join(map(str, version))
    python = _environment(stage, name, old[version])
    if python:
        _pytest(stage, f"pytest on Python {name}", [str(python), "-m", "pytest"], "tests/unit/module_utils")


def _pytest(stage: Stage, what: str, command: list[str], folder: str) -> None:
    report = CACHE / "test" / f"{what.replace(' ', '-')}.xml"
    report.unlink(missing_ok=True)
    stage.check(what, [*command, folder, "--quiet", f"--junitxml={report}"], lambda done: judge(done, junit.read([report])))


def judge(done: Finished, cases: list[junit.Case]) -> Verdict:
    """Count by the report; pytest's exit code 5 (no test collected) and a crash that left no report are failures."""
    passed, failed, skipped = (sum(case.outcome == outcome for case in cases) for outcome in (junit.PASSED, junit.FAILED, junit.SKIPPED))
    if done.code != 0 and not failed:
        return Verdict(Tally(passed, 1, skipped), f"exit code {done.code}")
    if passed == 0 and not failed:
        return bad("no test was executed")
    return Verdict(Tally(passed, failed, skipped), f"{len(cases)} tests")


def _environment(stage: Stage, name: str, interpreter: Path) -> Path | None:
    """A virtual environment of that Python, made anew only when its requirements have changed."""
    folder = CACHE / "venv" / f"unit-{name}"
    python = folder / "bin" / "python"
    stamp = folder / "requirements.sha256"
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if python.exists() and stamp.is_file() and stamp.read_text() == digest:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    for argv in (
        [str(interpreter), "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(REQUIREMENTS)],
    ):
        done = stage.run(argv)
        if done.code != 0:
            stage.record(f"environment of Python {name}", exits_zero("")(done), output=done.output)
            return None
    stamp.write_text(digest)
    return python
