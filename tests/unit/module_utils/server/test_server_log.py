# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.server._server_log import ServerLog, read_server_log, refused
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import LOGGING, FakeConnection

#: What servers write at the beginning of a line, by setting: the image's own, Debian's, pgBadger's, and awkward ones.
PREFIXES = [
    ("%m [%p] ", "2026-11-27 01:00:00.123 UTC [42] "),
    ("%m [%p] %q%u@%d ", "2026-11-27 01:00:00.123 UTC [42] ann@chat "),
    ("%t [%p]: user=%u,db=%d,app=%a,client=%h ", "2026-11-27 01:00:00 UTC [42]: user=ann,db=chat,app=[7] x,client=172.19.0.9 "),
    ("%c %l ", "6926d2a0.2a 3 "),
    ("<%5p> ", "<   42> "),
    ("%%%p.", "%42."),
    ("(%e) [%p] %v/%x ", "(23505) [42] 3/12/0 "),
]


def server(**changes: str) -> t.Any:
    names = ("prefix", "destination", "collector", "messages", "statements", "language")
    return FakeConnection({"'log_line_prefix'": [tuple({**dict(zip(names, LOGGING)), **changes}.values())]})


@pytest.mark.parametrize(("setting", "beginning"), PREFIXES)
def test_what_was_refused_is_found_behind_every_prefix(setting: str, beginning: str) -> None:
    log = read_server_log(server(prefix=setting))
    text = f"{beginning}ERROR:  no such row\n{beginning}CONTEXT:  PL/pgSQL\n\tline 2\n{beginning}STATEMENT:  DELETE\n\tFROM users\n"
    [failed] = refused(log, "chat", text)
    assert (failed.sql, failed.error, failed.session) == ("DELETE\nFROM users", "no such row", 42)


@pytest.mark.parametrize(("setting", "beginning"), [(setting, beginning) for setting, beginning in PREFIXES if "%d" in setting])
def test_what_another_database_refused_is_left_out_where_the_log_tells_databases_apart(setting: str, beginning: str) -> None:
    text = f"{beginning}ERROR:  no such row\n{beginning}STATEMENT:  DELETE\n\tFROM users\n"
    assert refused(ServerLog(setting, ""), "other", text) == []
    assert refused(ServerLog(setting, ""), "cha", text) == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"destination": "stderr,csvlog"}, ""),
        ({"language": "en_US.utf8"}, ""),
        ({"language": ""}, ""),
        ({"messages": "debug1", "statements": "debug1"}, ""),
        ({"collector": "on"}, "logging_collector is on, so the server logs into files"),
        ({"destination": "jsonlog"}, "log_destination is jsonlog"),
        ({"messages": "fatal"}, "log_min_messages is fatal"),
        ({"messages": "log"}, "log_min_messages is log"),
        ({"statements": "panic"}, "log_min_error_statement is panic"),
        ({"language": "ja_JP.utf8"}, "lc_messages is ja_JP.utf8"),
        ({"prefix": "%t "}, "log_line_prefix has no %p"),
        ({"prefix": "100%% "}, "log_line_prefix has no %p"),
    ],
)
def test_a_log_that_does_not_tell_is_known(changes: dict[str, str], why: str) -> None:
    assert read_server_log(server(**changes)).unreadable == why


@pytest.mark.parametrize(
    ("statement", "error", "counts"),
    [
        ("INSERT INTO users VALUES (1)", "duplicate key value violates unique constraint", True),
        ("ALTER TABLE users ADD x int", 'column "x" of relation "users" already exists', False),
        ("SELECT version FROM schema_version", 'relation "schema_version" does not exist', False),
        ("WITH gone AS (DELETE FROM users RETURNING 1) SELECT 1", "permission denied", True),
    ],
)
def test_only_what_was_to_change_something_counts(statement: str, error: str, counts: bool) -> None:
    text = "[1] ERROR:  %s at character 3\n[1] STATEMENT:  %s\n" % (error, statement)
    assert bool(refused(ServerLog("[%p] ", ""), "chat", text)) is counts


def test_an_error_of_a_process_without_a_statement_is_nobodys() -> None:
    text = "[1] FATAL:  password authentication failed\n[2] ERROR:  canceling autovacuum task\n"
    assert refused(ServerLog("[%p] ", ""), "chat", text) == []
