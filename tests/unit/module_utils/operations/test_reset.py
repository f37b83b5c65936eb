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

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _dump, _load
from ansible_collections.dbops.postgres.plugins.module_utils.backend import _health
from ansible_collections.dbops.postgres.plugins.module_utils.backend._health import Recovery
from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import Runner
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Image
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations import _reset
from ansible_collections.dbops.postgres.plugins.module_utils.operations._reset import ResetOptions, reset
from ansible_collections.dbops.postgres.plugins.module_utils.operations._seed import seed_fingerprint
from ansible_collections.dbops.postgres.plugins.module_utils.preview import _baseline
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._throwaway_server import Sandbox
from ansible_collections.dbops.postgres.plugins.module_utils.server._database import Properties
from ansible_collections.dbops.postgres.plugins.module_utils.server._row_counts import TableRows
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
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
BASELINE = "chat_baseline"
BACKEND = container()
OLD = (TableRows("public", "users", 99),)
FRESH = (TableRows("public", "users", 5),)
SCHEMA = {"table public.users": "owner chat"}
PROPERTIES = Properties("chat_owner", "UTF8", "C", "C", "libc", "", "", "pg_default", -1, "", None, ())


class FakeSandbox(Sandbox):
    def session(self, database: str = "") -> contextlib.AbstractContextManager[t.Any]:
        return contextlib.nullcontext(FakeConnection())


#: What the sandbox's server logs around a runner.
LOG = "dbops|1|LOG:  statement: SELECT 'dbops: the runner begins'\n%sdbops|1|LOG:  statement: SELECT 'dbops: the runner ends'\n"


class Stage:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder = folder
        self.journal: list[str] = []
        self.counts = [OLD, FRESH, FRESH, FRESH]
        self.schemas = [SCHEMA, SCHEMA, SCHEMA]
        self.baseline = ""
        self.sick: list[str] = []
        self.sick_before: list[str] = []
        self.healthy: tuple[str, ...] = ("chat-backend",)
        self.others: tuple[str, ...] = ()
        self.kept: list[tuple[str, str]] = []
        self.docker = FakeDocker(BACKEND, images={"sha256:backend": Image("sha256:backend", {}, (), {})})
        self.docker.texts = {"sandbox-id": LOG % ""}
        self.connection = FakeConnection(
            {
                "SELECT 1 FROM pg_database": lambda _text, parameters: [(1,)] if parameters[0] in ("chat", *self.others) else [],
                "FROM pg_database d JOIN pg_tablespace": [(16384, True, "c", "chat_owner", "UTF8", "C", "C", "", "", "pg_default", 7, "")],
                "FROM pg_db_role_setting": self._settings,
                "pg_database_size": [(4096,)],
            }
        )
        monkeypatch.setattr(_reset, "open_sandbox", self._open_sandbox)
        monkeypatch.setattr(_reset, "count_rows", lambda _connection, _path="": self.counts.pop(0))
        monkeypatch.setattr(_reset, "read_snapshot", lambda _connection: self.schemas.pop(0))
        monkeypatch.setattr(_dump, "dump", lambda tools, *_arguments: self.journal.append("dump from " + tools.server.name))
        monkeypatch.setattr(_load, "load", lambda _tools, _folder, database, _jobs, *_options: self.journal.append("load " + database))
        monkeypatch.setattr(_health, "bring_back", lambda *_arguments: Recovery((), tuple(self.sick), self.healthy))
        monkeypatch.setattr(_health, "sick", lambda *_arguments: self.sick_before)

    def _settings(self, _text: str, parameters: t.Any) -> list[tuple[str, str]]:
        if parameters == ("dbops.baseline",) and self.baseline:
            return [(BASELINE, self.baseline)]
        return self.kept if parameters == ("dbops.kept",) else []

    def with_baseline(self) -> str:
        """As it is after a reset with this image; returns the first reset's statement that described the baseline."""
        self.reset()
        [described] = [statement for statement in self.connection.statements if 'SET "dbops"."baseline"' in statement]
        self.baseline = described.split(" TO '", 1)[1].rstrip("'")
        self.others = (BASELINE,)
        self.counts, self.schemas, self.journal, self.docker.jobs = [OLD, FRESH], [SCHEMA], [], []
        del self.connection.statements[:]
        return described

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


