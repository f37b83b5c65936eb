# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connections: PostgreSQL's own sentence with advice, waiting for a start."""

from __future__ import annotations

import socket
import typing as t

import psycopg2
import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.server import _postgres
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import read_server, session, wait_until_ready
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, ServerError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import ADDRESS, SERVER_ID, FakeClock, FakeConnection


class FakeSession(FakeConnection):
    autocommit = False
    encoding = ""

    def set_client_encoding(self, encoding: str) -> None:
        self.encoding = encoding


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, t.Any]]:
    """What ``psycopg2.connect`` was asked for; each call gives a new fake session, in ``made``."""
    calls: list[dict[str, t.Any]] = []

    def connect(**options: t.Any) -> FakeSession:
        calls.append(dict(options, made=FakeSession()))
        return calls[-1]["made"]

    monkeypatch.setattr(psycopg2, "connect", connect)
    return calls


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(_postgres, "time", clock)
    return clock


def refuse(monkeypatch: pytest.MonkeyPatch, message: str) -> None:
    def connect(**_options: t.Any) -> None:
        raise psycopg2.OperationalError(message)

    monkeypatch.setattr(psycopg2, "connect", connect)


# --- connecting -----------------------------------------------------------------------------------------------------------


def test_a_session_says_who_it_is_and_notices_a_dead_line(dialled: list) -> None:
    connection = _postgres.connect(ADDRESS, "chat", "dbops backup x")
    asked = dialled[0]
    assert (asked["host"], asked["port"], asked["user"], asked["password"], asked["dbname"]) == (
        "172.19.0.3",
        5432,
        "postgres",
        "hidden-word",
        "chat",
    )
    assert asked["application_name"] == "dbops backup x"
    assert asked["connect_timeout"] == 10 and asked["keepalives_idle"] == 10 and asked["tcp_user_timeout"] == 30000
    for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout"):
        assert "-c %s=0" % name in asked["options"], "whatever the role or the database has"
    assert "-c tcp_keepalives_idle=10 " in asked["options"], "the server lets go of a lock whose holder it cannot reach"
    assert "search_path=pg_catalog" in asked["options"] and "read_only" not in asked["options"]
    assert connection.autocommit and connection.encoding == "UTF8"


