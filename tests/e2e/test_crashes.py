# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""S8 (with S3, S4, S5): every operation, killed or cut off in every phase, loses nothing; the next run cleans up or goes on.

A database is whole when its dump is the one from before, byte for byte, or when it is what the operation makes of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from controller import Controller, Run, Started
from faults import Caught, Eye, Hand, at_the_end_of, damaged_backups, journal, left_behind, stop_in
from stack import Server, Stack, wait_until
from traffic import holding

#: How often a phase that is soon over may be missed.
TRIES = 8

#: Phases that are over within a few milliseconds, and the one before each: an operation is stopped between the two.
FLEETING = {"backup: count": "backup: dump", "backup: publish": "backup: verify"}

BACKUP = ("backup: dump", "backup: count", "backup: verify", "backup: publish")
MIGRATED = {"messages": 60, "reactions": 0, "rooms": 3, "users": 5}
SEEDED = {"messages": 60, "reactions": 20, "rooms": 3, "users": 5}


@dataclass(frozen=True)
class Case:
    """An operation as it is started, from which contents, and what its phases are.

    :param operation: how the lock names it.
    :param new_from: the first phase at whose end the new contents may be there.
    :param prepare: makes what has to be there before; returns the dump of the new contents, empty where rows are made anew.
    """

    playbook: str
    operation: str
    production: bool
    contents: str
    phases: tuple[str, ...]
    new_from: str
    variables: dict[str, Any] = field(default_factory=dict)
    prepare: Callable[[Controller, Server], bytes] = lambda _controller, _server: b""
    tables: dict[str, int] = field(default_factory=dict)

    def start(self, controller: Controller, server: Server, **further: Any) -> Started:
        return controller.start(self.playbook, "-l", server.host, **{**self.variables, **further})

    def run(self, controller: Controller, server: Server, **further: Any) -> Run:
        return self.start(controller, server, **further).wait()


def back_up_and_damage(controller: Controller, server: Server) -> bytes:
    made = controller.run("backup", "-l", server.host)
    assert made.ok, made.output
    whole = server.dump()
    server.do("DELETE FROM reactions", "ALTER TABLE users DROP COLUMN nickname", "CREATE TABLE made_since (id int)")
    return whole


def restore_once(controller: Controller, server: Server) -> bytes:
    back_up_and_damage(controller, server)
    damaged = server.dump()
    done = CASES["restore"].run(controller, server)
    assert done.ok, done.output
    return damaged


CASES = {
    "backup": Case("backup", "backup", True, "v2", BACKUP, new_from="never"),
    "migrate": Case(
        *("migrate", "migrate", True, "v1"),
        ("plan: sandbox", "plan: schema", "plan: runner", "plan: read", *BACKUP, "migrate: run", "migrate: health", "migrate: look again"),
        new_from="migrate: run",
        tables=MIGRATED,
    ),
    "seed": Case(
        *("seed", "seed", True, "v2-empty"),
        (*BACKUP, "seed: count", "seed: run", "seed: compare"),
        new_from="seed: run",
        variables={"dbops_confirm": "seed:chat"},
        tables=SEEDED,
    ),
    "preview_reset": Case(
        *("preview_reset", "reset", False, "v1"),
        (
            *("reset: sandbox", "reset: migrate", "reset: seed", "reset: dump", "reset: build", "reset: copy", "reset: keep tables"),
            *("reset: swap", "reset: backend"),
        ),
        new_from="reset: swap",
        variables={"dbops_preview_reset_keep_tables": "rooms"},
        tables=SEEDED,
    ),
    "restore": Case(
        *("restore", "restore", True, "v2"),
        ("restore: check", "restore: create", "restore: load", "restore: compare", "restore: swap", "restore: backend", *BACKUP),
        new_from="restore: swap",
        variables={"dbops_restore_backup": "latest", "dbops_confirm": "restore:chat"},
        prepare=back_up_and_damage,
    ),
    "undo": Case(
        *("restore", "restore", True, "v2"),
        ("restore: swap", "restore: backend"),
        new_from="restore: swap",
        variables={"dbops_restore_backup": "undo", "dbops_confirm": "restore:chat"},
        prepare=restore_once,
    ),
}

