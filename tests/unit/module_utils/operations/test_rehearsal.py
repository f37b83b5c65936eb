# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rehearsing: on whose rows, what fails it, what is told and written down, and what is not taken for the migration's fault."""

from __future__ import annotations

import contextlib
import json
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _proof
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Image
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations import _planning, _rehearsal
from ansible_collections.dbops.postgres.plugins.module_utils.operations._planning_options import PLANNING_SPEC, PlanningOptions
from ansible_collections.dbops.postgres.plugins.module_utils.operations._rehearsal import rehearse
from ansible_collections.dbops.postgres.plugins.module_utils.operations._rehearsal_options import (
    REHEARSAL_SPEC,
    RehearsalOptions,
    rehearsal_options,
)
from ansible_collections.dbops.postgres.plugins.module_utils.operations._throwaway_restore import Restored
from ansible_collections.dbops.postgres.plugins.module_utils.rehearsal._record import read_rehearsal
from ansible_collections.dbops.postgres.plugins.module_utils.rehearsal._samples import Samples
from ansible_collections.dbops.postgres.plugins.module_utils.rehearsal._versions import FAILS, UNKNOWN, WORKS, Version
from ansible_collections.dbops.postgres.plugins.module_utils.risk._assessment import Assessment
from ansible_collections.dbops.postgres.plugins.module_utils.risk._locks import HeldLock
from ansible_collections.dbops.postgres.plugins.module_utils.risk._rules import Level
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox import _proof_server
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import Plan, PlannedStatement
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._throwaway_server import Machine
from ansible_collections.dbops.postgres.plugins.module_utils.server._objects import Column, Objects, Relation
from ansible_collections.dbops.postgres.plugins.module_utils.server._spans import Span
from ansible_collections.dbops.postgres.plugins.module_utils.server._statements import Failed
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, EngineError, ServerError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import (
    RUN,
    SERVER_ID,
    FakeConnection,
    FakeDocker,
    container,
    operation,
    published,
)

BEFORE = {"table public.users": "owner chat"}
AFTER = {**BEFORE, "column public.users.name": "text"}
ADD = PlannedStatement("ALTER TABLE users ADD COLUMN name text", "schema", held={9: "AccessExclusiveLock"}, seconds=1.5)
FILL = PlannedStatement("UPDATE users SET name = 'ann' WHERE id = 7", "data", seconds=0.5)
RELATIONS = Objects(relations={9: Relation("public.users", "r", file=1)})
REWRITTEN = Objects(relations={9: Relation("public.users", "r", file=2)})
PLAN = Plan((ADD, FILL), BEFORE, AFTER, (), Outcome(0, "", ""), objects=(RELATIONS, REWRITTEN), runner=("sha256:backend", "migrate"))
BACKEND = container(program=("/app/backend",))
IMAGES = {name: Image(name, {}, (), {}) for name in ("sha256:backend", "sha256:worker", "sha256:new", "chat-backend:v2")}
IMAGES["chat-backend:v2"] = IMAGES["sha256:new"]


class Box:
    """The throwaway server."""

    def __init__(self) -> None:
        self.container = container("box")
        self.durable = False

    def session(self) -> t.Any:
        return contextlib.nullcontext(FakeConnection())

    def write_durably(self) -> None:
        self.durable = True


