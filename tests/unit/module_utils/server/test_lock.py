# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock: its keys, the card that shows the holder, and waiting for it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbops.postgres.plugins.module_utils.server import _lock
from ansible_collections.dbops.postgres.plugins.module_utils.server._lock import Holder, OperationLock, card, is_alive, read_holder
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import Busy, ServerError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import RUN, FakeClock, FakeConnection

ANN = Holder("restore", RUN, "chat-production", "ann", "desk", "2026-11-23T03:00:00Z", "starting")


def seen(query: str) -> FakeConnection:
    return FakeConnection({"FROM pg_locks l JOIN": [(4711, query)]})


# --- the card -------------------------------------------------------------------------------------------------------------

texts = st.one_of(
    st.text(max_size=300), st.sampled_from(["*/", "/*", "*/*", "/*/", "%s", "%", "'; DROP", "\\", '"', "\U0001f600" * 300, "é" * 300])
)


@given(texts, texts, texts)
def test_a_card_fits_ends_its_comment_once_and_parses_back(host: str, operator: str, controller: str) -> None:
    holder = Holder("restore", RUN, host, operator, controller, "2026-11-23T03:00:00Z", "restore: compare")
    query = "SELECT pg_try_advisory_lock(1684172656, -2147483648) " + card(holder)
    assert len(card(holder).encode()) <= 900 + len("/* dbops  */")
    assert len(query.encode()) < 1024  # the server's track_activity_query_size
    assert query.count("*/") == 1 and query.endswith("*/")
    assert query.count("/*") == 1
    found = read_holder(seen(query), "chat")
    assert found is not None
    assert (found.operation, found.run_id, found.since, found.phase, found.pid) == ("restore", RUN, holder.since, holder.phase, 4711)
    assert host.startswith(found.host) and operator.startswith(found.operator) and controller.startswith(found.controller)


def test_names_of_usual_length_are_shown_in_full() -> None:
    found = read_holder(seen("SELECT 1 " + card(ANN)), "chat")
    assert found == Holder("restore", RUN, "chat-production", "ann", "desk", "2026-11-23T03:00:00Z", "starting", 4711)


def test_the_holder_in_words() -> None:
    words = str(read_holder(seen("SELECT 1 " + card(ANN)), "chat"))
    assert words == "restore by ann from desk, since 2026-11-23T03:00:00Z, phase 'starting' (run %s, server process 4711)" % RUN
    assert "an unknown user from an unknown machine" in str(Holder("backup", RUN))


@pytest.mark.parametrize("query", ["", None, "SELECT 1", "SELECT 1 /* dbops {", "SELECT 1 /* something else */"])
def test_a_lock_of_somebody_else_is_still_a_holder(query: str) -> None:
    found = read_holder(seen(query), "chat")
    assert found is not None
    assert (found.operation, found.pid) == ("another session", 4711)


def test_a_card_of_a_newer_version_is_understood() -> None:
    query = "SELECT 1 " + card(ANN).replace('{"operation"', '{"colour": "blue", "operation"')
    found = read_holder(seen(query), "chat")
    assert found is not None and found.operator == "ann"


def test_nobody_holds_a_free_lock() -> None:
    assert read_holder(FakeConnection(), "chat") is None


# --- keys -----------------------------------------------------------------------------------------------------------------


def test_the_key_of_a_database_never_changes() -> None:
    """Two versions of this collection must block each other."""
    connection = FakeConnection({"pg_try_advisory_lock": [(True,)]})
    OperationLock(connection, "chat", ANN).take(0)
    assert connection.statements[0].startswith("SELECT pg_try_advisory_lock(1684172656, 836792189) /* dbops {")


@given(st.text(max_size=63), st.text(max_size=63))
def test_keys_are_what_postgresql_takes_and_differ(one: str, other: str) -> None:
    assert -(2**31) <= _lock._key(one) < 2**31
    assert one == other or _lock._key(one) != _lock._key(other)


def test_the_key_that_is_looked_for_is_the_one_that_was_taken() -> None:
    """pg_locks shows the signed key as an unsigned number."""
    connection = FakeConnection()
    read_holder(connection, "shop")
    assert connection.parameters == [(1684172656, 2375025107)]
    taken, asked = FakeConnection(), FakeConnection()
    OperationLock(taken, "chat", ANN).announce()
    is_alive(asked, RUN)
    numbers = re.findall(r"-?\d+", taken.statements[0])[:2]
    assert asked.parameters == [(int(numbers[0]), int(numbers[1]) & 0xFFFFFFFF)]


def test_a_run_is_alive_while_its_sign_of_life_is_there() -> None:
    assert is_alive(FakeConnection({"FROM pg_locks": [(1,)]}), RUN)
    assert not is_alive(FakeConnection(), RUN)


# --- taking it ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(_lock, "time", clock)
    return clock


def test_a_free_lock_is_taken_at_once(clock: FakeClock) -> None:
    connection = FakeConnection({"pg_try_advisory_lock": [(True,)]})
    OperationLock(connection, "chat", ANN).take(60)
    assert len(connection.statements) == 1
    assert clock.now == 1000


def test_a_taken_lock_refuses_at_once_and_names_the_holder(clock: FakeClock) -> None:
    connection = FakeConnection({"pg_try_advisory_lock": [(False,)], "FROM pg_locks l": [(4711, "SELECT 1 " + card(ANN))]})
    with pytest.raises(Busy) as busy:
        OperationLock(connection, "chat", Holder("backup", "other")).take(0)
    assert "Database 'chat' is busy: restore by ann from desk" in busy.value.message
    assert busy.value.details["holder"]["pid"] == 4711
    assert clock.now == 1000


def test_waiting_ends_with_the_holders_run(clock: FakeClock) -> None:
    connection = FakeConnection({"pg_try_advisory_lock": lambda _text, _parameters: [(clock.now >= 1005,)]})
    OperationLock(connection, "chat", ANN).take(60)
    assert 1005 <= clock.now < 1006


def test_waiting_ends_when_the_time_is_up(clock: FakeClock) -> None:
    connection = FakeConnection({"pg_try_advisory_lock": [(False,)]})
    with pytest.raises(Busy, match="busy after waiting 3 s: its lock is held by another session"):
        OperationLock(connection, "chat", ANN).take(3)
    assert 1003 <= clock.now < 1004


def test_a_phase_is_shown_in_the_session_that_holds_the_lock() -> None:
    connection = FakeConnection()
    lock = OperationLock(connection, "chat", ANN)
    lock.set_phase("restore: swap")
    found = read_holder(seen(connection.statements[-1]), "chat")
    assert found is not None and found.phase == "restore: swap"


def test_a_lost_lock_fails_the_next_phase() -> None:
    connection = FakeConnection({"SELECT 1": ServerError("the session is gone")})
    with pytest.raises(ServerError):
        OperationLock(connection, "chat", ANN).set_phase("restore: swap")


def test_a_percent_sign_is_not_taken_for_a_parameter() -> None:
    connection = FakeConnection({"pg_try_advisory_lock": [(True,)]})
    OperationLock(connection, "chat", Holder("backup", RUN, operator="100%s")).take(0)
    assert connection.parameters == [None]