#: The moment of each operation at which a crash would hurt most.
WORST = {
    ("backup", "backup: publish"),
    ("migrate", "migrate: run"),
    ("seed", "seed: run"),
    ("preview_reset", "reset: swap"),
    ("restore", "restore: swap"),
    ("undo", "restore: swap"),
}


def every_phase(quick: set[tuple[str, str]]) -> list[Any]:
    """All phases of all operations; those that are not ``quick`` are long."""
    found = [(name, phase) for name, case in CASES.items() for phase in case.phases]
    return [pytest.param(*pair, marks=[] if pair in quick else [pytest.mark.long], id=" in ".join(pair[::-1])) for pair in found]


class Stage:
    """One operation on one database, from the state before it to the state after the next runs."""

    def __init__(self, name: str, controller: Controller, stack: Stack, hand: Hand) -> None:
        self.case = CASES[name]
        self.controller = controller
        self.stack = stack
        self.hand = hand
        self.server = stack.production if self.case.production else stack.preview
        self.kept: list[str] = []
        self.set_up()

    def set_up(self) -> None:
        self.stack.fill(self.case.contents)
        self.new = self.case.prepare(self.controller, self.server)
        self.old = self.server.dump()
        self.backups = self.stack.backups(self.server)

    @property
    def state(self) -> str:
        """``old`` or ``new``, where the database is whole."""
        dump = self.server.dump()
        if dump == self.old:
            return "old"
        if dump == self.new or (
            self.case.tables and self.server.tables() == self.case.tables and "nickname" in self.server.columns("users")
        ):
            return "new"
        return "neither the old nor the new one"

    def allowed(self, phase: str) -> set[str]:
        """The states in which an operation may leave the database that ends somewhere in this phase."""
        if self.case.new_from == "never":
            return {"old"}
        here, new_from = self.case.phases.index(phase), self.case.phases.index(self.case.new_from)
        return {"old"} if here < new_from else {"new"} if here > new_from else {"old", "new"}

    @contextlib.contextmanager
    def stopped_in(self, phase: str, **options: Any) -> Iterator[tuple[Started, Caught]]:
        if phase in FLEETING:
            started = self.case.start(self.controller, self.server, **options)
            with at_the_end_of(self.hand, self.server, self.case.operation, FLEETING[phase]) as caught:
                yield started, caught
            return
        for _time in range(TRIES):
            started = self.case.start(self.controller, self.server, **options)
            caught = stop_in(self.hand, self.server, self.case.operation, phase)
            if caught:
                yield started, caught
                return
            started.wait()
            self.set_up()
        raise AssertionError(f"'{phase}' was missed {TRIES} times")

    def next_run(self, phase: str) -> Run:
        """What somebody does first who finds a run dead: for a migration that had begun the same again, else a backup."""
        playbook = "migrate" if phase.startswith("migrate:") else "backup"
        return self.controller.run(playbook, "-l", self.server.host, dbops_lock_wait=60)

    def assert_clean(self) -> None:
        assert left_behind(self.stack) == []
        assert damaged_backups(self.stack, self.server) == []


@pytest.mark.parametrize(("name", "phase"), every_phase(quick=WORST - {("undo", "restore: swap"), ("seed", "seed: run")}))
def test_a_module_that_is_killed(name: str, phase: str, controller: Controller, stack: Stack, hand: Hand) -> None:
    stage = Stage(name, controller, stack, hand)
    with stage.stopped_in(phase) as (started, caught):
        caught.kill()
        killed = started.wait()
    assert not killed.ok, killed.output
    assert damaged_backups(stack, stage.server) == []

    following = stage.next_run(phase)
    assert following.ok, following.output
    assert stage.state in ({"new"} if phase.startswith("migrate:") else stage.allowed(phase))
    stage.assert_clean()

    if stage.state == "old" and name != "backup":
        chosen: dict[str, Any] = {}
        if name == "restore":
            chosen["dbops_restore_backup"] = stage.backups[0]  # the newest is the one that came after
        if phase in ("seed: run", "seed: compare"):
            chosen["dbops_seed_again"] = True  # nobody saw how it ended, so a person has to look
        again = stage.case.run(controller, stage.server, **chosen)
        assert again.ok, again.output
        assert stage.state == "new"
        stage.assert_clean()


