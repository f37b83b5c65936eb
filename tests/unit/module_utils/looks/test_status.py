# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One look: whatever cannot be reached or read, the rest is told; nothing is written; the sandbox only runs where it has to."""

from __future__ import annotations

import contextlib
import datetime
import json
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _journal
from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import Runner
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Image
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.looks import _status, _survey
from ansible_collections.dbops.postgres.plugins.module_utils.looks._status import (
    StatusOptions,
    failed_operation,
    growth,
    last_migration,
    nothing_pending,
)
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operation._request import Inquiry
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import Plan, PlannedStatement
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import fingerprint
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, Interrupted, ServerError
from ansible_collections.dbops.postgres.plugins.module_utils.text._redaction import Redactor
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import timestamp
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import (
    AT,
    RUN,
    FakeConnection,
    FakeDocker,
    container,
    operation,
    published,
    request,
)

DF = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/x 1000 400 600 40% /data\n"
BACKEND = container(health="healthy")
SCHEMA = {"table public.users": "owner chat"}
ANSWERS: dict[str, t.Any] = {
    "pg_stat_user_tables": [],
    "SELECT 1 FROM pg_database": lambda _text, parameters: [(1,)] if parameters == ("chat",) else [],
    "pg_database_size": [(4096,)],
    "pg_postmaster_start_time": [(3600.0,)],
    "max_connections": [(3, 97, 2, -1)],
    "autovacuum_freeze_max_age": [("chat", 30, 200000000, 1600000000)],
    "autovacuum_multixact_freeze_max_age": [("chat", 1, 400000000, 1600000000)],
    "datcollversion": [("2.36", "2.36")],
    "FROM pg_constraint": list(SCHEMA.items()),
    "data_directory": [("/data",)],
}
MIGRATED = {
    "operation": "migrate",
    "database": "chat",
    "result": "ok",
    "changed": True,
    "image": "chat-backend:v1",
    "image_id": "sha256:backend",
    "runner": ["/app/backend", "migrate"],
    "schema_after": fingerprint(SCHEMA),
    "finished": "2026-11-22T03:00:00Z",
    "operator": "ann",
    "controller": "desk",
}
RUNNER = Runner(("/app/backend", "migrate"), "chat-backend:v1", "sha256:backend", BACKEND)