def test_a_server_that_ends_the_session_at_once_is_a_sentence_too(dialled: list, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is just stopping lets in and then says goodbye."""

    def stopped(_session: FakeSession, _encoding: str) -> None:
        raise psycopg2.OperationalError("terminating connection due to administrator command")

    monkeypatch.setattr(FakeSession, "set_client_encoding", stopped)
    with pytest.raises(ServerError, match=r"Cannot connect to database 'chat' .* terminating connection"):
        _postgres.connect(ADDRESS, "chat", "x")


@pytest.mark.parametrize(("version", "limits"), [(160009, []), (170005, ["SET transaction_timeout = 0"])])
def test_a_limit_that_only_newer_servers_have_is_lifted_there(
    version: int, limits: list[str], dialled: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psycopg2, "connect", lambda **_options: FakeSession(server_version=version))
    assert t.cast(t.Any, _postgres.connect(ADDRESS, "chat", "x")).statements == limits


def test_a_session_is_given_up_also_where_its_server_cannot_be_asked() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        session = t.cast(t.Any, FakeSession())
        _postgres.give_up(session)
        assert session.statements == ["(cancel)"]

        session.cancel, session.fileno = raise_unreachable, ours.fileno
        _postgres.give_up(session)
        theirs.settimeout(5)
        assert theirs.recv(1) == b"", "whoever waits for this line is told that it has ended"


def raise_unreachable() -> None:
    raise psycopg2.OperationalError("PQcancel() -- connect() failed: error 113")


def test_a_read_only_session_cannot_write(dialled: list) -> None:
    _postgres.connect(ADDRESS, "chat", "x", read_only=True)
    assert "default_transaction_read_only=on" in dialled[0]["options"]


def test_a_session_is_closed_whatever_happens(dialled: list) -> None:
    with session(ADDRESS, "chat", "x"):
        pass
    with pytest.raises(ServerError, match="PostgreSQL refused in database 'chat': no"), session(ADDRESS, "chat", "x"):
        raise psycopg2.ProgrammingError("no\n")
    with pytest.raises(KeyError), session(ADDRESS, "chat", "x"):
        raise KeyError
    assert [call["made"].closed for call in dialled] == [1, 1, 1]


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        (
            'connection to server at "172.19.0.3", port 5432 failed: FATAL:  password authentication failed for user "postgres"\n',
            "dbops_password",
        ),
        ("fe_sendauth: no password supplied", "give dbops_password"),
        ('FATAL:  database "chta" does not exist', "check dbops_database and dbops_user"),
        ('FATAL:  role "ann" does not exist', "check dbops_database and dbops_user"),
        ("FATAL:  sorry, too many clients already", "free connections first"),
        ("FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute", "free connections first"),
        ('FATAL:  too many connections for database "chat"', "limit is reached"),
        ('FATAL:  database "chat" is not currently accepting connections', "interrupted swap"),
        ('FATAL:  no pg_hba.conf entry for host "172.19.0.1", user "x", database "chat"', "pg_hba.conf"),
        ("FATAL:  the database system is starting up", "wait and run this again"),
        ('connection to server at "172.19.0.3", port 5432 failed: Connection refused\n\tIs the server running?', "dbops_port is right"),
    ],
)
def test_a_refused_connection_gives_advice_and_postgresqls_own_words(monkeypatch: pytest.MonkeyPatch, message: str, advice: str) -> None:
    refuse(monkeypatch, message)
    with pytest.raises(ServerError) as refused:
        _postgres.connect(ADDRESS, "chat", "x")
    assert advice in refused.value.message
    assert " ".join(message.split()) in refused.value.message
    assert "database 'chat' as user 'postgres' at 172.19.0.3:5432" in refused.value.message
    assert "hidden-word" not in str(refused.value) + str(refused.value.details)


def test_a_host_without_psycopg2_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_postgres, "psycopg2", None)
    with pytest.raises(DbopsError, match="python3-psycopg2"):
        _postgres.connect(ADDRESS, "chat", "x")


# --- waiting for a start --------------------------------------------------------------------------------------------------


def test_a_server_that_starts_is_waited_for(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> None:
    made = FakeSession()

    def connect(**_options: t.Any) -> FakeSession:
        if clock.now < 1002:
            raise psycopg2.OperationalError("the database system is starting up")
        return made

    monkeypatch.setattr(psycopg2, "connect", connect)
    wait_until_ready(ADDRESS, "postgres", "x", 60, lambda: "")
    assert 1002 <= clock.now < 1003
    assert made.closed


def test_waiting_for_a_container_that_stopped_ends_at_once(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> None:
    refuse(monkeypatch, "Connection refused")
    with pytest.raises(ServerError, match="its container stopped: bad option"):
        wait_until_ready(ADDRESS, "postgres", "x", 60, lambda: "its container stopped: bad option")
    assert clock.now == 1000


def test_waiting_for_a_start_has_an_end(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> None:
    refuse(monkeypatch, "Connection refused")
    with pytest.raises(ServerError, match=r"did not start within 60 s: .*Connection refused"):
        wait_until_ready(ADDRESS, "postgres", "x", 60, lambda: "")
    assert 1060 <= clock.now < 1061


# --- the server -----------------------------------------------------------------------------------------------------------


def test_a_server_says_what_it_is() -> None:
    found = read_server(FakeConnection({"pg_control_system": [(SERVER_ID, "17.5", False, True)]}))
    assert (found.identifier, found.version, found.major, found.in_recovery, found.superuser) == (SERVER_ID, "17.5", 17, False, True)


def test_a_server_that_is_too_old_is_refused() -> None:
    with pytest.raises(ServerError, match="runs PostgreSQL 13, the oldest that works here is 14"):
        read_server(FakeConnection(server_version=130011))
