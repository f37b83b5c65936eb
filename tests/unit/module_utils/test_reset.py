# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Resetting: built in the sandbox, compared, swapped in, and the replaced database kept."""

from __future__ import annotations

import contextlib
import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils import _backend, _dump, _reset
from ansible_collections.dbops.postgres.plugins.module_utils._docker import Image
from ansible_collections.dbops.postgres.plugins.module_utils._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils._operation import Result
from ansible_collections.dbops.postgres.plugins.module_utils._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils._reset import ResetOptions, reset
from ansible_collections.dbops.postgres.plugins.module_utils._row_counts import TableRows
from ansible_collections.dbops.postgres.plugins.module_utils._runner import Runner
from ansible_collections.dbops.postgres.plugins.module_utils._sandbox import Sandbox, data_folders
from ansible_collections.dbops.postgres.plugins.module_utils._seed import seed_fingerprint
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import (
    ADDRESS,
    OTHER_RUN,
    RUN,
    SERVER_ID,
    FakeConnection,
    FakeDocker,
    container,
    operation,
)

NEXT = "chat_next_" + RUN
KEPT = "chat_before_reset_20261123T030000"
BACKEND = container()
OLD = (TableRows("public", "users", 99),)
FRESH = (TableRows("public", "users", 5),)
SCHEMA = {"table public.users": "owner chat"}


class FakeSandbox(Sandbox):
    def session(self, database: str = "") -> contextlib.AbstractContextManager[t.Any]:
        return contextlib.nullcontext(FakeConnection())


class Stage:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder = folder
        self.journal: list[str] = []
        self.counts = [OLD, FRESH, FRESH]
        self.schemas = [SCHEMA, SCHEMA]
        self.sick: list[str] = []
        self.kept: list[tuple[str, str]] = []
        self.docker = FakeDocker(BACKEND, images={"sha256:backend": Image("sha256:backend", {}, (), {})})
        self.connection = FakeConnection(
            {
                "SELECT 1 FROM pg_database": lambda _text, parameters: [(1,)] if parameters[0] == "chat" else [],
                "FROM pg_database d JOIN pg_tablespace": [(16384, True, "c", "chat_owner", "UTF8", "C", "C", "", "", "pg_default", 7, "")],
                "FROM pg_db_role_setting": lambda _text, parameters: self.kept if parameters == ("dbops.kept",) else [],
                "pg_database_size": [(4096,)],
            }
        )
        monkeypatch.setattr(_reset, "open_sandbox", self._open_sandbox)
        monkeypatch.setattr(_reset, "count_rows", lambda _connection: self.counts.pop(0))
        monkeypatch.setattr(_reset, "read_snapshot", lambda _connection: self.schemas.pop(0))
        monkeypatch.setattr(_dump, "dump", lambda tools, *_arguments: self.journal.append("dump from " + tools.server.name))
        monkeypatch.setattr(_dump, "restore", lambda _tools, _folder, database, _jobs: self.journal.append("load " + database))
        monkeypatch.setattr(_backend, "bring_back", lambda *_arguments: [])
        monkeypatch.setattr(_backend, "sick", lambda *_arguments: [])
        monkeypatch.setattr(_backend, "unhealthy", lambda *_arguments: self.sick)

    @contextlib.contextmanager
    def _open_sandbox(self, *_arguments: t.Any) -> t.Iterator[Sandbox]:
        self.journal.append("sandbox")
        yield FakeSandbox(container("sandbox"), "dbops-sandbox", ADDRESS, "chat", "x")
        self.journal.append("sandbox gone")

    def reset(self, check_mode: bool = False, **options: t.Any) -> Result:
        self.running = operation(
            self.folder,
            self.connection,
            self.docker,
            backends=(BACKEND,),
            risk=Risk.DISPOSABLE,
            check_mode=check_mode,
            environment="preview",
            server_id=SERVER_ID,
        )
        with contextlib.closing(self.running):
            return reset(self.running, ResetOptions(**{"runner": ("ent",), "seed": ("ent",), **options}))

    @property
    def changes(self) -> list[str]:
        return [statement.replace('"', "") for statement in self.connection.statements if statement.startswith(("ALTER", "CREATE", "DROP"))]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    return Stage(monkeypatch, tmp_path)


def test_the_fresh_database_is_built_in_the_sandbox_copied_compared_and_swapped_in(stage: Stage) -> None:
    result = stage.reset()
    assert stage.journal == ["sandbox", "dump from sandbox", "sandbox gone", "load " + NEXT]
    assert [job.argv[1] for job in stage.docker.jobs] == ["migrate", "seed"]
    assert {job.network for job in stage.docker.jobs} == {"dbops-sandbox"}
    assert "ALTER DATABASE chat RENAME TO " + KEPT in stage.changes and "ALTER DATABASE %s RENAME TO chat" % NEXT in stage.changes
    assert result.changed and result.facts["replaced"] == KEPT
    assert (result.facts["rows_before"], result.facts["rows_after"]) == ({"public.users": 99}, {"public.users": 5})
    assert "To undo: ansible-playbook restore.yml -l chat-production -e dbops_restore_backup=undo" in result.summary[1]