class Stage:
    """A look on fakes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder = folder
        self.connection = FakeConnection(ANSWERS)
        self.docker = FakeDocker(BACKEND, images={"sha256:backend": Image("sha256:backend", {}, (), {})})
        self.docker.on_exec = lambda _container, _argv: Outcome(0, DF, "")
        self.error: BaseException | None = None
        self.plan: Plan | BaseException = Plan((), {}, {}, (), Outcome(0, "", ""))
        self.planned = 0
        self.running: Operation | None = None
        monkeypatch.setattr(_status, "begin", self._begin)
        monkeypatch.setattr(_status, "utc_now", lambda: AT + datetime.timedelta(hours=1))
        monkeypatch.setattr(_survey, "make_plan", self._make_plan)

    @contextlib.contextmanager
    def _begin(self, asked: t.Any, _redactor: Redactor, _run_id: str) -> t.Iterator[Operation]:
        if self.error:
            raise self.error  # pylint: disable=raising-bad-type  # a test sets it
        self.running = operation(self.folder, self.connection, self.docker, backends=(BACKEND,), risk=Risk.READ)
        object.__setattr__(self.running, "request", asked)
        yield self.running

    def _make_plan(self, *_arguments: t.Any) -> Plan:
        self.planned += 1
        if isinstance(self.plan, BaseException):
            raise self.plan  # pylint: disable=raising-non-exception  # a test sets it
        return self.plan

    def look(self, plan: str = "auto", backends: tuple[str, ...] = ("chat-backend",)) -> Result:
        asked = request(Risk.READ, operation="status", backup_dir=str(self.folder))
        inquiry = Inquiry(replace(asked, target=replace(asked.target, backends=backends)), Redactor(), RUN, timestamp(AT))
        return _status.look(inquiry, StatusOptions(("ent",), plan=plan))

    def checks(self, **options: t.Any) -> list[str]:
        return [finding["check"] for finding in self.look(**options).facts["findings"]]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    return Stage(monkeypatch, tmp_path)


def well(stage: Stage) -> Stage:
    published(stage.folder)
    _journal.append(str(stage.folder), MIGRATED)
    return stage


# --- the answer -----------------------------------------------------------------------------------------------------------


def test_a_database_that_is_well_is_green_and_everything_is_told(stage: Stage) -> None:
    result = well(stage).look()
    assert result.facts["findings"] == []
    assert (result.changed, result.facts["light"], result.summary) == (
        False,
        "green",
        ["Database 'chat' of host 'chat-production' is green."],
    )
    state = result.facts["state"]
    assert (state["size"], state["uptime"], state["connections"]["limit"]) == (4096, 3600.0, 97)
    assert (state["free"], state["volume"]) == (600 * 1024, 1000 * 1024)
    assert state["backups"]["newest"] == "chat_20261123_030000" and state["backups"]["due"] == "2026-11-24T03:00:00Z"
    assert (state["last_migration"]["operator"], state["last_migration"]["image"]) == ("ann", "chat-backend:v1")
    assert state["pending"] == {"state": "none", "source": "journal", "statements": 0, "trouble": ""}
    assert state["schema"] == fingerprint(SCHEMA)
    assert state["place"]["container"] == "chat-postgres-prod"
    assert state["backends"][0]["health"] == "healthy"
    assert json.loads(json.dumps(result.facts))


def test_nothing_is_written_and_every_session_is_opened_to_read(stage: Stage) -> None:
    stage.look()
    assert stage.running
    assert stage.running.opened and all(read_only for _database, read_only in stage.running.opened)
    first_words = {statement.split()[0] for statement in stage.connection.statements}
    assert first_words <= {"SELECT", "SET"}
    assert list(stage.folder.iterdir()) == []


def test_what_cannot_be_reached_still_has_its_backups_and_its_journal(stage: Stage) -> None:
    well(stage).error = DbopsError("Container 'a' is exited, not running: start it with 'docker start a'.")
    facts = stage.look().facts
    assert (facts["light"], [finding["check"] for finding in facts["findings"]]) == ("red", ["server"])
    assert facts["state"]["backups"]["count"] == 1
    assert facts["state"]["last_migration"]["operator"] == "ann"
    assert facts["state"]["connections"] is None


def test_a_database_that_is_missing_is_red_and_the_rest_is_told(stage: Stage) -> None:
    stage.connection.answers["SELECT 1 FROM pg_database"] = []
    facts = well(stage).look().facts
    assert [(finding["check"], finding["light"]) for finding in facts["findings"]] == [("database", "red")]
    assert facts["state"]["uptime"] == 3600.0 and facts["state"]["size"] is None
    assert stage.planned == 0


@pytest.mark.parametrize(
    ("sign", "check"), [("pg_postmaster_start_time", "server's state"), ("FROM pg_index i", "database"), ("FROM pg_constraint", "schema")]
)
def test_a_part_that_cannot_be_read_is_a_finding_and_the_others_are_told(stage: Stage, sign: str, check: str) -> None:
    stage.connection.answers = {**ANSWERS, sign: ServerError("canceling statement due to lock timeout")}
    facts = well(stage).look(plan="never").facts
    assert [finding["check"] for finding in facts["findings"]] == [check]
    assert "lock timeout" in facts["findings"][0]["sentence"]
    assert facts["state"]["free"] == 600 * 1024


def test_a_volume_that_does_not_tell_its_room_is_unknown(stage: Stage) -> None:
    stage.docker.on_exec = lambda _container, _argv: Outcome(127, "", "df: not found")
    facts = well(stage).look().facts
    assert (facts["light"], facts["state"]["free"]) == ("green", None)


def test_a_backup_folder_that_cannot_be_read_is_a_finding(stage: Stage) -> None:
    stage.folder = stage.folder / "file"
    stage.folder.write_text("")
    assert "backups" in stage.checks() or "journal" in stage.checks()


def test_an_interruption_ends_the_look(stage: Stage) -> None:
    stage.error = Interrupted("Interrupted by signal 15.")
    with pytest.raises(Interrupted):
        stage.look()
    stage.error, stage.plan = None, Interrupted("Interrupted by signal 15.")
    with pytest.raises(Interrupted):
        stage.look(plan="always")


# --- the pending migration ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "journal", "planned"), [("auto", True, 0), ("auto", False, 1), ("always", True, 1), ("never", True, 0), ("never", False, 0)]
)
def test_the_sandbox_runs_only_where_it_has_to(stage: Stage, plan: str, journal: bool, planned: int) -> None:
    if journal:
        _journal.append(str(stage.folder), MIGRATED)
    state = stage.look(plan=plan).facts["state"]["pending"]
    assert stage.planned == planned
    assert state["state"] == ("unknown" if plan == "never" else "none")


def test_a_database_without_backends_has_no_migration_to_plan(stage: Stage) -> None:
    assert stage.look(backends=()).facts["state"]["pending"]["state"] == "unknown"
    assert stage.planned == 0 and "migration" not in stage.checks(backends=())


def test_what_the_sandbox_shows_is_told(stage: Stage) -> None:
    stage.plan = Plan((PlannedStatement("CREATE TABLE a ()", "schema"),), {}, {"table a": ""}, (), Outcome(0, "", ""))
    assert stage.look().facts["state"]["pending"]["statements"] == 1
    assert "migration" in stage.checks()


@pytest.mark.parametrize("plan", [Plan((), {}, {}, (), Outcome(1, "", "no such column")), DbopsError("There is no image.")])
def test_a_plan_that_fails_is_not_taken_for_an_empty_one(stage: Stage, plan: Plan | DbopsError) -> None:
    stage.plan = plan
    facts = stage.look().facts
    assert facts["state"]["pending"]["state"] == "unknown" and facts["state"]["pending"]["trouble"]
    assert "migration" in [finding["check"] for finding in facts["findings"]]


def history(*entries: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    return [MIGRATED, *entries]


@pytest.mark.parametrize(
    ("entries", "sure"),
    [
        (history(), True),
        (history({"operation": "backup", "result": "ok"}), True),
        (history(dict(MIGRATED, changed=False)), True),
        (history(dict(MIGRATED, result="refused")), True),
        (history({"operation": "restore", "result": "busy"}), True),
        (history(dict(MIGRATED, result="failed")), False),
        (history({"operation": "restore", "result": "ok"}), False),
        (history({"operation": "reset", "result": "failed"}), False),
        (history(dict(MIGRATED, image_id="sha256:other")), False),
        (history(dict(MIGRATED, runner=["other"])), False),
        (history(dict(MIGRATED, schema_after="1" * 64)), False),
        (history({"operation": "migrate", "result": "ok"}), False),
        ([], False),
    ],
)
def test_the_journal_is_only_trusted_where_it_is_sure(entries: list[dict[str, t.Any]], sure: bool) -> None:
    assert nothing_pending(entries, RUNNER, fingerprint(SCHEMA)) is sure


def test_a_journal_of_another_database_counts_for_nothing(stage: Stage) -> None:
    _journal.append(str(stage.folder), dict(MIGRATED, database="other"))
    state = stage.look().facts["state"]
    assert stage.planned == 1 and state["last_migration"] is None


# --- journal and backups --------------------------------------------------------------------------------------------------


def test_the_last_migration_is_the_one_that_changed_something() -> None:
    idle = dict(MIGRATED, changed=False, operator="ben")
    assert (last_migration([MIGRATED, idle]) or {})["operator"] == "ann"
    assert (last_migration([idle]) or {})["operator"] == "ben"
    assert last_migration([dict(MIGRATED, result="failed")]) is None


def test_a_failure_counts_until_something_succeeds() -> None:
    failed = dict(MIGRATED, result="failed", message="x" * 400)
    assert len((failed_operation([failed]) or {})["message"]) == 301
    assert failed_operation([failed, dict(MIGRATED, result="refused")])
    assert failed_operation([failed, MIGRATED]) is None
    typed_wrong = dict(MIGRATED, operation="restore", result="failed", message="There is no backup 'x'.", phases={"restore: check": 0.1})
    assert failed_operation([typed_wrong]) is None
    assert (failed_operation([failed, typed_wrong]) or {})["operation"] == "migrate"
    assert failed_operation([dict(typed_wrong, phases={"restore: check": 0.1, "restore: load": 9.0})])
    assert failed_operation([]) is None


def days_before(days: float) -> datetime.datetime:
    return AT - datetime.timedelta(days=days)


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        ([], None),
        ([(0, 500)], None),
        ([(0, 500), (0.5, 400)], None),
        ([(0, 500), (1, 400)], 100.0),
        ([(0, 500), (4, 700), (10, 400)], 10.0),
        ([(0, 500), (10, 400), (40, 0)], 10.0),
        ([(0, 400), (10, 500)], -10.0),
    ],
)
def test_growth(sizes: list[tuple[float, int]], wanted: float | None) -> None:
    assert growth([(days_before(days), size) for days, size in sizes]) == wanted


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_newest_backup_whose_files_are_not_all_there_is_seen(stage: Stage, damage: str) -> None:
    backup = published(stage.folder)
    file = Path(backup.path) / "dump" / "toc.dat"
    file.unlink() if damage == "missing" else file.write_bytes(b"t")
    assert stage.look().facts["state"]["backups"]["intact"] is False


def test_backups_of_another_server_do_not_count(stage: Stage) -> None:
    published(stage.folder, server_identifier="42")
    assert stage.look().facts["state"]["backups"]["count"] == 0