def cuts() -> list[Any]:
    """A cut in every phase without a terminal; with one, where it would hurt most: which of the two it is, the operation cannot tell."""
    quick = ("restore", "restore: load")
    found = [(name, phase, False) for name, case in CASES.items() for phase in case.phases]
    found += [(name, phase, True) for name, phase in [*sorted(WORST), quick]]
    return [
        pytest.param(
            *(name, phase, terminal),
            marks=[] if (name, phase) == quick else [pytest.mark.long],
            id=f"{phase} in {name}, {'on a terminal' if terminal else 'pipelined'}",
        )
        for name, phase, terminal in found
    ]


@pytest.mark.parametrize(("name", "phase", "terminal"), cuts())
def test_a_connection_that_is_cut(name: str, phase: str, terminal: bool, controller: Controller, stack: Stack, hand: Hand) -> None:
    """The operation goes on to its end, with a terminal (no pipelining) or without; the same run connects again, and has its result."""
    stage = Stage(name, controller, stack, hand)
    with stage.stopped_in(phase, env={"ANSIBLE_PIPELINING": str(not terminal)}) as (started, caught):
        hand.cut_connections()
        caught.go_on()
        cut = started.wait()
    assert cut.ok, cut.output

    following = controller.run("backup", "-l", stage.server.host, dbops_lock_wait=60)
    assert following.ok, following.output
    stage.assert_clean()
    [entry] = [entry for entry in journal(stack, stage.server) if entry["run_id"] == caught.run_id]
    assert entry["result"] == "ok"
    assert stage.state == ("old" if name == "backup" else "new")


def test_rows_are_not_seeded_twice_after_a_crash(controller: Controller, stack: Stack, hand: Hand) -> None:
    """The seed had done its work, and nobody was left to remember it: the next run must not do it again as if nothing had been."""
    stage = Stage("seed", controller, stack, hand)
    with stage.stopped_in("seed: compare") as (started, caught):
        caught.kill()
        assert not started.wait().ok
    assert stage.server.tables() == SEEDED
    again = stage.case.run(controller, stage.server)
    assert stage.server.tables() == SEEDED
    assert again.ok or "dbops_seed_again" in again.message


class TestTheBlockedDatabase:
    """Between blocking the live database and the renames, which is the one moment in which a crash keeps clients out."""

    @pytest.mark.parametrize(
        "name", ["restore", pytest.param("preview_reset", marks=pytest.mark.long), pytest.param("undo", marks=pytest.mark.long)]
    )
    def test_it_is_opened_by_the_next_run(self, name: str, controller: Controller, stack: Stack, hand: Hand) -> None:
        stage = Stage(name, controller, stack, hand)
        server = stage.server
        with holding(server, "SELECT 1 FROM users LIMIT 1") as _let_go:
            [(stubborn,)] = server.rows("SELECT pid FROM pg_stat_activity WHERE application_name = 'monthly report'", database="postgres")
            server.signal("STOP", stubborn)
            try:
                started = stage.case.start(controller, server)
                wait_until(lambda: not is_open(server), 60)
                with Eye(server, stage.case.operation) as eye:
                    seen = eye.look()
                    assert seen
                    hand.do(f"kill -9 {hand.module_of(seen[1])}")
                assert not started.wait().ok
                assert not is_open(server)
            finally:
                server.signal("CONT", stubborn)
        following = controller.run("backup", "-l", server.host)
        assert following.ok, following.output
        assert any(f"opened database '{server.database}'" in warning for warning in following.result()["warnings"])
        assert stage.state == "old"
        stage.assert_clean()


def is_open(server: Server) -> bool:
    return bool(server.value("SELECT datallowconn FROM pg_database WHERE datname = %s", server.database, database="postgres"))
