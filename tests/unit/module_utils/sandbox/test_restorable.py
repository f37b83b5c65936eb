# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a dump can be restored is found out beforehand, and what could not be found out is not called well."""

from __future__ import annotations

import contextlib
import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import Failure, Manifest, Restorable
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.operations._backup import not_restorable
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox import _restorable
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._restorable import check_restorable, errors_in
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import EngineError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import (
    FakeConnection,
    FakeDocker,
    container,
    manifest,
    operation,
    published,
)

TEXT = """--
-- Name: report; Type: MATERIALIZED VIEW DATA; Schema: public; Owner: postgres
--

REFRESH MATERIALIZED VIEW public.report;
"""
#: What psql of PostgreSQL 16 said.
SAID = """psql:<stdin>:5: ERROR:  relation "messages" does not exist
LINE 1: SELECT count(*) FROM messages
                             ^
QUERY:  SELECT count(*) FROM messages
CONTEXT:  SQL function "total" during startup
"""


class Stage:
    """A sandbox in which psql says what it is told to say."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.said = ""
        self.opened = 0
        self.connection = FakeConnection({"FROM pg_proc": [("ALTER FUNCTION public.total() SET search_path = public, pg_temp;",)]})
        self.docker = FakeDocker()
        self.docker.on_exec = lambda _container, _argv: Outcome(0, "", self.said)
        self.operation = operation(folder, self.connection, self.docker)
        monkeypatch.setattr(_restorable, "open_sandbox", self._open)
        monkeypatch.setattr(_restorable, "as_text", self._write)

    def _write(self, _tools: t.Any, _source: str, work: str, name: str, **_options: t.Any) -> str:
        Path(work, name).write_text(TEXT)
        return str(Path(work, name))

    @contextlib.contextmanager
    def _open(self, _operation: Operation) -> t.Iterator[t.Any]:
        self.opened += 1

        class Sandbox:
            container = container()
            address = self.operation.target.address
            session = staticmethod(lambda: contextlib.nullcontext(self.connection))

        yield Sandbox()

    def check(self, look: bool = True) -> Restorable:
        return check_restorable(self.operation, "/backup", "f" * 64, look)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    return Stage(monkeypatch, tmp_path)


def test_a_schema_that_loads_is_looked_at_once(stage: Stage) -> None:
    assert [stage.check(), stage.check(), stage.check(look=False)] == [Restorable("yes", "")] * 3
    assert stage.opened == 1


def test_without_a_look_nothing_is_called_well(stage: Stage) -> None:
    assert stage.check(look=False) == Restorable("unknown", "it was not checked when the backup was made")
    assert stage.opened == 0


def test_what_fails_is_named_with_its_mend_and_looked_at_again(stage: Stage) -> None:
    stage.said = SAID
    mend = "ALTER FUNCTION public.total() SET search_path = public, pg_temp;"
    failure = Failure("MATERIALIZED VIEW public.report", 'relation "messages" does not exist', mend)
    assert stage.check() == stage.check() == Restorable("no", "", (failure,))
    assert stage.opened == 2
    assert ("total",) in stage.connection.parameters


def test_a_check_that_cannot_run_says_so_and_fails_no_backup(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_all: t.Any, **_options: t.Any) -> t.NoReturn:
        raise EngineError("The engine is full.")

    monkeypatch.setattr(_restorable, "open_sandbox", fail)
    assert stage.check() == Restorable("unknown", "the check could not run: The engine is full.")
    stage.operation.docker.on_exec = lambda _container, _argv: Outcome(2, "", "gone")  # type: ignore[attr-defined]


def test_errors_are_told_with_the_function_in_which_they_happened() -> None:
    assert errors_in(SAID + "psql:<stdin>:9: ERROR:  other\n") == [
        (5, 'relation "messages" does not exist', "total"),
        (9, "other", ""),
    ]
    assert errors_in("psql:<stdin>:1: ERROR:  x\nCONTEXT:  PL/pgSQL function public.f(text) line 3 at RETURN\n") == [(1, "x", "f")]


def test_a_manifest_keeps_it_and_one_without_it_stays_readable(tmp_path: Path) -> None:
    no = Restorable("no", "", (Failure("INDEX public.i", "function f() does not exist", "ALTER FUNCTION public.f() ...;"),))
    assert Manifest.from_json(json.loads(json.dumps(manifest(restorable=no).to_json()))).restorable == no
    data = manifest().to_json()
    del data["restorable"]
    assert Manifest.from_json(data).restorable.state == "unknown"
    backup = published(tmp_path, restorable=no)
    assert "INDEX public.i: function f() does not exist. Mend it" in not_restorable(backup)
    assert not_restorable(backup).endswith("ALTER FUNCTION public.f() ...;")
