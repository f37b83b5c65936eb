# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether somebody used a database lately."""

from __future__ import annotations

import datetime
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _journal
from ansible_collections.dbops.postgres.plugins.module_utils.preview import _usage
from ansible_collections.dbops.postgres.plugins.module_utils.preview._usage import is_ping, last_use
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import AT, FakeConnection, operation


def look(folder: Path, sessions: t.Any = (), read: t.Any = (), version: int = 170005) -> str:
    connection = FakeConnection({"FROM pg_stat_activity": list(sessions), "FROM pg_stat_user_tables": list(read)})
    running = operation(folder, connection)
    running.server = replace(running.server, version_number=version)
    return last_use(running, 30)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_usage, "utc_now", lambda: AT)


@pytest.mark.parametrize(
    "query", ["SELECT 1", "select 1;", ";", "", "-- ping", "SELECT 1 AS ok", "/* ping */ SELECT 1", "SELECT version()", "select 'x'"]
)
def test_a_check_of_the_connection_is_no_use(query: str) -> None:
    assert is_ping(query)


@pytest.mark.parametrize(
    "query", ["SELECT 1 FROM users", "COMMIT", "SELECT count(*) FROM users", "INSERT INTO x VALUES (1)", "SELECT 10, name FROM u"]
)
def test_everything_else_is(query: str) -> None:
    assert not is_ping(query)


@pytest.mark.parametrize(
    ("session", "said"),
    [
        (
            (7, "ann", "psql", "", "SELECT * FROM users", True, 0.1),
            "session 7 (user ann, application 'psql' from a local socket) works in it now",
        ),
        (
            (7, "ann", "web", "10.0.0.5", "COMMIT", False, 125.0),
            "session 7 (user ann, application 'web' from 10.0.0.5) used it 2 min 5 s ago: COMMIT",
        ),
        ((7, "ann", "web", "", "COMMIT", False, 1799.0), "29 min 59 s ago"),
    ],
)
def test_a_session_that_did_something_is_named(tmp_path: Path, session: tuple[t.Any, ...], said: str) -> None:
    assert said in look(tmp_path, [session])


@pytest.mark.parametrize(
    "session",
    [(7, "ann", "web", "", "COMMIT", False, 1801.0), (7, "ann", "web", "", "SELECT 1", False, 0.1), (7, "a", "w", "", ";", True, 0.0)],
)
def test_a_session_that_did_nothing_lately_is_passed_over(tmp_path: Path, session: tuple[t.Any, ...]) -> None:
    assert look(tmp_path, [session]) == ""


def test_a_table_that_was_read_tells_of_sessions_that_are_gone(tmp_path: Path) -> None:
    read = [("public.rooms", (AT - datetime.timedelta(seconds=90)).replace(tzinfo=None))]
    assert look(tmp_path, read=read) == "table public.rooms was last read 1 min 30 s ago"
    assert look(tmp_path, read=read, version=150000) == "", "that server does not know"


def test_a_read_of_our_own_is_named_since_it_hides_what_came_before(tmp_path: Path) -> None:
    read = [("public.rooms", (AT - datetime.timedelta(seconds=90)).replace(tzinfo=None))]
    _journal.append(str(tmp_path), {"operation": "branch", "branch": "x"})
    _journal.append(
        str(tmp_path), {"operation": "backup", "run_id": "r1", "started": "2026-11-23T02:58:20Z", "finished": "2026-11-23T02:58:30Z"}
    )
    assert look(tmp_path, read=read).endswith("by our backup (run r1), which hides what came before it")
