# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stage `sanity`: all of `ansible-test sanity`, on the oldest to the newest Python that this machine has."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import junit
import tree
from machine import CACHE, environment, interpreters
from stages import Finished, Stage, Tally, Verdict

HOME = CACHE / "home"

#: Stands in for the get-pip that ansible-test downloads: Python brings pip along, and a package index is all that is needed.
GET_PIP = """\
import subprocess
import sys

options = [arg for arg in sys.argv[1:] if arg not in ("--no-setuptools", "--no-wheel")]
subprocess.check_call([sys.executable, "-m", "ensurepip"], stdout=subprocess.DEVNULL)
subprocess.check_call([sys.executable, "-m", "pip", "install", "--quiet", "--upgrade"] + options)
"""
GET_PIP_VERSIONS = ("24_2", "25_2")  # of ansible-core 2.18 and 2.19, 2.20 and 2.21

#: What ansible-test says of a test that found no file of its kind; fine for PowerShell, a false green for these.
_NO_TARGET = "No tests applicable."
_MUST_HAVE_FILES = ("compile", "import", "pep8", "pylint", "shellcheck", "validate-modules", "yamllint")

#: A program that is missing makes a test say the same; only this warning tells.
_NO_PROGRAM = re.compile(r'^WARNING: Required program "([^"]+)" not found', re.MULTILINE)


def check(stage: Stage) -> None:
    copy = tree.refresh()
    # What an earlier run left there would be linted by the next one, and counted.
    shutil.rmtree(copy / "tests" / "output", ignore_errors=True)
    _home()
    stage.check(
        "ansible-test sanity",
        ["ansible-test", "sanity", "--color", "no", "--junit"],
        lambda done: judge(done, junit.read((copy / "tests" / "output" / "junit").glob("*.xml"))),
        cwd=copy,
        env={"HOME": str(HOME), "PATH": _path()},
        limit=1500,
    )


def judge(done: Finished, cases: list[junit.Case]) -> Verdict:
    """Count each test on each Python by its own report: the exit code is 0 too when tests were left out."""
    idle = [case.name for case in cases if case.outcome == junit.SKIPPED and case.text == _NO_TARGET]
    failed = [f"{case.name}:\n{case.text}" for case in cases if case.outcome == junit.FAILED]
    failed += [f"{name}: found no file to check" for name in idle if name.startswith(_MUST_HAVE_FILES)]
    left_out = [case.text for case in cases if case.outcome == junit.SKIPPED and case.name not in idle]
    left_out += [f"{program} is not installed" for program in _NO_PROGRAM.findall(done.output) if program != "pwsh"]
    passed = sum(case.outcome == junit.PASSED for case in cases)
    if not cases:
        return Verdict(Tally(failed=1), f"exit code {done.code}, and no test ran")
    if done.code != 0 and not failed:
        failed.append(f"exit code {done.code} without a failed test:\n{done.output[-2000:]}")
    note = f"{len(cases)} tests" + "".join(f"; left out: {reason}" for reason in left_out)
    return Verdict(Tally(passed, len(failed), len(left_out)), note, "\n".join(failed))


def _home() -> None:
    """A home folder of its own for ansible-test's caches, with the stand-in in it, and the person's own settings for pip."""
    cache = HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in GET_PIP_VERSIONS:
        (cache / f"get_pip_{version}.py").write_text(GET_PIP)
    for name in (".config", ".pip", ".cache"):
        link, own = HOME / name, Path.home() / name
        if own.is_dir() and not link.is_symlink():
            link.symlink_to(own)


def _path() -> str:
    """The usual PATH, and behind it every real interpreter, so that the oldest Python is tested where there is one."""
    path = environment()["PATH"].split(os.pathsep)
    path += [str(program.parent) for program in interpreters().values() if str(program.parent) not in path]
    return os.pathsep.join(path)
