# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One database takes another's name: the order of the statements, one transaction for all of it, and the way back out of any failure."""

from __future__ import annotations

import json
import typing as t

import psycopg2
import psycopg2.errors
import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.server import _postgres, _swap
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, ServerError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import OTHER_RUN, RUN, FakeClock, FakeConnection

NEXT = "chat_next_" + RUN
KEPT = "chat_before_restore_20261123T030000"
AT = "2026-11-23T03:10:00Z"
DESCRIPTION = json.dumps({"of": "chat", "at": AT, "by": "restore", "run_id": RUN, "number": 1})

BLOCK = [
    "BEGIN",
    'ALTER DATABASE "chat" SET "dbops"."swapping" TO \'%s\'' % RUN,
    'ALTER DATABASE "chat" ALLOW_CONNECTIONS false',
    "COMMIT",
]
SWAP = [
    "BEGIN",
    'ALTER DATABASE "chat" RENAME TO "%s"' % KEPT,
    'ALTER DATABASE "%s" ALLOW_CONNECTIONS false' % KEPT,
    'ALTER DATABASE "%s" RESET "dbops"."swapping"' % KEPT,
    'ALTER DATABASE "%s" SET "dbops"."kept" TO \'%s\'' % (KEPT, DESCRIPTION),
    'ALTER DATABASE "%s" RENAME TO "chat"' % NEXT,
    'ALTER DATABASE "chat" ALLOW_CONNECTIONS true',
    'ALTER DATABASE "chat" RESET "dbops"."kept"',
    "COMMIT",
]
UNBLOCK = ["ROLLBACK", 'ALTER DATABASE "chat" ALLOW_CONNECTIONS true', 'ALTER DATABASE "chat" RESET "dbops"."swapping"']


class Interrupted(BaseException):
    """Stands for a signal, which may come at any statement."""


class Server(FakeConnection):
    """A server with databases.

    :param breaks_at: the statement, counted over those that change something, that raises ``error``.
    """

    def __init__(
        self, *present: str, answers: dict[str, t.Any] | None = None, breaks_at: int = 0, error: BaseException | None = None
    ) -> None:
        super().__init__(answers)
        self.answers["SELECT 1 FROM pg_database"] = lambda _text, parameters: [(1,)] if parameters[0] in present else []
        self.answers["SELECT datname FROM pg_database"] = [(name,) for name in present]
        self.closes = False
        self._breaks_at, self._error = breaks_at, error

    def answer(self, text: str, parameters: t.Any) -> list[tuple[t.Any, ...]]:
        found = super().answer(text, parameters)
        if self._error and len(changes(self)) == self._breaks_at and changes(self)[-1] == text:
            self.closed = int(self.closes)
            raise self._error
        return found


def changes(connection: FakeConnection) -> list[str]:
    return [
        statement
        for statement in connection.statements
        if not statement.lstrip().startswith("SELECT") and "statement_timeout" not in statement
    ]


def swap(connection: FakeConnection) -> str:
    return _swap.swap(connection, "chat", NEXT, "restore", RUN, AT, 10)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(_postgres, "time", clock)
    return clock


# --- swapping -------------------------------------------------------------------------------------------------------------


def test_a_swap_blocks_first_and_then_does_everything_in_one_transaction() -> None:
    connection = Server("chat", NEXT)
    assert swap(connection) == KEPT
    assert changes(connection) == BLOCK + SWAP


def test_sessions_end_between_the_block_and_the_rename() -> None:
    connection = Server("chat", NEXT)
    swap(connection)
    order = [
        statement
        for statement in connection.statements
        if "pg_stat_activity" in statement or "ALLOW_CONNECTIONS" in statement or "RENAME" in statement
    ]
    assert "ALLOW_CONNECTIONS false" in order[0]
    assert "pg_stat_activity" in order[1] and "pg_stat_activity" in order[2]
    assert connection.parameters[connection.statements.index(order[1])] == ("chat",)
    assert (NEXT,) in connection.parameters
    assert "RENAME" in order[3]


def test_where_there_is_no_live_database_nothing_is_kept() -> None:
    connection = Server(NEXT)
    assert swap(connection) == ""
    assert changes(connection) == ['ALTER DATABASE "%s" RENAME TO "chat"' % NEXT, 'ALTER DATABASE "chat" ALLOW_CONNECTIONS true']


