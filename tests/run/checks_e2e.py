# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stage `e2e`: every molecule scenario against the real stack, over SSH.

One molecule run per scenario, on the one stack that `default` creates: a scenario that fails does not keep the others from
running, and the stack is removed at the end whatever happened. A scenario counts once, and each test that it runs counts too.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import junit
from machine import CACHE, files
from stages import Finished, Stage, Tally, Verdict, bad, exits_zero, ok

#: Creates and destroys what the others share.
SHARED = "default"

#: Set in the environment where the tests marked `long` are wanted too; tests/e2e/conftest.py reads it.
ALL = "DBOPS_TEST_ALL"

#: What Ansible says when a play has run on nothing, which it takes for success.
_NO_HOST = re.compile(r"provided hosts list is empty|skipping: no hosts matched|Could not match supplied host pattern")
#: The one play that may: it is for localhost, and fails where the inventory has no host at all.
_MAY_MATCH_NONE = re.compile(r"PLAY \[Require a database in the inventory\] \**\s*skipping: no hosts matched")
_RECAP = re.compile(r"^\S+\s*:\s*ok=(\d+)\s+changed=\d+\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)


def scenarios() -> list[str]:
    return [Path(name).parent.name for name in files("molecule/*/molecule.yml")]


def check(stage: Stage) -> None:
    if SHARED not in scenarios():
        stage.record("molecule", bad(f"there is no scenario '{SHARED}'"))
        return
    molecule = ["molecule", "--no-debug"]
    try:
        stage.run([*molecule, "destroy", "--scenario-name", SHARED])  # what an interrupted run has left
        if stage.check("the stack", [*molecule, "create", "--scenario-name", SHARED], exits_zero("created"), limit=1200):
            for name in scenarios():
                if name != SHARED:
                    _scenario(stage, name, [*molecule, "test", "--scenario-name", name, "--destroy", "never", "--no-command-borders"])
    finally:
        stage.check("the stack, afterwards", [*molecule, "destroy", "--scenario-name", SHARED], exits_zero("removed"), limit=600)


def _scenario(stage: Stage, name: str, argv: list[str]) -> None:
    report = CACHE / "test" / f"e2e-{name}.xml"
    report.unlink(missing_ok=True)
    stage.check(name, argv, lambda done: with_tests(judge(done), junit.read([report])), limit=7200 if os.environ.get(ALL) else 1800)


def with_tests(verdict: Verdict, cases: list[junit.Case]) -> Verdict:
    """The scenario's own verdict and its tests' outcomes; where tests failed, they are what to show."""
    if not cases:
        return verdict if verdict.tally.failed else bad("its tests left no report")
    failed = [case for case in cases if case.outcome == junit.FAILED]
    passed, skipped = (sum(case.outcome == outcome for case in cases) for outcome in (junit.PASSED, junit.SKIPPED))
    tally = Tally(passed, len(failed), skipped) + (Tally() if failed else verdict.tally)
    details = "\n".join(f"{case.name}\n{case.text}" for case in failed)
    return Verdict(tally, f"{verdict.note}, {len(cases)} tests", details)


def judge(done: Finished) -> Verdict:
    """Exit code 0, and at least one task that ran on a host: molecule ends with 0 too when its plays match none."""
    if done.code != 0:
        return bad(f"exit code {done.code}")
    if _NO_HOST.search(_MAY_MATCH_NONE.sub("", done.output)):
        return bad("a play matched no host")
    tasks = sum(int(fine) for fine, _unreachable, _failed in _RECAP.findall(done.output))
    return ok(f"{tasks} tasks") if tasks else bad("exit code 0, but no task ran")
