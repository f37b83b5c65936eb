# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stage `e2e`: every molecule scenario against the real stack, over SSH.

One molecule run per scenario: a scenario that fails does not keep the others from running. A scenario counts once, and each test
that it runs counts too. The scenarios are shared out between lanes, each with a stack of its own that `default` creates, and that
is removed at the end whatever happened: a run mostly waits for SSH, containers and servers, and leaves a third of two cores idle.
"""

from __future__ import annotations

import os
import re
import threading
from collections import deque
from pathlib import Path

import junit
from machine import CACHE, ROOT, files
from stages import Finished, Judge, Stage, Tally, Verdict, bad, exits_zero, ok, side_by_side

#: Where demo/engine notes the engine that it has started.
ENGINE = ROOT / ".stack" / "engine" / "dockerd.pid"

#: Creates and destroys what the others share.
SHARED = "default"

#: Set in the environment where the tests marked `long` are wanted too; tests/e2e/conftest.py reads it.
ALL = "DBOPS_TEST_ALL"

#: Set in the environment to the name of the lane's stack; .config/molecule/config.yml and tests/e2e/conftest.py read it.
STACK = "DBOPS_TEST_STACK"

#: More stacks than cores would only make each other wait.
LANES = min(2, os.cpu_count() or 1)

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
    ran_before = ENGINE.exists()
    waiting = deque(name for name in scenarios() if name != SHARED)
    creating = threading.Lock()  # the first one builds the images
    lanes = [Lane(f"e2e-{number}" if number > 1 else "e2e", waiting, creating) for number in range(1, LANES + 1)]

    def stop() -> None:
        waiting.clear()
        for lane in lanes:
            lane.stage.end()

    try:
        side_by_side([lane.run for lane in lanes], stop)
    finally:
        if not ran_before:  # what these tests have started goes with them
            stage.run([str(ROOT / "demo" / "engine"), "leave"], always=True)
    for lane in lanes:
        stage.tally += lane.stage.tally
    if waiting:
        stage.record(", ".join(waiting), bad("never begun", count=len(waiting)))


class Lane:
    """A stack, and the scenarios that it takes from the queue until that is empty. Each has a log of its own."""

    def __init__(self, stack: str, waiting: deque[str], creating: threading.Lock) -> None:
        self.stage = Stage(stack)
        self._waiting = waiting
        self._creating = creating
        self._env = {STACK: stack, "MOLECULE_EPHEMERAL_DIRECTORY": str(CACHE / "molecule" / stack)}

    def run(self) -> None:
        try:
            if self._create():
                while name := self._next():
                    self._scenario(name)
        finally:
            self._molecule("the stack, afterwards", ["destroy", "--scenario-name", SHARED], exits_zero("removed"), limit=600, always=True)

    def _next(self) -> str:
        try:
            return self._waiting.popleft()
        except IndexError:
            return ""

    def _create(self) -> bool:
        with self._creating:
            self.stage.run(["molecule", "--no-debug", "destroy", "--scenario-name", SHARED], env=self._env)  # left by an interrupted run
            return self._molecule("the stack", ["create", "--scenario-name", SHARED], exits_zero("created"), limit=1200)

    def _scenario(self, name: str) -> None:
        report = CACHE / "test" / f"e2e-{name}.xml"
        report.unlink(missing_ok=True)
        self._molecule(
            name,
            ["test", "--scenario-name", name, "--destroy", "never", "--no-command-borders"],
            lambda done: with_tests(judge(done), junit.read([report])),
            limit=7200 if os.environ.get(ALL) else 1800,
        )

    def _molecule(self, what: str, words: list[str], judge: Judge, *, limit: int, always: bool = False) -> bool:
        return self.stage.check(what, ["molecule", "--no-debug", *words], judge, env=self._env, limit=limit, always=always)


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