class Stage:
    """A rehearsal in which what happens in the throwaway server is played; what was proved is the newest backup."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder = folder
        self.backup = published(folder)
        (folder / "work").mkdir(exist_ok=True)
        _proof.write_proof(self.backup, self._proof(), str(folder / "work"))
        self.plan = PLAN
        self.failures: tuple[str, ...] = ()
        self.log = ""
        self.stopped = self.unseen = ""
        self.backends: tuple[t.Any, ...] = (BACKEND,)
        self.troubles: list[Exception] = []
        self.locks = [Span(0.1, 2.2, "AccessExclusiveLock", 9), Span(0.1, 9.0, "ShareLock", 77)]
        self.versions: dict[str, list[Version]] = {}
        self.assessment = Assessment(locks=(HeldLock("public.users", "AccessExclusiveLock", 0, 1, 2.0, None, Level.LOW, True),))
        self.live = [BEFORE]
        self.opened: list[t.Any] = []
        for name, stand_in in (
            ("open_restored", self._open),
            ("plan_in", self._migrate),
            ("try_version", self._version),
            ("assess", self._assess),
            ("first_look", lambda _operation: None),
            ("verify_files", lambda _backup: None),
            ("read_snapshot", lambda _connection: self.live[0]),
        ):
            monkeypatch.setattr(_rehearsal, name, stand_in)
        monkeypatch.setattr(_proof_server, "plan_server", lambda _operation, _manifest, limits: self._server(limits))

    def _proof(self) -> _proof.Proof:
        return _proof.Proof("proved", self.backup.manifest.id, _proof.manifest_sha256(self.backup), "2026-11-23T04:00:00Z", RUN)

    def _server(self, limits: t.Any) -> _proof_server.Plan:
        return _proof_server.Plan(
            Machine(IMAGES["sha256:new"], "postgres", memory=2**31, in_memory=False), "postgres:17", "", limits.variables
        )

    @contextlib.contextmanager
    def _open(
        self, _operation: t.Any, backup: t.Any, plan: t.Any, jobs: int, phase: str, parts: t.Any, as_when_used: bool
    ) -> t.Iterator[t.Any]:
        assert as_when_used and phase == "rehearse"
        self.opened.append(plan.machine)
        parts["restore"] = 8.0
        box = t.cast(t.Any, Box())
        new = t.cast(t.Any, type("New", (), {"session": lambda _self: contextlib.nullcontext(FakeConnection())})())
        yield Restored(box, new, "17.5", self.failures)

    def _migrate(self, _operation: t.Any, box: t.Any, *_arguments: t.Any, watch: t.Any, **_options: t.Any) -> Plan:
        assert box.durable, "what is measured is what a real server takes"
        samples: Samples = watch.args[1]
        samples.stopped, samples.trouble = self.stopped, self.unseen
        samples.seconds, samples.wal, samples.locks = 2.5, 4096, self.locks
        samples.statements = [Span(0.1, 1.6, ADD.sql), Span(1.6, 2.2, FILL.sql.replace("ann", "bob")), Span(2.2, 2.3, "COMMIT")]
        for trouble in self.troubles:
            raise trouble
        return self.plan

    def _version(self, _operation: t.Any, _sandbox: t.Any, runner: t.Any, name: str, _smoke: t.Any) -> Version:
        known = Version(name, runner.image, runner.image_id, WORKS, "It starts, it is healthy.")
        found = self.versions.get(name) or [known]
        return replace(found.pop(0) if len(found) > 1 else found[0], version=name, image_id=runner.image_id)

    def _assess(self, _connection: t.Any, _plan: t.Any, _first: t.Any, _accepted: t.Any, seconds: float, measured: t.Any) -> Assessment:
        assert seconds == 0, "the rows were tried, nobody asks them"
        self.measured = measured
        return self.assessment

    def rehearse(self, check_mode: bool = False, image: str = "", **options: t.Any) -> Result:
        docker = FakeDocker(BACKEND, images=IMAGES)
        docker.texts = {"box-id": self.log}
        docker.root = lambda: "/"  # type: ignore[attr-defined]
        connection = FakeConnection(
            {"SELECT 1 FROM pg_database": [(1,)], "FROM pg_settings": [("maintenance_work_mem", "16777216"), ("max_wal_size", "1024")]}
        )
        self.operation = operation(
            self.folder, connection, docker, backends=self.backends, risk=Risk.ASIDE, check_mode=check_mode, environment="production"
        )
        try:
            return rehearse(self.operation, RehearsalOptions(PlanningOptions(("ent",), image), **options))
        finally:
            self.operation.close()

    @property
    def record(self) -> t.Any:
        return read_rehearsal(str(self.folder), "chat")


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    return Stage(monkeypatch, tmp_path)


def test_what_was_measured_is_told_and_written_down(stage: Stage) -> None:
    result = stage.rehearse()
    assert not result.changed
    assert "'/app/backend migrate' of image 'chat-backend:v1' took 2.5 s there: 2 statements" in result.summary[0]
    assert "It wrote 4.0 kB into the server's log" in result.summary[1] and "Written anew: public.users." in result.summary[1]
    assert "The slowest statement is number 1, 1.5 s: ALTER TABLE" in result.summary[2]
    assert "The version that runs now ('chat-backend:v1') works with the new schema" in "\n".join(result.summary)
    rehearsal = result.facts["rehearsal"]
    assert rehearsal["locks"] == [{"table": "public.users", "lock": "AccessExclusiveLock", "begun": 0.1, "ended": 2.2, "seconds": 2.1}]
    assert rehearsal["statements"] == [{"number": 1, "begun": 0.1, "ended": 1.6}, {"number": 2, "begun": 1.6, "ended": 2.2}]
    record = stage.record
    assert (record.state, record.proved, record.server_identifier, record.rewritten) == ("passed", True, SERVER_ID, ("public.users",))
    assert [timed.sql for timed in record.statements] == [ADD.sql, "UPDATE users SET name = ? WHERE id = ?"]
    assert stage.measured.statements == (1.5, 0.5) and stage.measured.locks == {"public.users": pytest.approx(2.1)}
    assert (result.journal["rehearsed"], result.journal["backup"]) == ("passed", stage.backup.manifest.id)
    json.dumps(result.facts)


def test_no_value_of_a_row_is_told_or_written_down(stage: Stage) -> None:
    failed = (Failed("INSERT INTO users VALUES ('ann')", 'invalid input syntax for type integer: "ann"', True),)
    stage.plan = replace(PLAN, failed=failed, outcome=Outcome(0, "done\nDETAIL:  Key (name)=(ann) exists", ""))
    result = stage.rehearse()
    assert "ann" not in json.dumps(result.facts) + "\n".join(result.summary)
    assert "'ann'" not in (stage.folder / "rehearsal-chat.json").read_text(encoding="utf-8")


def test_the_server_is_like_the_real_one_but_no_larger_than_its_container(stage: Stage) -> None:
    stage.rehearse()
    [machine] = stage.opened
    assert machine.durable and "log_duration=on" in machine.options and "max_wal_size=1024" in machine.options
    assert "maintenance_work_mem=%d" % (2**31 // 1024 // 4) in machine.options
    assert stage.operation.target.container.name in machine.aliases


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ('column "name" of relation "users" contains null values', 'column "name" of relation "users" contains null values'),
        ('invalid input syntax for type integer: "bob@example.com"', 'invalid input syntax for type integer: "?"'),
        ('value "99999999999" is out of range for type integer', 'value "?" is out of range for type integer'),
        ('invalid input syntax for type integer: "cut off at a line', 'invalid input syntax for type integer: "?"'),
        ('could not create unique index "once"', 'could not create unique index "once"'),
    ],
)
def test_what_the_server_quotes_stays_where_it_is_a_name(stage: Stage, error: str, shown: str) -> None:
    objects = Objects(relations={9: Relation("public.users", "r")}, columns={(9, 1): Column("name", "text")})
    failed = (Failed("CREATE UNIQUE INDEX once ON users (name)", error, False),)
    stage.plan = replace(PLAN, objects=(objects, objects), failed=failed, outcome=Outcome(1, "", "ERROR: " + error + " ann@example.com"))
    with pytest.raises(DbopsError) as refused:
        stage.rehearse()
    assert shown in refused.value.message and "example.com" not in refused.value.message + json.dumps(refused.value.details)


def test_a_disk_that_fills_is_not_the_migrations_fault(stage: Stage) -> None:
    stage.stopped = "less than 1 GB is left"
    stage.plan = replace(PLAN, outcome=Outcome(137, "", ""))
    with pytest.raises(EngineError, match=r"says nothing about the migration: less than 1 GB is left.*dbops_rehearse_place=memory"):
        stage.rehearse()
    assert stage.record is None


def test_nothing_to_migrate_does_not_replace_what_was_rehearsed(stage: Stage) -> None:
    stage.rehearse()
    before = stage.record
    stage.plan = replace(PLAN, statements=(), after=BEFORE)
    assert stage.rehearse().summary[0].startswith("Nothing to migrate")
    assert stage.record == before


def test_every_version_that_runs_is_tried(stage: Stage) -> None:
    other = container("chat-worker", image_id="sha256:worker", image="chat-worker:v1")
    stage.backends = (other, BACKEND)
    result = stage.rehearse()
    assert [version["image_id"] for version in result.facts["rehearsal"]["versions"]] == ["sha256:backend", "sha256:worker"]


def test_locks_that_could_not_be_seen_are_not_within_a_limit(stage: Stage) -> None:
    stage.unseen = "the server closed the connection"
    assert stage.rehearse().facts["rehearsal"]["not_seen"]
    with pytest.raises(DbopsError, match=r"nothing is known of dbops_rehearse_max_lock_seconds"):
        stage.rehearse(max_lock_seconds=60)


def test_rows_that_stop_it_fail_it(stage: Stage) -> None:
    refused = (Failed("ALTER TABLE users ALTER COLUMN name SET NOT NULL", 'column "name" contains null values', False),)
    stage.plan = replace(PLAN, outcome=Outcome(1, "", "ERROR: no\nDETAIL: Failing row contains (7, ann)."), failed=refused, after=BEFORE)
    with pytest.raises(DbopsError) as failed:
        stage.rehearse()
    message = failed.value.message
    assert "The migration fails on the rows of backup 'chat_20261123_030000'" in message
    assert 'column "name" contains null values' in message and "was not touched" in message and "ann" not in message
    assert stage.record.state == "failed" and stage.record.versions == ()


def test_a_row_that_the_runner_passes_over_fails_it_too(stage: Stage) -> None:
    stage.plan = replace(PLAN, failed=(Failed("UPDATE users SET age = 'x'", "value too long", False),))
    with pytest.raises(DbopsError, match=r"the runner went on as if nothing had been"):
        stage.rehearse()
    assert stage.record.state == "failed"


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"max_seconds": 2}, "It took 2.5 s, 2.0 s are allowed (dbops_rehearse_max_seconds)."),
        ({"max_lock_seconds": 2}, "Table public.users was locked for 2.1 s, 2.0 s are allowed (dbops_rehearse_max_lock_seconds)."),
        ({"max_wal": 4000}, "(dbops_rehearse_max_wal)."),
    ],
)
def test_limits_that_are_passed_fail_it(stage: Stage, limits: dict[str, t.Any], said: str) -> None:
    with pytest.raises(DbopsError) as failed:
        stage.rehearse(**limits)
    assert said in failed.value.message and failed.value.details["rehearsal"]["exceeded"]
    assert stage.record.state == "failed"
    assert stage.rehearse(max_seconds=3, max_lock_seconds=3, max_wal=5000).facts["rehearsal"]["state"] == "passed"


def test_a_lock_that_no_event_trigger_sees_counts_as_well(stage: Stage) -> None:
    """``LOCK TABLE`` is none of the assessment's locks, but it was seen."""
    stage.assessment = Assessment()
    with pytest.raises(DbopsError, match=r"Table public\.users was locked for"):
        stage.rehearse(max_lock_seconds=1)