def test_the_new_database_keeps_what_belongs_to_it_and_remembers_its_seed(stage: Stage) -> None:
    stage.reset()
    mark = seed_fingerprint(Runner(("/app/backend", "seed"), "chat-backend:v1", "sha256:backend", BACKEND))
    swapped = stage.changes.index("ALTER DATABASE %s RENAME TO chat" % NEXT)
    for statement in (
        "ALTER DATABASE %s CONNECTION LIMIT 7" % NEXT,
        "ALTER DATABASE %s SET dbops.environment TO 'preview'" % NEXT,
        "ALTER DATABASE %s SET dbops.seeds TO '%s'" % (NEXT, mark),
    ):
        assert stage.changes.index(statement) < swapped


def test_without_a_seed_none_runs_and_none_is_remembered(stage: Stage) -> None:
    stage.reset(seed=())
    assert [job.argv[1] for job in stage.docker.jobs] == ["migrate"]
    assert "ALTER DATABASE %s RESET dbops.seeds" % NEXT in stage.changes


def test_check_mode_builds_only_in_the_sandbox_and_shows_the_same_diff(stage: Stage) -> None:
    check = stage.reset(check_mode=True)
    assert stage.changes == [] and stage.journal == ["sandbox", "sandbox gone"]
    assert check.summary == ["Would reset database 'chat' to 5 rows in 1 table, built by image 'chat-backend:v1'."]
    stage.counts, stage.schemas = [OLD, FRESH, FRESH], [SCHEMA, SCHEMA]
    assert check.diff == stage.reset().diff


@pytest.mark.parametrize(
    "outcomes", [[Outcome(1, "", "no such column")], [Outcome(0, "", ""), Outcome(1, "", "no such column")]], ids=["migrate", "seed"]
)
def test_a_runner_that_fails_leaves_the_live_database_untouched(stage: Stage, outcomes: list) -> None:
    stage.docker.outcomes = outcomes
    with pytest.raises(DbopsError, match=r"could not be built: .*It says: no such column\. Database 'chat' is untouched"):
        stage.reset()
    assert stage.changes == []


@pytest.mark.parametrize("change", ["rows", "schema"])
def test_a_copy_that_is_not_what_was_built_never_goes_live(stage: Stage, change: str) -> None:
    if change == "rows":
        stage.counts[2] = (TableRows("public", "users", 4),)
    else:
        stage.schemas[1] = {}
    with pytest.raises(DbopsError, match="is not what was built in the sandbox"):
        stage.reset()
    assert not any("RENAME" in statement for statement in stage.changes)
    assert stage.changes[-1] == "DROP DATABASE IF EXISTS %s WITH (FORCE)" % NEXT


@pytest.mark.parametrize("sign", ["CREATE DATABASE", "CONNECTION LIMIT", "RENAME"])
def test_a_failure_before_the_swap_is_done_drops_the_copy(stage: Stage, sign: str) -> None:
    stage.connection.answers[sign] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        stage.reset()
    assert stage.changes[-1] == "DROP DATABASE IF EXISTS %s WITH (FORCE)" % NEXT


def test_a_database_that_cannot_be_swapped_is_refused_before_the_sandbox(stage: Stage) -> None:
    stage.connection.answers["pg_replication_slots"] = [("slot1",)]
    with pytest.raises(DbopsError, match="logical replication"):
        stage.reset()
    assert stage.journal == []


def test_a_backend_that_is_not_well_afterwards_fails_with_the_way_back(stage: Stage) -> None:
    stage.sick = ["Backend 'chat-backend' is not healthy."]
    with pytest.raises(DbopsError, match="was reset, but not every backend is well after it") as failed:
        stage.reset()
    assert "dbops_restore_backup=undo" in failed.value.message
    assert failed.value.details["replaced"] == KEPT


def test_older_replaced_databases_are_dropped_at_the_end(stage: Stage) -> None:
    stage.kept = [
        (name, json.dumps({"of": "chat", "at": at, "by": "reset", "run_id": OTHER_RUN})) for name, at in (("new", "2"), ("old", "1"))
    ]
    result = stage.reset(keep=1)
    assert result.facts["dropped"] == ["old"]
    assert stage.changes[-1] == "DROP DATABASE IF EXISTS old WITH (FORCE)"


# --- the sandbox's data folder --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("volumes", "data", "folders"),
    [
        (("/var/lib/postgresql/data",), "/var/lib/postgresql/data", ("/var/lib/postgresql/data",)),
        (("/var/lib/postgresql",), "/var/lib/postgresql/18/docker", ("/var/lib/postgresql",)),
        ((), "/data", ("/data",)),
        (("/var/lib/postgresql",), "/var/lib/postgresql-data", ("/var/lib/postgresql", "/var/lib/postgresql-data")),
        (("/x/",), "/x/y", ("/x/",)),
        ((), "", ()),
    ],
)
def test_the_image_says_where_it_keeps_its_data(volumes: tuple, data: str, folders: tuple) -> None:
    assert data_folders(Image("i", {"PGDATA": data} if data else {}, volumes, {})) == folders
