# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sessions: who they are in words, and how they end."""

from __future__ import annotations

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.server import _sessions
from ansible_collections.dbops.postgres.plugins.module_utils.server._sessions import Session, end_sessions
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import ServerError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeClock, FakeConnection


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    made = FakeClock()
    monkeypatch.setattr(_sessions, "time", made)
    return made


READER = (7, "ann", "psql", "10.0.0.5", "idle in transaction", 61.4, "SELECT *\n  FROM users")


def test_a_session_in_words() -> None:
    assert str(Session(*READER)) == "pid 7, user ann, application 'psql' from 10.0.0.5, idle in transaction for 61 s: SELECT * FROM users"
    assert str(Session(8, "", "", "", "", 0, "")) == "pid 8, user , application '' from a local socket, active for 0 s: (no query)"
    assert len(str(Session(*READER[:6], "x" * 1000))) < 250


def test_sessions_are_ended_and_waited_for(clock: FakeClock) -> None:
    connection = FakeConnection(
        {
            "coalesce(usename": lambda _text, _parameters: [READER, READER] if clock.now < 1001 else [],
            "pg_terminate_backend": [(True,), (True,)],
        }
    )
    assert end_sessions(connection, "chat", 10) == 2
    assert connection.said("pg_terminate_backend")


def test_nothing_is_ended_where_nobody_is(clock: FakeClock) -> None:
    connection = FakeConnection()
    assert end_sessions(connection, "chat", 10) == 0
    assert not connection.said("pg_terminate_backend")


def test_a_session_that_does_not_end_is_named(clock: FakeClock) -> None:
    connection = FakeConnection({"coalesce(usename": [READER]})
    with pytest.raises(ServerError, match=r"'chat' did not end within 10 s \(dbops_restore_session_timeout, .*: pid 7, user ann"):
        end_sessions(connection, "chat", 10)
    assert 1010 <= clock.now < 1011