@pytest.mark.parametrize(
    "said", ["dbops|1|LOG:  server process (PID 7) was terminated by signal 9: Killed", "dbops|1|ERROR:  out of memory"]
)
@pytest.mark.parametrize("troubles", [[], [ServerError("the database system is in recovery mode")]])
def test_a_server_that_gives_up_is_not_the_migrations_fault(stage: Stage, said: str, troubles: list[Exception]) -> None:
    stage.log, stage.troubles = said, troubles
    stage.plan = replace(PLAN, outcome=Outcome(1, "", "server closed the connection"))
    with pytest.raises(EngineError, match=r"says nothing about the migration.*dbops_rehearse_memory=8g"):
        stage.rehearse()
    assert stage.record is None


def test_what_cannot_be_read_in_the_log_is_not_taken_for_nothing(stage: Stage) -> None:
    stage.plan = replace(PLAN, statements=())
    with pytest.raises(DbopsError, match=r"nothing is known of it"):
        stage.rehearse()


def test_a_backup_that_does_not_come_back_is_told(stage: Stage) -> None:
    stage.failures = ("table public.users is missing",)
    with pytest.raises(DbopsError, match="did not come back as it was made, so nothing was rehearsed on it: table public"):
        stage.rehearse()


def test_a_version_that_is_sick_before_as_well_is_not_blamed(stage: Stage) -> None:
    sick = Version("running", "chat-backend:v1", "", FAILS, "no redis")
    stage.versions = {"running": [sick, sick], "new": [sick]}
    result = stage.rehearse(image="chat-backend:v2")
    states = {version["version"]: version["state"] for version in result.facts["rehearsal"]["versions"]}
    assert states == {"running": UNKNOWN, "new": UNKNOWN}
    assert "before the migration either" in result.facts["rehearsal"]["versions"][0]["evidence"]


