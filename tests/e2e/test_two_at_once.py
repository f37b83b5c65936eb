# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""S6, the story "two at once": each operation beside each other one, from two controllers, on one database."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller import Controller, Started
from faults import Caught, Hand, journal, left_behind, stop_in
from stack import Stack, wait_until

#: How each operation is named in the lock, its first phase, and what it is given. All of them may run on a preview.
OPERATIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "backup": ("backup", "backup: dump", {}),
    "migrate": ("migrate", "plan: sandbox", {}),
    "seed": ("seed", "seed: run", {}),
    "preview_reset": ("reset", "reset: sandbox", {}),
    "restore": ("restore", "restore: load", {"dbops_restore_backup": "latest"}),
}

#: Phases that begin with a connection to the server, and how soon it is there, in seconds.
CONNECTS = {"backup: dump": 0.2}

#: Runs that hold the lock or wait for it.
LOCK_SESSIONS = (
    "SELECT count(DISTINCT application_name) FROM pg_stat_activity WHERE application_name ~ '^dbops [a-z]+ [0-9T]+_[0-9a-f]+ lock$'"
)


def pairs(*quick: tuple[str, str]) -> list[Any]:
    """All 25; those that are not ``quick`` are long."""
    return [
        pytest.param(*pair, marks=[] if pair in quick else [pytest.mark.long], id=" then ".join(pair))
        for pair in itertools.product(OPERATIONS, repeat=2)
    ]


class TwoControllers:
    """Alice's and Bob's; nothing but the server is common to them."""

    def __init__(self, stack: Stack, folder: Path, hand: Hand) -> None:
        self.stack = stack
        self.hand = hand
        self.server = stack.preview
        for name in ("alice", "bob"):
            (folder / name).mkdir()
        self.alice = Controller(folder / "alice", stack.inventory)
        self.bob = Controller(folder / "bob", stack.inventory)

    @contextlib.contextmanager
    def held(self, first: str) -> Iterator[tuple[Started, Caught]]:
        """Alice's operation, stopped in its first phase; on a busy machine that phase can be missed, and then it is started again."""
        operation, phase, variables = OPERATIONS[first]
        for _time in range(8):
            self.stack.fill("v2")
            assert self.alice.run("backup", "-l", "preview").ok
            working = self.alice.start(first, "-l", "preview", env={"USER": "alice"}, **variables)
            caught = stop_in(self.hand, self.server, operation, phase, after=CONNECTS.get(phase, 0))
            if caught:
                try:
                    yield working, caught
                finally:
                    caught.go_on()
                return
            working.wait()
        raise AssertionError(f"'{phase}' was missed again and again")

    def start_second(self, second: str, **further: Any) -> Started:
        """Bob's operation, on the same database."""
        return self.bob.start(second, "-l", "preview", env={"USER": "bob"}, **OPERATIONS[second][2], **further)

    def journal(self) -> list[tuple[str, str, str]]:
        return [(entry["operator"], entry["operation"], entry["result"]) for entry in journal(self.stack, self.server)]


@pytest.fixture
def two(stack: Stack, controller: Controller, hand: Hand) -> Iterator[TwoControllers]:
    made = TwoControllers(stack, controller.home, hand)
    yield made
    made.alice.close()
    made.bob.close()


@pytest.mark.parametrize(("first", "second"), pairs(("backup", "preview_reset"), ("restore", "migrate")))
def test_the_second_is_refused_or_waits_as_it_is_told(first: str, second: str, two: TwoControllers) -> None:
    operation, phase, _variables = OPERATIONS[first]
    with two.held(first) as (working, caught):
        before = two.server.dump()
        told_to_wait = two.start_second(second, dbops_lock_wait=120)
        refused = two.start_second(second).wait()
        wait_until(lambda: two.server.value(LOCK_SESSIONS, database="postgres") == 2, 60)
        assert two.server.dump() == before
    done, followed = working.wait(), told_to_wait.wait()
    assert done.ok, done.output
    assert followed.ok, followed.output

    assert not refused.ok, refused.output
    assert re.search(
        rf"'chat_preview' is busy: {operation} by alice from \S+, since 2\d+-\d\d-\d\dT\S+Z, phase '{phase}' \(run {caught.run_id}, ",
        refused.message,
    )
    assert "dbops_lock_wait" in refused.message
    told = OPERATIONS[second][0]
    assert two.journal()[1:] == [("bob", told, "busy"), ("alice", operation, "ok"), ("bob", told, "ok")]
    assert left_behind(two.stack) == []