def test_what_a_runner_lost_and_did_not_tell_of_is_told(stage: Stage) -> None:
    stage.docker.texts["sandbox-id"] = LOG % "dbops|2|ERROR:  no such table\ndbops|2|STATEMENT:  INSERT INTO rooms VALUES (1)\n"
    stage.reset()
    assert len(stage.running.warnings) == 2  # the migration and the seed
    assert "the server refused something of it in the sandbox: 'INSERT INTO rooms VALUES (1)': no such table" in stage.running.warnings[1]


def test_the_fresh_database_is_built_in_the_sandbox_copied_compared_and_swapped_in(stage: Stage) -> None:
    result = stage.reset()
    assert stage.journal == ["sandbox", "dump from sandbox", "sandbox gone", "load " + NEXT]
    assert [job.argv[1] for job in stage.docker.jobs] == ["migrate", "seed"]
    assert {job.network for job in stage.docker.jobs} == {"dbops-sandbox"}
    made = stage.changes.index("ALTER DATABASE %s RENAME TO chat_baseline" % NEXT)
    assert stage.changes[made + 1] == "ALTER DATABASE chat_baseline ALLOW_CONNECTIONS false IS_TEMPLATE true"
    assert "CREATE DATABASE %s TEMPLATE chat_baseline OWNER chat_owner TABLESPACE pg_default" % NEXT in stage.changes[made:]
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
    stage.counts, stage.schemas = [OLD, FRESH, FRESH, FRESH], [SCHEMA, SCHEMA, SCHEMA]
    assert check.diff == stage.reset().diff


@pytest.mark.parametrize(
    "outcomes", [[Outcome(1, "", "no such column")], [Outcome(0, "", ""), Outcome(1, "", "no such column")]], ids=["migrate", "seed"]
)
def test_a_runner_that_fails_leaves_the_live_database_untouched(stage: Stage, outcomes: list) -> None:
    stage.docker.outcomes = outcomes
    with pytest.raises(DbopsError, match=r"could not be built: .*It says: no such column\."):
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


def test_healthy_are_the_backends_that_run(stage: Stage) -> None:
    assert "Healthy: chat-backend." in stage.reset().summary


def test_a_backend_that_was_sick_before_is_not_called_healthy(stage: Stage) -> None:
    stage.sick_before, stage.healthy = ["chat-backend"], ()
    result = stage.reset()
    assert "Healthy: none so far." in result.summary
    assert stage.running.warnings == ["Backend 'chat-backend' was not healthy before the reset either."]


def test_older_replaced_databases_are_dropped_at_the_end(stage: Stage) -> None:
    stage.kept = [
        (name, json.dumps({"of": "chat", "at": at, "by": "reset", "run_id": OTHER_RUN})) for name, at in (("new", "2"), ("old", "1"))
    ]
    result = stage.reset(keep=1)
    assert result.facts["dropped"] == ["old"]
    assert stage.changes[-1] == "DROP DATABASE IF EXISTS old WITH (FORCE)"


# --- the baseline ---------------------------------------------------------------------------------------------------------


def test_a_reset_with_the_same_image_and_commands_is_a_copy_of_the_baseline(stage: Stage) -> None:
    stage.with_baseline()
    result = stage.reset()
    assert stage.journal == [] and stage.docker.jobs == []
    assert [statement for statement in stage.changes if statement.startswith("CREATE")] == [
        "CREATE DATABASE %s TEMPLATE chat_baseline OWNER chat_owner TABLESPACE pg_default" % NEXT
    ]
    assert result.facts["baseline_rebuilt"] is False
    assert result.facts["rows_after"] == {"public.users": 5}
    assert "a copy of the baseline that image 'chat-backend:v1' made at 20" in result.summary[0]
    mark = seed_fingerprint(Runner(("/app/backend", "seed"), "chat-backend:v1", "sha256:backend", BACKEND))
    assert "ALTER DATABASE %s SET dbops.seeds TO '%s'" % (NEXT, mark) in stage.changes
    assert "ALTER DATABASE %s SET dbops.environment TO 'preview'" % NEXT in stage.changes


def test_check_mode_knows_the_rows_from_the_baseline(stage: Stage) -> None:
    stage.with_baseline()
    check = stage.reset(check_mode=True)
    assert stage.changes == [] and stage.journal == []
    assert check.summary[0].startswith("Would reset database 'chat' to 5 rows in 1 table, a copy of the baseline that image")
    stage.counts, stage.schemas = [OLD, FRESH], [SCHEMA]
    assert check.diff == stage.reset().diff