def test_a_version_that_is_sick_only_afterwards_is_found(stage: Stage) -> None:
    well = Version("running", "chat-backend:v1", "", WORKS, "well")
    stage.versions = {"running": [well, replace(well, state=FAILS, evidence="no column name")]}
    result = stage.rehearse(image="chat-backend:v2")
    assert [version["state"] for version in result.facts["rehearsal"]["versions"]] == [FAILS, WORKS]
    assert "does NOT work with the new schema: no column name" in "\n".join(result.summary)


def test_another_schema_than_the_live_one_is_told(stage: Stage) -> None:
    stage.live = [AFTER]
    stage.plan = replace(PLAN, before=BEFORE)
    stage.rehearse()
    assert "has another schema than database 'chat' has now" in stage.operation.warnings[0]


def test_whose_rows(stage: Stage) -> None:
    with pytest.raises(DbopsError, match=r"no backup 'yesterday' \(dbops_rehearse_backup: proved, or an id\)"):
        stage.rehearse(backup="yesterday")
    newer = published(stage.folder, id="chat_20261124_030000", created="2026-11-24T03:00:00Z")
    stage.rehearse()
    assert stage.record.backup == stage.backup.manifest.id, "the newest that is proved"
    stage.rehearse(backup=newer.manifest.id)
    assert (stage.record.backup, stage.record.proved) == (newer.manifest.id, False)
    (Path(stage.backup.path) / "proof.json").unlink()
    with pytest.raises(DbopsError, match=r"verify_backups.yml -l chat-production, or name one: -e dbops_rehearse_backup=chat_20261124"):
        stage.rehearse()


