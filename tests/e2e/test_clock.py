# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host's clock is set back, between two runs and in the middle of one.

Debian's libfaketime stands between the modules' Python and the host's clock; the server and the engine keep theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller import Controller, Run
from faults import Hand, damaged_backups, journal, left_behind, stop_in
from stack import Server, Stack

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), Path("libfaketime.so.1"))

#: The library's clock_nanosleep, with which Python sleeps, refuses to work where the monotonic clock stays as it is.
SLEEP = "import select, time; time.sleep = lambda seconds: select.select([], [], [], seconds) and None"

BACK = "-2d"
RIGHT = "+0"


class Clock:
    """The clock of the modules' Python on the target host; ``set`` sets it at once, also for those that run."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._folder = f"/tmp/{stack.name}-clock"
        self._offset = f"{self._folder}/offset"
        self.python = f"{self._folder}/python3"
        # Only the clock on the wall is set: what durations are measured with runs on, as it does when somebody sets a real one.
        env = f"LD_PRELOAD={LIBRARY} FAKETIME_TIMESTAMP_FILE={self._offset} FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1"
        stack.as_deploy(
            f"mkdir -p {self._folder} && echo '{SLEEP}' > {self._folder}/sitecustomize.py"
            f" && printf '#!/bin/sh\\n{env} PYTHONPATH={self._folder} exec /usr/bin/python3 \"$@\"\\n' > {self.python}"
            f" && chmod 0755 {self.python}"
        )
        self.set(RIGHT)

    def set(self, offset: str) -> None:
        self._stack.as_deploy(f"echo '{offset}' > {self._offset}")

    def days_ahead(self) -> int:
        """How many days the clock of the host is ahead of this one."""
        program = "import time; print(round(time.time() / 86400 - {}))"
        real = float(self._stack.as_deploy("date +%s").stdout) / 86400
        return round(int(self._stack.as_deploy(f"{self.python} -c '{program.format(real)}'").stdout))

    def remove(self) -> None:
        self._stack.as_deploy(f"rm -rf {self._folder}")


@pytest.fixture
def clock(stack: Stack) -> Iterator[Clock]:
    made = Clock(stack)
    assert made.days_ahead() == 0
    made.set(BACK)
    assert made.days_ahead() == -2, "the clock cannot be set"
    made.set(RIGHT)
    yield made
    made.remove()


@pytest.mark.long
def test_backups_and_replaced_databases_after_the_clock_was_set_back(
    v2: None, clock: Clock, controller: Controller, stack: Stack, production: Server
) -> None:
    def run(playbook: str, *arguments: str, **variables: Any) -> Run:
        return controller.run(playbook, "-l", "production", *arguments, ansible_python_interpreter=clock.python, **variables)

    def restore(backup: str, *arguments: str, **variables: Any) -> Run:
        return run("restore", *arguments, dbops_restore_backup=backup, dbops_confirm="restore:chat", **variables)

    def back_up() -> str:
        done = run("backup")
        assert done.ok, done.output
        return str(done.result()["backup"]["id"])

    before = production.dump()
    early = back_up()
    production.do("DELETE FROM reactions")
    after = production.dump()
    clock.set(BACK)
    late = back_up()
    assert late < early, "made later, and named by an earlier time"
    assert [entry["result"] for entry in journal(stack, production)] == ["ok", "ok"]
    assert damaged_backups(stack, production) == []

    unclear = restore("latest")
    assert not unclear.ok
    assert f"by the clock it is '{early}', by the server's count of transactions '{late}'" in unclear.message
    assert "untouched" in unclear.message and production.dump() == after

    checked = restore(early, "--check")
    assert checked.ok and any("made in the future" in warning for warning in checked.result()["warnings"]), checked.output
    assert checked.result()["source"]["age_seconds"] == 0

    clock.set(RIGHT)
    first = restore(early)
    assert first.ok and production.dump() == before, first.output
    clock.set(BACK)
    second = restore(late, dbops_restore_keep=1)
    assert second.ok and production.dump() == after, second.output
    assert second.result()["replaced"] < first.result()["replaced"]
    assert [name for name in production.databases() if "_before_" in name] == [second.result()["replaced"]]
    undone = restore("undo")
    assert undone.ok and production.dump() == before, undone.output
    assert left_behind(stack) == []


@pytest.mark.long
def test_a_clock_that_is_set_back_in_the_middle_of_a_run(
    v2: None, clock: Clock, controller: Controller, stack: Stack, production: Server, hand: Hand
) -> None:
    for _time in range(8):
        clock.set(RIGHT)
        started = controller.start("backup", "-l", "production", ansible_python_interpreter=clock.python)
        caught = stop_in(hand, production, "backup", "backup: dump")
        if caught:
            break
        started.wait()
    assert caught, "the dump was missed again and again"
    clock.set(BACK)
    caught.go_on()
    done = started.wait()
    assert done.ok, done.output
    facts = done.result()["operation"]
    assert 0 <= sum(facts["phases"].values()) <= facts["duration_seconds"] + 0.01 < 300
    assert "took -" not in done.output
    entry = journal(stack, production)[-1]
    assert entry["run_id"] == caught.run_id and entry["duration_seconds"] == facts["duration_seconds"]
    assert entry["finished"] < entry["started"], "the clock was not set in the middle"
    assert damaged_backups(stack, production) == []
    assert left_behind(stack) == []