def test_a_second_swap_in_the_same_second_keeps_under_another_name() -> None:
    connection = Server("chat", NEXT, KEPT)
    assert swap(connection) == "chat_before_restore_" + RUN


ERRORS = [ServerError("no"), Interrupted()]


@pytest.mark.parametrize("error", ERRORS, ids=["refused", "interrupted"])
@pytest.mark.parametrize("position", range(len(SWAP)))
def test_a_failure_at_any_statement_of_the_swap_rolls_back_and_opens_the_database_again(position: int, error: BaseException) -> None:
    connection = Server("chat", NEXT, breaks_at=len(BLOCK) + position + 1, error=error)
    with pytest.raises(type(error)):
        swap(connection)
    assert changes(connection) == BLOCK + SWAP[: position + 1] + UNBLOCK


@pytest.mark.parametrize("error", ERRORS, ids=["refused", "interrupted"])
@pytest.mark.parametrize("position", range(1, len(BLOCK)))
def test_a_failure_at_any_statement_of_the_block_rolls_it_back(position: int, error: BaseException) -> None:
    connection = Server("chat", NEXT, breaks_at=position + 1, error=error)
    with pytest.raises(type(error)):
        swap(connection)
    assert changes(connection) == [*BLOCK[: position + 1], "ROLLBACK"]


@pytest.mark.parametrize("position", range(1, len(BLOCK) + len(SWAP) + 1))
def test_a_session_that_is_gone_is_asked_for_nothing_more(position: int) -> None:
    """The server rolls back by itself; a block that stays is opened by the next operation."""
    connection = Server("chat", NEXT, breaks_at=position, error=Interrupted())
    connection.closes = True
    with pytest.raises(Interrupted):
        swap(connection)
    assert changes(connection) == (BLOCK + SWAP)[:position]


def test_a_session_that_does_not_end_takes_the_block_back() -> None:
    reader = (7, "ann", "psql", "10.0.0.5", "active", 61.4, "SELECT 1")
    connection = Server("chat", NEXT, answers={"coalesce(usename": [reader]})
    with pytest.raises(ServerError, match="did not end within 10 s"):
        swap(connection)
    assert UNBLOCK[0] == "ROLLBACK"
    assert changes(connection) == BLOCK + UNBLOCK[1:]  # no transaction was open


# --- what would stop a swap -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sign", "words"),
    [
        ("pg_prepared_xacts", r"prepared transactions \(x1\).*ROLLBACK PREPARED"),
        ("pg_subscription", r"logical replication \(x1\)"),
        ("pg_replication_slots", r"logical replication \(x1\)"),
    ],
)
def test_what_would_stop_the_rename_is_said_before_anything_is_built(sign: str, words: str) -> None:
    with pytest.raises(DbopsError, match=words):
        _swap.require_swappable(FakeConnection({sign: [("x1",)]}), "chat")


def test_an_ordinary_database_can_be_swapped() -> None:
    _swap.require_swappable(FakeConnection(), "chat")


# --- after a crash --------------------------------------------------------------------------------------------------------


def crashed(alive: bool, *present: str) -> FakeConnection:
    connection = Server(*present)
    connection.answers["FROM pg_db_role_setting"] = [("chat", OTHER_RUN), ("other", OTHER_RUN)]
    connection.answers["FROM pg_locks"] = [(1,)] if alive else []
    return connection


def test_a_database_that_a_dead_run_blocked_is_opened_and_its_half_built_copy_dropped() -> None:
    connection = crashed(False, "chat", "chat_next_" + OTHER_RUN)
    assert _swap.finish_interrupted(connection, "chat") == [
        "opened database 'chat', which the interrupted run %s had blocked" % OTHER_RUN,
        "dropped database 'chat_next_%s', left half-built by an interrupted run" % OTHER_RUN,
    ]
    assert changes(connection) == [*UNBLOCK[1:], 'DROP DATABASE IF EXISTS "chat_next_%s" WITH (FORCE)' % OTHER_RUN]