def test_check_mode_says_what_it_would_do_and_writes_nothing(stage: Stage) -> None:
    result = stage.rehearse(check_mode=True)
    assert result.summary[0].startswith("Would restore backup 'chat_20261123_030000'") and stage.opened == []
    assert stage.record is None


def test_options_that_make_no_sense_are_refused() -> None:
    spec = {**PLANNING_SPEC, **REHEARSAL_SPEC}
    params = {name: option.get("default") for name, option in spec.items()}
    assert rehearsal_options({**params, "memory": "8g", "max_wal": "2g"}).max_wal == 2 * 2**30
    for wrong in (
        {"memory": "much"},
        {"memory": "1m"},
        {"max_wal": "much"},
        {"jobs": 0},
        {"cpus": -1.0},
        {"max_seconds": -1.0},
        {"smoke": [""]},
    ):
        with pytest.raises(DbopsError, match="dbops_rehearse_"):
            rehearsal_options({**params, **wrong})


def test_the_next_plan_of_the_same_migration_has_what_was_measured(stage: Stage) -> None:
    stage.rehearse()
    found = _planning._rehearsed(stage.operation, PLAN)
    assert found and found.statements == (1.5, 0.5) and found.backup == "chat_20261123_030000"
    assert _planning._rehearsed(stage.operation, replace(PLAN, before=AFTER)) is None
