# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rebuilding what sorts text: where, in which order, what stops it, and when the new version is noted."""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations import _recollation
from ansible_collections.dbops.postgres.plugins.module_utils.operations._recollation import RecollationOptions, recollate
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Server
from ansible_collections.dbops.postgres.plugins.module_utils.server._text_order import TextIndex, TextOrder, Wrong
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, Refused
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import SERVER_ID, FakeConnection, operation

KEY = TextIndex(7, "public.users_name_key", "public.users", True, False, 16384, 1, False, "", (100,))
EXCLUSION = TextIndex(8, "public.booked_excl", "public.booked", False, True, 8192, 1, False, "", (12,))
TWICE = Wrong("duplicates", "public.users", KEY.name, 2, "SELECT ctid, * FROM public.users WHERE ctid IN ('(0,1)')")


class Stage:
    """A server with these databases; ``orders``: what is found in each; ``differs``: whether the databases' own collation has changed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder = folder
        self.orders = {"chat": TextOrder(True, ("public.moved",), (EXCLUSION, KEY), ()), "postgres": TextOrder(), "template1": TextOrder()}
        self.databases = [
            ("chat", True, True),
            ("old", False, True),
            ("postgres", True, True),
            ("template1", True, True),
            ("template0", False, True),
        ]
        self.differs = True
        self.recorded: str | None = None
        self.actual = "2.36"
        self.answers: dict[str, t.Any] = {}
        self.major = 17
        monkeypatch.setattr(_recollation, "read_text_order", self._read)
        monkeypatch.setattr(_recollation, "leftovers", lambda _connection: self.left)
        self.left: list[str] = []

    def _read(self, connection: t.Any, default: bool, everything: bool) -> TextOrder:
        return self.orders[connection.database]

    def begin(self, check_mode: bool = False) -> Operation:
        recorded = ("2.31" if self.differs else "2.36") if self.recorded is None else self.recorded
        answers = {"datallowconn": self.databases, "datcollversion": [(recorded, self.actual)], **self.answers}
        self.maintenance = FakeConnection(answers)
        self.sessions: dict[str, FakeConnection] = {}
        self.operation = operation(self.folder, self.maintenance, risk=Risk.FORWARD, check_mode=check_mode)
        self.operation.server = Server(SERVER_ID, "%d.5" % self.major, self.major * 10000 + 5, False, True)

        @contextlib.contextmanager
        def session(database: str = "", read_only: bool = False) -> t.Iterator[FakeConnection]:
            made = self.sessions.setdefault(database, FakeConnection(self.answers))
            made.database = database  # type: ignore[attr-defined]
            yield made

        self.operation.session = session  # type: ignore[method-assign,assignment]
        return self.operation

    def recollate(self, check_mode: bool = False, **options: t.Any) -> Result:
        return recollate(self.begin(check_mode), RecollationOptions(**options))


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    return Stage(monkeypatch, tmp_path)


def test_it_is_rebuilt_analyzed_and_then_noted(stage: Stage) -> None:
    result = stage.recollate()
    assert result.changed and result.summary[0] == "Rebuilt 2 indexes (24.0 kB) in 4 databases."
    done = [said for said in stage.sessions["chat"].statements if said.startswith(("REINDEX", "ANALYZE", "ALTER"))]
    assert done == [
        "REINDEX INDEX public.booked_excl",
        "REINDEX INDEX CONCURRENTLY public.users_name_key",
        "ANALYZE public.booked",
        "ANALYZE public.users",
        "ALTER COLLATION public.moved REFRESH VERSION",
    ]
    noted = stage.maintenance.said("REFRESH COLLATION VERSION")
    assert [said.split('"')[1] for said in noted] == ["chat", "postgres", "template1", "template0"]
    assert "with its table locked meanwhile: public.booked_excl" in result.summary[1]
    [warning] = stage.operation.warnings
    assert "Database 'old' was not looked into: it takes no connections" in warning


def test_only_the_kind_that_locks_its_table_waits_no_longer_than_a_moment(stage: Stage) -> None:
    stage.recollate()
    waits = [said for said in stage.sessions["chat"].statements if "lock_timeout" in said]
    assert waits == ["SET lock_timeout = '5s'", "SET lock_timeout = 0"]


def test_check_mode_and_run_show_the_same_and_check_mode_touches_nothing(stage: Stage) -> None:
    checked = stage.recollate(check_mode=True)
    assert checked.changed and not stage.sessions["chat"].said("REINDEX") and not stage.maintenance.said("ALTER")
    assert checked.diff == stage.recollate().diff
    assert "-- in chat\nREINDEX INDEX public.booked_excl;" in (checked.diff or {})["prepared"]


def test_where_no_version_differs_nothing_is_done(stage: Stage) -> None:
    stage.differs, stage.orders["chat"] = False, TextOrder()
    result = stage.recollate()
    assert not result.changed and result.summary[0].startswith("Nothing to rebuild") and stage.operation.warnings == []


def test_rows_that_are_wrong_stop_it_before_anything_is_touched(stage: Stage) -> None:
    stage.orders["chat"] = TextOrder(True, (), (KEY,), (TWICE,))
    with pytest.raises(Refused, match=r"(?s)Nothing was touched.\nIn database 'chat', 2 keys of unique index.*dbops_recollate_wrong=skip"):
        stage.recollate()
    assert not stage.sessions["chat"].said("REINDEX")
    assert stage.recollate(check_mode=True).changed and "A run would be refused" in stage.operation.warnings[-1]


def test_the_rest_may_be_rebuilt_and_the_version_stays_the_old_one(stage: Stage) -> None:
    stage.orders["chat"] = TextOrder(True, ("public.moved",), (EXCLUSION, KEY), (TWICE,))
    result = stage.recollate(wrong="skip")
    assert result.summary[0].startswith("Rebuilt 1 index ")
    assert stage.sessions["chat"].said("REINDEX") == ["REINDEX INDEX public.booked_excl"]
    assert not stage.sessions["chat"].said("REFRESH") and '"chat"' not in "".join(stage.maintenance.said("REFRESH"))
    assert "2 keys of unique index" in stage.operation.warnings[-1]


def test_one_that_cannot_be_rebuilt_is_named_and_what_it_left_is_gone(stage: Stage) -> None:
    stage.answers["REINDEX INDEX CONCURRENTLY"], stage.left = psycopg2.Error("it fails\nCONTEXT: x"), [KEY.name + "_ccnew"]
    with pytest.raises(DbopsError, match=r"Index public.users_name_key in 'chat': it fails. The rest is done"):
        stage.recollate()
    assert stage.sessions["chat"].said("DROP INDEX CONCURRENTLY public.users_name_key_ccnew")
    assert not stage.sessions["chat"].said("REFRESH")


def test_where_nobody_has_noted_it_it_is_said_that_it_is_not_known(stage: Stage) -> None:
    """Nor where the library told no version, as that of Alpine."""
    stage.recorded, stage.orders["chat"] = "", TextOrder()
    stage.recollate()
    [warning] = stage.operation.warnings
    assert (
        warning.startswith("How the own collation of 'chat', 'old', 'postgres', 'template1' sorted")
        and "-e dbops_recollate_everything=true" in warning
    )


def test_its_own_database_has_to_be_looked_into(stage: Stage) -> None:
    stage.databases[0] = ("chat", False, True)
    with pytest.raises(DbopsError, match="'chat' could not be looked into: it takes no connections"):
        stage.recollate()


def test_a_library_that_tells_no_version_is_another_one_and_nothing_can_be_noted(stage: Stage) -> None:
    stage.actual = ""
    assert stage.recollate().changed
    assert not stage.maintenance.said("REFRESH") and stage.sessions["chat"].said("REINDEX")
    assert "The library of this image tells no version, so none can be noted for 'chat'" in "\n".join(stage.operation.warnings)


def test_what_a_killed_run_has_left_is_dropped_first(stage: Stage) -> None:
    stage.orders["chat"] = TextOrder(True, (), (KEY,), (), ("public.users_name_key_ccnew",), ("public.broken",), ("public.odd",))
    result = stage.recollate()
    assert "DROP INDEX CONCURRENTLY public.users_name_key_ccnew;\nREINDEX" in (result.diff or {})["prepared"]
    done = [said for said in stage.sessions["chat"].statements if "INDEX" in said]
    assert done == ["DROP INDEX CONCURRENTLY public.users_name_key_ccnew", KEY.statement]
    told = "\n".join(stage.operation.warnings)
    assert "Index public.broken in 'chat' is invalid" in told and "rows of public.odd in 'chat' lie in the right part" in told


def test_others_who_are_at_work_and_somebodys_production_are_left_alone(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_recollation, "read_holder", lambda _connection, name: "restore by ann" if name == "postgres" else None)
    begun = stage.begin()
    begun.request = replace(begun.request, environment="preview")
    begun.evidence = replace(begun.evidence, production_databases=("template1",))
    recollate(begun, RecollationOptions())
    assert sorted(stage.sessions) == ["chat"]
    told = "\n".join(begun.warnings)
    assert "'postgres' was not looked into: another operation is at work there: restore by ann" in told
    assert "'template1' was not looked into: it is marked production" in told
