# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables whose rows a reset carries over: found by name, checked, moved, and the foreign keys proved again."""

from __future__ import annotations

import typing as t
from pathlib import Path

import psycopg2
import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _dump, _load
from ansible_collections.dbops.postgres.plugins.module_utils.preview import _kept_tables
from ansible_collections.dbops.postgres.plugins.module_utils.preview._kept_tables import (
    KeptTable,
    carry_over,
    find,
    require_in_both,
    with_kept_rows,
)
from ansible_collections.dbops.postgres.plugins.module_utils.server._row_counts import TableRows
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeConnection, operation

USERS = KeptTable("public", "users")
KEY = ("messages_users", "public", "messages", "FOREIGN KEY (user_messages) REFERENCES public.users(id)", "who wrote it")
COLUMNS = [("id", "bigint", True), ("name", "text", False)]


def named(*rows: tuple[str, str, bool, bool]) -> FakeConnection:
    return FakeConnection({"FROM pg_class c JOIN": list(rows)})


def test_a_table_is_found_once_whatever_it_is_called() -> None:
    assert find(named(("public", "users", False, False)), ["users", "public.users"]) == (USERS,)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "There is no table 'users' in the live database to carry over: check dbops_preview_reset_keep_tables."),
        ([("a", "users", False, False), ("b", "users", False, False)], "Several tables are called 'users' (a.users, b.users)"),
        ([("public", "users", True, False)], "Table 'public.users' is partitioned"),
        ([("public", "users", False, True)], "Table 'public.users' is partitioned"),
    ],
)
def test_what_cannot_be_meant_is_refused(rows: list[t.Any], message: str) -> None:
    with pytest.raises(DbopsError) as caught:
        find(named(*rows), ["users"])
    assert caught.value.message.startswith(message)


def test_a_table_has_to_be_in_the_fresh_database_too() -> None:
    require_in_both([USERS], [TableRows("public", "users", 5)])
    with pytest.raises(DbopsError, match=r"The fresh database has no table 'public\.users'"):
        require_in_both([USERS], [TableRows("public", "rooms", 5)])


def test_the_kept_tables_have_the_live_rows() -> None:
    fresh = (TableRows("public", "rooms", 3), TableRows("public", "users", 5))
    live = (TableRows("public", "rooms", 30), TableRows("public", "users", 50))
    assert with_kept_rows(fresh, live, [USERS]) == (TableRows("public", "rooms", 3), TableRows("public", "users", 50))


class Stage:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.columns = [COLUMNS, COLUMNS]
        self.counts = [7, 7]
        self.journal: list[str] = []
        self.connection = FakeConnection(
            {
                "FROM pg_attribute": lambda _text, _parameters: self.columns.pop(0),
                "FROM pg_constraint k JOIN pg_class c": [KEY],
                "pg_export_snapshot": [("0003-1",)],
                "count(*)": lambda _text, _parameters: [(self.counts.pop(0),)],
            }
        )
        self.folder = folder
        monkeypatch.setattr(_kept_tables, "read_snapshot", lambda _connection: {"table public.users": ""})
        monkeypatch.setattr(
            _dump,
            "dump",
            lambda _tools, database, snapshot, _folder, _jobs, _c, options: self.journal.append(f"dump {database} {snapshot} {options}"),
        )
        monkeypatch.setattr(
            _load, "load", lambda _tools, _folder, database, _jobs, options: self.journal.append(f"load {database} {options}")
        )

    def carry_over(self) -> tuple[TableRows, ...]:
        return carry_over(operation(self.folder, sessions=self.connection), [USERS], "chat_next", 2)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    return Stage(monkeypatch, tmp_path)


def test_rows_travel_by_dump_between_the_keys_going_and_coming_back(stage: Stage) -> None:
    assert stage.carry_over() == (TableRows("public", "users", 7),)
    assert stage.journal == [
        """dump chat 0003-1 ['--data-only', '--table="public"."users"']""",
        "load chat_next ['--data-only', '--disable-triggers']",
    ]
    done = [statement for statement in stage.connection.statements if statement.startswith(("ALTER", "TRUNCATE", "COMMENT", "SET session"))]
    assert done == [
        'ALTER TABLE "public"."messages" DROP CONSTRAINT "messages_users"',
        "SET session_replication_role = replica",
        'TRUNCATE ONLY "public"."users"',
        'ALTER TABLE "public"."messages" ADD CONSTRAINT "messages_users" FOREIGN KEY (user_messages) REFERENCES public.users(id)',
        """COMMENT ON CONSTRAINT "messages_users" ON "public"."messages" IS 'who wrote it'""",
    ]


def test_a_key_that_does_not_hold_is_the_servers_own_sentence(stage: Stage) -> None:
    stage.connection.answers = {
        "ADD CONSTRAINT": psycopg2.IntegrityError("Key (user_messages)=(3) is not present in table"),
        **stage.connection.answers,
    }
    with pytest.raises(
        DbopsError, match=r"a foreign key of table 'public.messages' would not hold: Key \(user_messages\)=\(3\) is not present"
    ):
        stage.carry_over()


@pytest.mark.parametrize(
    ("fresh", "live", "message"),
    [
        ([("id", "bigint", True)], COLUMNS, "column 'name' is not in the fresh one"),
        (COLUMNS, [("id", "integer", True), ("name", "text", False)], "column 'id' is integer here and bigint there"),
        ([*COLUMNS, ("tenant", "bigint", True)], COLUMNS, "column 'tenant' is new and has no default"),
    ],
)
def test_columns_that_do_not_fit_are_named_before_anything_is_moved(stage: Stage, fresh: t.Any, live: t.Any, message: str) -> None:
    stage.columns = [live, fresh]
    with pytest.raises(DbopsError) as caught:
        stage.carry_over()
    assert message in caught.value.message
    assert stage.journal == []


def test_rows_that_did_not_arrive_are_told(stage: Stage) -> None:
    stage.counts = [7, 6]
    with pytest.raises(DbopsError, match=r"table public\.users has 6 rows instead of 7"):
        stage.carry_over()