@pytest.mark.parametrize(
    "options", [{"seed": ()}, {"runner": ("/app/backend", "migrate", "--all")}, {"image": "chat-backend:v2"}, {"rebuild": True}], ids=str
)
def test_another_image_or_command_makes_the_baseline_anew(stage: Stage, options: dict) -> None:
    stage.docker.images["chat-backend:v2"] = Image("sha256:v2", {}, (), {})
    stage.with_baseline()
    stage.counts, stage.schemas = [OLD, FRESH, FRESH, FRESH], [SCHEMA, SCHEMA, SCHEMA]
    result = stage.reset(**options)
    assert result.facts["baseline_rebuilt"] is True
    dropped = stage.changes.index("DROP DATABASE IF EXISTS chat_baseline WITH (FORCE)")
    assert stage.changes[dropped - 1] == "ALTER DATABASE chat_baseline IS_TEMPLATE false"
    assert stage.changes.index("ALTER DATABASE %s RENAME TO chat_baseline" % NEXT) > dropped


def test_another_locale_makes_the_baseline_anew(stage: Stage) -> None:
    stage.with_baseline()
    stage.connection.answers["FROM pg_database d JOIN pg_tablespace"] = [
        (16384, True, "c", "chat_owner", "UTF8", "ja_JP.utf8", "ja_JP.utf8", "", "", "pg_default", 7, "")
    ]
    stage.counts.append(FRESH)
    assert stage.reset(check_mode=True).facts["baseline_rebuilt"] is True


@pytest.mark.parametrize("change", ["rows", "schema"])
def test_a_baseline_that_was_changed_never_goes_live(stage: Stage, change: str) -> None:
    stage.with_baseline()
    if change == "rows":
        stage.counts[1] = (TableRows("public", "users", 6),)
    else:
        stage.schemas[0] = {}
    with pytest.raises(DbopsError, match=r"The baseline 'chat_baseline' was changed after it was made: .*dbops_preview_reset_rebuild=true"):
        stage.reset()
    assert not any("RENAME" in statement for statement in stage.changes)
    assert stage.changes[-1] == "DROP DATABASE IF EXISTS %s WITH (FORCE)" % NEXT


@pytest.mark.parametrize(
    ("written", "instead"),
    [("", ""), ('"of": "chat"', '"of": "chat_of_another_team"'), ('"of": ', '"for": '), ("{", "")],
    ids=["made by hand", "another database's baseline", "another version's", "damaged"],
)
def test_somebody_elses_database_of_that_name_is_left_alone(stage: Stage, written: str, instead: str) -> None:
    if written:
        stage.with_baseline()
        assert written in stage.baseline
        stage.baseline = stage.baseline.replace(written, instead)
        stage.counts = [OLD]
    stage.others = (BASELINE,)
    with pytest.raises(DbopsError, match="Database 'chat_baseline' is in the way"):
        stage.reset()
    assert stage.changes == [] and stage.journal == []


def test_a_baseline_that_could_not_be_kept_is_dropped_with_the_run(stage: Stage) -> None:
    stage.connection.answers["IS_TEMPLATE true"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        stage.reset()
    assert stage.changes[-1] == "DROP DATABASE IF EXISTS %s WITH (FORCE)" % NEXT
    assert "ROLLBACK" in stage.connection.statements


@pytest.mark.parametrize(
    ("version", "size", "strategy"),
    [(140012, 10**9, [""]), (150000, 10**6, [""]), (150000, 10**9, [" STRATEGY file_copy"]), (180000, 10**9, [" STRATEGY file_copy"])],
)
def test_a_large_baseline_is_copied_by_file_where_the_server_can(version: int, size: int, strategy: list[str]) -> None:
    connection = FakeConnection({"pg_database_size": [(size,)]}, server_version=version)
    _baseline.copy_baseline(t.cast(t.Any, connection), "chat", NEXT, PROPERTIES)
    created = [statement.rpartition('"pg_default"')[2] for statement in connection.statements if statement.startswith("CREATE")]
    assert created == strategy
    assert connection.said("file_copy_method = clone") == (["SET file_copy_method = clone"] if version >= 180000 else [])


def test_where_the_file_system_cannot_clone_the_files_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_baseline, "attempt", lambda _connection, _statement: "could not clone file")
    connection = FakeConnection({"pg_database_size": [(10**9,)]}, server_version=180000)
    _baseline.copy_baseline(t.cast(t.Any, connection), "chat", NEXT, PROPERTIES)
    assert connection.statements[-2] == "SET file_copy_method = copy"
    assert connection.statements[-1].startswith("CREATE DATABASE")