def test_what_cannot_be_dropped_now_does_not_stop_the_next_operation() -> None:
    connection = crashed(False, "chat", "chat_next_" + OTHER_RUN)
    connection.answers["DROP DATABASE"] = psycopg2.errors.QueryCanceled("canceling statement due to statement timeout")
    [_opened, told] = _swap.finish_interrupted(connection, "chat")
    assert told.startswith("nothing, for now") and "could not be dropped: canceling statement" in told


def test_what_a_living_run_is_doing_is_left_alone() -> None:
    connection = crashed(True, "chat", "chat_next_" + OTHER_RUN)
    assert _swap.finish_interrupted(connection, "chat") == []
    assert changes(connection) == []


def test_only_what_was_built_for_this_database_is_a_leftover() -> None:
    present = [
        "chat",
        "chat_next_" + OTHER_RUN,
        "chat_preview_next_" + OTHER_RUN,
        "chat_next_year",
        "chat_before_restore_20261122T030000",
        "next_" + OTHER_RUN,
    ]
    assert _swap.leftovers(Server(*present), "chat") == ["chat_next_" + OTHER_RUN]


def test_the_copy_of_a_database_with_a_long_name_is_found_again() -> None:
    name = "デ" * 21
    built = _swap.building_name(name, OTHER_RUN)
    assert len(built.encode()) <= 63
    assert _swap.leftovers(Server(name, built), name) == [built]


def test_a_failed_clean_up_does_not_hide_the_failure_before_it() -> None:
    _swap.drop_building(FakeConnection({"DROP DATABASE": ServerError("gone")}), NEXT)


# --- kept databases -------------------------------------------------------------------------------------------------------


def with_kept(*kept: tuple[str, str, str, str]) -> FakeConnection:
    """``(name, of, at, by)`` of each database that was replaced."""
    settings = [(name, json.dumps({"of": of, "at": at, "by": by, "run_id": RUN, "later": "field"})) for name, of, at, by in kept]
    return FakeConnection({"FROM pg_db_role_setting": settings, "pg_database_size": [(4096,)]})


def test_kept_databases_are_listed_newest_first() -> None:
    connection = with_kept(
        ("a", "chat", "2026-11-20", "restore"), ("b", "shop", "2026-11-22", "reset"), ("c", "chat", "2026-11-21", "undo")
    )
    assert [(item.name, item.by, item.size) for item in _swap.kept_databases(connection, "chat")] == [
        ("c", "undo", 4096),
        ("a", "restore", 4096),
    ]


def test_the_one_replaced_last_is_dropped_last_though_the_clock_was_set_back() -> None:
    def described(at: str, **number: int) -> str:
        return json.dumps({"of": "chat", "at": at, "by": "reset", "run_id": RUN, **number})

    settings = [("a", described("2026-11-23")), ("b", described("2026-11-22", number=1)), ("c", described("2026-11-21", number=2))]
    answers = {"FROM pg_db_role_setting": settings, "pg_database_size": [(4096,)]}
    assert [item.name for item in _swap.kept_databases(FakeConnection(answers), "chat")] == ["c", "b", "a"]

    connection = Server("chat", NEXT, answers=answers)
    swap(connection)
    [kept] = [statement for statement in changes(connection) if '"dbops"."kept" TO' in statement]
    assert '"number": 3' in kept


@pytest.mark.parametrize(("keep", "dropped"), [(1, ["b", "a"]), (0, ["c", "b", "a"]), (3, []), (-1, [])])
def test_only_the_newest_are_kept_or_all(keep: int, dropped: list) -> None:
    connection = with_kept(
        ("a", "chat", "1", "reset"), ("b", "chat", "2", "restore"), ("c", "chat", "3", "reset"), ("e", "shop", "0", "reset")
    )
    assert _swap.drop_kept(connection, "chat", keep) == dropped
    assert changes(connection) == ['DROP DATABASE IF EXISTS "%s" WITH (FORCE)' % name for name in dropped]


def test_an_interruption_of_the_clean_up_is_not_taken_for_a_drop_that_failed() -> None:
    connection = crashed(False, "chat", "chat_next_" + OTHER_RUN)
    connection.answers["DROP DATABASE"] = DbopsError("Interrupted by signal 15.")
    with pytest.raises(DbopsError, match="Interrupted"):
        _swap.finish_interrupted(connection, "chat")
