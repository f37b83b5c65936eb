# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Migrating: when nothing is done, what comes before it, when it is tried again, and that no runner is simply believed."""

from __future__ import annotations

import typing as t
from dataclasses import fields, replace
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.backend import _health
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Image
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.gates._gates import GateOptions
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operation._watchdog import LockLimits, Queue
from ansible_collections.dbops.postgres.plugins.module_utils.operation._watched_run import Watched
from ansible_collections.dbops.postgres.plugins.module_utils.operations import _migration, _planning
from ansible_collections.dbops.postgres.plugins.module_utils.operations._migration import migrate
from ansible_collections.dbops.postgres.plugins.module_utils.operations._migration_options import LockOptions, MigrationOptions
from ansible_collections.dbops.postgres.plugins.module_utils.operations._planning import plan_migration
from ansible_collections.dbops.postgres.plugins.module_utils.operations._planning_options import PlanningOptions
from ansible_collections.dbops.postgres.plugins.module_utils.risk._assessment import Assessment
from ansible_collections.dbops.postgres.plugins.module_utils.risk._locks import HeldLock
from ansible_collections.dbops.postgres.plugins.module_utils.risk._rules import Level
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import Plan, PlannedStatement
from ansible_collections.dbops.postgres.plugins.module_utils.server._objects import Objects, Relation
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import fingerprint
from ansible_collections.dbops.postgres.plugins.module_utils.server._spans import Span
from ansible_collections.dbops.postgres.plugins.module_utils.server._statements import Failed
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, EngineError, Refused
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import (
    FakeClock,
    FakeConnection,
    FakeDocker,
    container,
    operation,
    published,
)

BEFORE = {"table public.users": "owner chat"}
AFTER = {**BEFORE, "column public.users.name": "text"}
HALF = {**BEFORE, "table public.half": "owner chat"}
ADD = PlannedStatement("ALTER TABLE users ADD COLUMN name text", "schema")
GOOD = Outcome(0, "done", "")
BAD = Outcome(1, "", "first line\nERROR: no\n")
BACKEND = container()
RESTORE = "ansible-playbook restore.yml -l chat-production -e dbops_restore_backup=chat_20261123_030000 -e dbops_confirm=restore:chat"


class Stage:
    """A migration in which everything around the decisions is played.

    :param outcomes: what each run of the runner comes to (an outcome, or an error to raise).
    :param schemas: the live schema at each look, the last one for good.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.journal: list[str] = []
        self.outcomes: list[t.Any] = [GOOD]
        self.schemas = [BEFORE, AFTER]
        self.waits: list[list[str]] = []
        self.refused: list[Failed] = []
        self.refused_unknown = ""
        self.watched = Watched(GOOD, [])
        self.answers: dict[str, t.Any] = {}
        self.plan = Plan((ADD,), BEFORE, AFTER, (), GOOD)
        self.assessment = Assessment()
        self.sick: list[str] = []
        self.sick_before: list[str] = []
        self.clock = FakeClock()
        self.folder = folder
        for name, stand_in in (
            ("require_space", lambda _operation: self.journal.append("space")),
            ("make_backup", self._back_up),
            ("run_watched", self._run),
            ("read_snapshot", lambda _connection: self.schemas.pop(0) if len(self.schemas) > 1 else self.schemas[0]),
            ("time", self.clock),
        ):
            monkeypatch.setattr(_migration, name, stand_in)
        monkeypatch.setattr(_planning, "make_plan", lambda *_arguments, **_options: self.plan)
        monkeypatch.setattr(_planning, "assess", lambda *_arguments, **_options: self.assessment)
        monkeypatch.setattr(_health, "sick", lambda _docker, _backends: self.sick_before)
        monkeypatch.setattr(_health, "unhealthy", lambda _docker, _backends, _seconds, _before=(): self.sick)

    def _back_up(self, _operation: Operation, options: t.Any) -> t.Any:
        self.journal.append("backup " + options.reason)
        return published(self.folder)

    def _run(self, *_arguments: t.Any) -> Watched:
        self.journal.append("run")
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        waits = self.waits.pop(0) if self.waits else []
        return replace(self.watched, outcome=outcome, waits=waits, refused=self.refused, refused_unknown=self.refused_unknown)

    def begin(self, check_mode: bool = False, environment: str = "production") -> Operation:
        connection = self.connection = FakeConnection({"SELECT 1 FROM pg_database": [(1,)], **self.answers})
        docker = FakeDocker(BACKEND, images={"sha256:backend": Image("sha256:backend", {}, (), {})})
        self.operation = operation(
            self.folder, connection, docker, backends=(BACKEND,), risk=Risk.FORWARD, check_mode=check_mode, environment=environment
        )
        return self.operation

    def migrate(self, check_mode: bool = False, environment: str = "production", **options: t.Any) -> Result:
        names = {field.name for field in fields(PlanningOptions)} & set(options)
        planning = PlanningOptions(("ent",), **{"gates": GateOptions({}), **{name: options.pop(name) for name in names}})
        return migrate(self.begin(check_mode, environment), MigrationOptions(planning, **options))

    def plan_only(self, check_mode: bool = False) -> Result:
        return plan_migration(self.begin(check_mode), PlanningOptions(("ent",)))


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    return Stage(monkeypatch, tmp_path)


# --- what the real rows made the server refuse ---------------------------------------------------------------------------

LOST_ROWS = Failed("INSERT INTO users VALUES (1)", 'duplicate key value violates unique constraint "users_pkey"', False)


def test_what_only_the_real_rows_made_the_server_refuse_is_told(stage: Stage) -> None:
    stage.refused = [LOST_ROWS]
    result = stage.migrate()
    assert result.facts["refused"] == [{"sql": LOST_ROWS.sql, "error": LOST_ROWS.error, "caught": False}]
    assert result.facts["refused_unknown"] == ""
    [warning] = stage.operation.warnings
    assert "the server refused: 'INSERT INTO users VALUES (1)': duplicate key" in warning


def test_what_the_plan_has_told_is_not_told_again(stage: Stage) -> None:
    stage.plan = replace(stage.plan, failed=(replace(LOST_ROWS, caught=True),))
    stage.refused = [LOST_ROWS]
    assert stage.migrate().facts["refused"] == []
    assert stage.operation.warnings == []


def test_where_the_servers_log_cannot_be_read_the_summary_says_what_is_not_known(stage: Stage) -> None:
    stage.refused_unknown = "log_destination is syslog"
    result = stage.migrate()
    assert "Whether the server refused something of it meanwhile is not known: log_destination is syslog." in result.summary


# --- whether anything is done ---------------------------------------------------------------------------------------------


def test_an_empty_plan_ends_without_a_backup_or_a_run(stage: Stage) -> None:
    stage.plan = Plan((), BEFORE, BEFORE, (), GOOD)
    result = stage.migrate()
    assert not result.changed
    assert stage.journal == []
    assert result.summary == ["Nothing to migrate: database 'chat' has the schema that image 'chat-backend:v1' wants."]
    assert result.journal["schema_after"] == fingerprint(BEFORE)  # the promotion gate reads it


LOST = Failed("ALTER TABLE gone ADD x int", 'relation "gone" does not exist', False)


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_runner_that_swallows_its_errors_and_does_nothing_has_failed(stage: Stage, check_mode: bool) -> None:
    stage.plan = Plan((), BEFORE, BEFORE, (), GOOD, (LOST,))
    with pytest.raises(
        DbopsError, match=r'does nothing: .* refused .ALTER TABLE gone ADD x int.: relation "gone" does not exist'
    ) as failed:
        stage.migrate(check_mode=check_mode)
    assert failed.value.details["plan"]["failed"][0]["sql"] == LOST.sql
    assert stage.journal == []


def test_what_a_runner_meant_to_try_does_not_cry_wolf(stage: Stage) -> None:
    stage.plan = Plan((), BEFORE, BEFORE, (), GOOD, (replace(LOST, caught=True),))
    assert stage.migrate().summary[0].startswith("Nothing to migrate")
    assert stage.operation.warnings == []


def test_a_runner_that_goes_on_after_an_error_is_told_of(stage: Stage) -> None:
    stage.plan = Plan((ADD,), BEFORE, AFTER, (), GOOD, (LOST,))
    assert stage.migrate().changed
    assert "went on although the server refused something of it in the sandbox: 'ALTER TABLE gone" in stage.operation.warnings[0]


def test_check_mode_ends_after_the_plan(stage: Stage) -> None:
    result = stage.migrate(check_mode=True)
    assert result.changed
    assert stage.journal == []
    assert result.summary == [
        "Would migrate database 'chat' with '/app/backend migrate': 1 statement, 1 objects added.",
        "Risk for this database: none.",
    ]


def test_check_mode_and_run_show_the_same_diff_and_plan(stage: Stage) -> None:
    check = stage.migrate(check_mode=True)
    run = stage.migrate()
    assert check.diff == run.diff
    assert check.facts["plan"] == run.facts["plan"]
    assert check.changed == run.changed


def test_a_runner_that_fails_in_the_sandbox_is_not_let_near_the_database(stage: Stage) -> None:
    stage.plan = Plan((), BEFORE, BEFORE, (), BAD)
    with pytest.raises(
        DbopsError, match=r"would fail: in a sandbox .* failed with exit status 1\. It says: .*ERROR: no.*The database was not touched"
    ) as failed:
        stage.migrate()
    assert stage.journal == []
    assert failed.value.details["plan"]["empty"]


def test_a_lock_timeout_of_nothing_is_refused_before_the_plan(stage: Stage) -> None:
    stage.plan = t.cast(t.Any, None)
    with pytest.raises(DbopsError, match="dbops_migrate_lock_timeout"):
        stage.migrate(locks=LockOptions(LockLimits(0)))
    for wrong in (LockOptions(pause=-1), LockOptions(retries=-1), LockOptions(deadline=-1), LockOptions(LockLimits(1, hold=-1))):
        with pytest.raises(DbopsError, match=r"is a number from 0 on"):
            stage.migrate(locks=wrong)
    assert stage.journal == []


def test_a_schema_that_changed_meanwhile_is_planned_again(stage: Stage) -> None:
    stage.schemas = [HALF]
    with pytest.raises(DbopsError, match="changed while the migration was being planned: run this again"):
        stage.migrate()
    assert "run" not in stage.journal


# --- the backup before ----------------------------------------------------------------------------------------------------


def test_a_backup_comes_before_the_run(stage: Stage) -> None:
    result = stage.migrate()
    assert stage.journal == ["space", "backup before_migration", "run"]
    assert result.facts["backup"]["id"] == "chat_20261123_030000"
    assert result.journal["backup"] == "chat_20261123_030000"


def test_production_is_backed_up_although_that_was_switched_off(stage: Stage) -> None:
    stage.migrate(backup=False)
    assert "backup before_migration" in stage.journal
    assert any("dbops_migrate_backup is ignored" in warning for warning in stage.operation.warnings)


def test_elsewhere_the_backup_can_be_switched_off(stage: Stage) -> None:
    result = stage.migrate(backup=False, environment="preview")
    assert stage.journal == ["run"]
    assert result.facts["backup"] is None and result.journal["backup"] is None
    assert any("No backup was made" in line for line in result.summary)


# --- the run --------------------------------------------------------------------------------------------------------------


def test_a_migration_reports_what_became_of_it(stage: Stage) -> None:
    stage.plan = Plan((ADD,), BEFORE, {**AFTER, "table public.rooms": ""}, (), GOOD)
    stage.schemas = [BEFORE, stage.plan.after]
    result = stage.migrate()
    assert result.changed
    assert result.summary[0].startswith("Migrated database 'chat' with '/app/backend migrate' in ")
    assert result.summary[1] == "Tables before: 1, after: 2 (new: public.rooms)."
    assert RESTORE in " ".join(result.summary)
    assert (result.facts["tables_before"], result.facts["tables_after"]) == (["public.users"], ["public.rooms", "public.users"])
    assert result.journal["schema_before"] == fingerprint(BEFORE)
    assert result.journal["runner"] == ["/app/backend", "migrate"]


def test_a_runner_that_lies_is_caught(stage: Stage) -> None:
    stage.schemas = [BEFORE]
    with pytest.raises(DbopsError, match="ended without an error, but the schema of database 'chat' is not the planned one") as failed:
        stage.migrate()
    assert "+ column public.users.name" in failed.value.message
    assert RESTORE in failed.value.message
    assert failed.value.details["differences"] == ["+ column public.users.name text"]


def test_a_failure_shows_by_fingerprint_that_the_schema_is_as_it_was(stage: Stage) -> None:
    stage.outcomes, stage.schemas = [BAD], [BEFORE]
    with pytest.raises(DbopsError, match=r"The migration failed: .*exit status 1\. It says: first line \| ERROR: no") as failed:
        stage.migrate()
    assert "The schema is as it was (fingerprint %s before and after)." % fingerprint(BEFORE)[:12] in failed.value.message
    assert failed.value.details["schema_unchanged"] is True
    assert failed.value.details["backup"]["id"] == "chat_20261123_030000"


def test_a_failure_that_left_something_names_it_and_the_way_back(stage: Stage) -> None:
    stage.outcomes, stage.schemas = [BAD], [BEFORE, HALF]
    with pytest.raises(DbopsError, match=r"The schema was left changed: \+ table public.half") as failed:
        stage.migrate()
    assert RESTORE in failed.value.message
    assert failed.value.details["schema_unchanged"] is False


def test_a_failure_of_a_migration_that_writes_rows_names_the_way_back_although_the_schema_is_the_same(stage: Stage) -> None:
    stage.plan = Plan((ADD, PlannedStatement("UPDATE users SET name = 1", "data")), BEFORE, AFTER, (), GOOD)
    stage.outcomes, stage.schemas = [BAD], [BEFORE]
    with pytest.raises(DbopsError, match="which a fingerprint does not show") as failed:
        stage.migrate()
    assert RESTORE in failed.value.message


@pytest.mark.parametrize("live", [BEFORE, HALF])
def test_an_interruption_says_all_the_same_what_became_of_the_schema(stage: Stage, live: dict) -> None:
    stage.outcomes, stage.schemas = [EngineError("The engine is gone.")], [BEFORE, live]
    with pytest.raises(DbopsError, match=r"The engine is gone\. The schema (is as it was|was left changed)"):
        stage.migrate()


def test_a_server_that_is_gone_does_not_hide_the_first_error(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [BEFORE]

    def look(_connection: t.Any) -> dict:
        if looks:
            return looks.pop()
        raise DbopsError("Cannot connect to database 'chat'")

    monkeypatch.setattr(_migration, "read_snapshot", look)
    stage.outcomes = [EngineError("The engine is gone.")]
    with pytest.raises(DbopsError, match="The engine is gone"):
        stage.migrate()


def test_a_server_that_goes_right_after_the_run_leaves_the_way_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """S5: what the runner has left cannot be read, and the message must not end with that."""
    looks = [BEFORE]

    def look(_connection: t.Any) -> dict:
        if looks:
            return looks.pop()
        raise DbopsError("server closed the connection")

    monkeypatch.setattr(_migration, "read_snapshot", look)
    with pytest.raises(DbopsError, match="The schema could not be read afterwards") as failed:
        stage.migrate()
    assert RESTORE in failed.value.message


# --- waiting for locks ----------------------------------------------------------------------------------------------------


def test_a_run_that_waited_too_long_is_tried_again_after_a_pause(stage: Stage) -> None:
    stage.outcomes, stage.waits = [BAD, BAD, GOOD], [["'ALTER' waited"], ["'ALTER' waited again"], []]
    stage.schemas = [BEFORE, BEFORE, BEFORE, AFTER]
    assert stage.migrate(locks=LockOptions(pause=5)).changed
    assert stage.journal.count("run") == 3 and stage.journal.count("backup before_migration") == 1
    assert 1005 <= stage.clock.now <= 1015, "a pause with jitter, twice"
    assert stage.operation.warnings == ["Attempt 1 gave up: 'ALTER' waited.", "Attempt 2 gave up: 'ALTER' waited again."]


def test_trying_again_has_an_end_that_names_who_was_in_the_way(stage: Stage) -> None:
    stage.outcomes, stage.waits, stage.schemas = [BAD] * 9, [["'ALTER' waited for ann"]] * 9, [BEFORE]
    with pytest.raises(DbopsError, match="It was stopped because 'ALTER' waited for ann"):
        stage.migrate(locks=LockOptions(retries=2))
    assert stage.journal.count("run") == 3


def test_a_run_that_failed_for_another_reason_is_not_tried_again(stage: Stage) -> None:
    stage.outcomes, stage.schemas = [BAD, GOOD], [BEFORE]
    with pytest.raises(DbopsError):
        stage.migrate()
    assert stage.journal.count("run") == 1


def test_a_run_that_already_changed_something_is_not_tried_again(stage: Stage) -> None:
    stage.outcomes, stage.waits, stage.schemas = [BAD, GOOD], [["waited"]], [BEFORE, HALF]
    with pytest.raises(DbopsError, match="left changed"):
        stage.migrate()
    assert stage.journal.count("run") == 1


def test_a_runner_that_got_through_in_spite_of_a_cancelled_wait_succeeds_with_a_warning(stage: Stage) -> None:
    stage.waits = [["'ALTER' waited"]]
    assert stage.migrate().changed
    assert stage.operation.warnings == ["'ALTER' waited"]


def test_no_try_begins_after_the_deadline(stage: Stage) -> None:
    stage.outcomes, stage.waits, stage.schemas = [BAD] * 9, [["'ALTER' waited for ann"]] * 9, [BEFORE]
    with pytest.raises(DbopsError, match=r"It was not tried again: the time for all tries is over \(dbops_migrate_lock_deadline\)"):
        stage.migrate(locks=LockOptions(pause=5, deadline=12))
    assert 2 <= stage.journal.count("run") <= 4


def test_a_runner_that_keeps_its_state_goes_on_from_where_it_was(stage: Stage) -> None:
    stage.plan = replace(stage.plan, state_changed=("public.schema_migrations",))
    stage.outcomes, stage.waits, stage.schemas = [BAD, GOOD], [["waited"], []], [BEFORE, HALF, AFTER]
    assert stage.migrate().changed
    assert stage.journal.count("run") == 2


def test_one_that_held_a_lock_too_long_and_was_ended_is_not_tried_again(stage: Stage) -> None:
    stage.outcomes, stage.schemas = [BAD, GOOD], [BEFORE]
    stage.watched = replace(stage.watched, holds=("It has held a lock for more than 12 s",), ended=True, queue=Queue(3, 4.2))
    with pytest.raises(DbopsError, match=r"It was ended\. It has held a lock for more than 12 s.*3 sessions waited behind it") as failed:
        stage.migrate()
    assert stage.journal.count("run") == 1 and "The schema is as it was" in failed.value.message


def test_an_invalid_index_is_named_with_what_removes_it(stage: Stage) -> None:
    stage.outcomes, stage.schemas = [BAD], [BEFORE, {**BEFORE, "index public.by_name": "CREATE INDEX by_name ON users (name) INVALID"}]
    with pytest.raises(DbopsError, match=r"An index was left invalid.*DROP INDEX CONCURRENTLY public\.by_name;"):
        stage.migrate()


def holder(
    mode: str = "AccessShareLock",
    pid: int = 7,
    application: str = "psql",
    seconds: float = 1.0,
    query: str = "SELECT 'secret' FROM users",
    kind: str = "client backend",
    prepared: str = "",
) -> tuple[t.Any, ...]:
    """A row of ``server._blockers``."""
    return "public.users", mode, pid, "ann", application, "10.0.0.5", "idle in transaction", seconds, query, kind, prepared, not pid


WRAPAROUND = "autovacuum: VACUUM public.users (to prevent wraparound)"


def in_use(stage: Stage, *rows: tuple[t.Any, ...]) -> None:
    relations = {9: Relation("public.users", "r")}
    stage.plan = replace(
        stage.plan, statements=(replace(ADD, held={9: "AccessExclusiveLock"}),), objects=(Objects(relations=relations),) * 2
    )
    stage.answers = {"l.mode, coalesce(a.pid": list(rows)}


@pytest.mark.parametrize(
    ("row", "said", "end"),
    [
        (holder(seconds=412), "a transaction that is 412 s old, pid 7, user ann", "pg_terminate_backend(7)"),
        (holder(application="pg_dump"), "a dump", "pg_terminate_backend(7)"),
        (holder(pid=0, prepared="two'phase"), "prepared transaction 'two'phase'", "ROLLBACK PREPARED 'two''phase';"),
        (holder("ShareUpdateExclusiveLock", query=WRAPAROUND, kind="autovacuum worker"), "a vacuum to prevent wraparound", "(7)"),
    ],
)
def test_who_will_not_be_gone_soon_stops_it_before_anything_is_touched(stage: Stage, row: t.Any, said: str, end: str) -> None:
    in_use(stage, row)
    with pytest.raises(Refused) as refused:
        stage.migrate()
    assert said in refused.value.message and end in refused.value.message
    assert "-e dbops_migrate_blocker_max_age=0" in refused.value.message and "secret" not in refused.value.message
    assert stage.journal == [], "no backup, no run"
    assert stage.migrate(locks=LockOptions(blocker_max_age=0)).changed
    assert stage.migrate(check_mode=True).changed and "A run would be refused. Refused" in stage.operation.warnings[-1]


@pytest.mark.parametrize(
    "row", [holder(seconds=59), holder("ShareUpdateExclusiveLock", seconds=900, query="VACUUM", kind="autovacuum worker")]
)
def test_who_is_soon_gone_or_gives_way_does_not_stop_it(stage: Stage, row: t.Any) -> None:
    in_use(stage, row)
    assert stage.migrate().changed


def test_a_reader_is_not_in_the_way_of_an_index(stage: Stage) -> None:
    in_use(stage, holder(seconds=900))
    stage.plan = replace(stage.plan, statements=(replace(ADD, held={9: "ShareLock"}),))
    assert stage.migrate().changed


# --- afterwards -----------------------------------------------------------------------------------------------------------


def test_afterwards_the_truth_is_told(stage: Stage) -> None:
    in_use(stage)
    before, after = Relation("public.users", "r", file=1), Relation("public.users", "r", file=2)
    lock = HeldLock("public.users", "AccessExclusiveLock", 0, 0, 3.0, None, Level.LOW)
    stage.plan = replace(stage.plan, objects=(Objects(relations={9: before}), Objects(relations={9: after})), again=(ADD,))
    stage.assessment = Assessment(locks=(lock,))
    stage.watched = replace(
        stage.watched,
        locks=(Span(0.1, 2.3, "AccessExclusiveLock", 16400), Span(0.1, 0.2, "ShareLock", 99)),
        queue=Queue(2, 1.5),
        slowest=(2.2, "ALTER TABLE users\n ADD x int"),
    )
    stage.answers = {
        "c.oid::bigint, quote_ident": [(16400, "public.users")],
        "VALIDATE CONSTRAINT": [("ALTER TABLE users VALIDATE CONSTRAINT fk;",)],
    }
    result = stage.migrate()
    assert result.facts["afterwards"] == {
        "again": True,
        "settled": False,
        "invalid_indexes": [],
        "unvalidated": ["ALTER TABLE users VALIDATE CONSTRAINT fk;"],
        "analyzed": ["public.users"],
        "to_analyze": [],
        "sequences": [],
        "slowest": {"seconds": 2.2, "sql": "ALTER TABLE users ADD x int"},
        "locks": [{"table": "public.users", "lock": "AccessExclusiveLock", "seconds": 2.2, "planned": 3.0}],
        "queue": {"sessions": 2, "seconds": 1.5},
    }
    assert "Locked: table public.users with AccessExclusiveLock for 2.2 s, planned were 3.0 s." in result.summary
    assert "Sessions that waited behind it: at most 2 at a time, 1.5 s of all of them together." in result.summary
    assert "Still to do: ALTER TABLE users VALIDATE CONSTRAINT fk;" in result.summary
    assert any("never content" in warning for warning in stage.operation.warnings)
    assert (result.journal["lock_seconds"], result.journal["waited_seconds"]) == (2.2, 1.5)


def test_an_invalid_index_is_left_to_do_and_what_nobody_may_see_is_not_called_nothing(stage: Stage) -> None:
    stage.watched = replace(stage.watched, sees_others=False)
    stage.answers = {"NOT i.indisvalid": [("public.by_name",)]}
    result = stage.migrate()
    assert "Still to do: DROP INDEX CONCURRENTLY public.by_name; (it is invalid, and serves nobody)" in result.summary
    assert any(line.startswith("Sessions that waited behind it: not known") for line in result.summary)
    assert result.journal["waited_seconds"] is None and result.facts["afterwards"]["queue"] == {"sessions": None, "seconds": None}


def test_what_is_not_analyzed_is_left_to_do(stage: Stage) -> None:
    relations = [Objects(relations={9: Relation("public.users", "r", file=number)}) for number in (1, 2)]
    stage.plan = replace(stage.plan, objects=(relations[0], relations[1]))
    result = stage.migrate(analyze=False)
    assert "Still to do: ANALYZE public.users;" in result.summary and not stage.connection.said("ANALYZE public")


def test_a_sequence_that_stands_lower_than_before_is_told(stage: Stage) -> None:
    places = [[("public.users_id_seq", 40)], [("public.users_id_seq", 1)]]
    stage.answers = {"SELECT c.oid::bigint\nFROM pg_sequence": [(1,)], "pg_sequence_last_value": lambda *_arguments: places.pop(0)}
    result = stage.migrate()
    assert "Sequence public.users_id_seq stands at 1, before the migration it was 40." in result.summary


# --- the backends after ---------------------------------------------------------------------------------------------------


def test_an_interruption_after_the_run_says_that_the_database_is_migrated(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_arguments: t.Any) -> t.Any:
        raise DbopsError("Interrupted by signal 1.")

    monkeypatch.setattr(_health, "unhealthy", interrupted)
    with pytest.raises(DbopsError) as failed:
        stage.migrate()
    assert (
        failed.value.message
        == "Interrupted by signal 1. Database 'chat' had been migrated as planned before that. To go back to the backup made before it: "
        + RESTORE
    )


def test_a_backend_that_is_not_well_afterwards_fails_the_run_with_the_way_back(stage: Stage) -> None:
    stage.sick = ["Backend 'chat-backend' is not healthy."]
    with pytest.raises(
        DbopsError, match=r"was migrated as planned, but the backend is not well after it: Backend 'chat-backend'"
    ) as failed:
        stage.migrate()
    assert RESTORE in failed.value.message


def test_a_backend_that_was_sick_before_is_only_a_warning(stage: Stage) -> None:
    stage.sick_before = ["chat-backend"]
    assert stage.migrate().changed
    assert any("not healthy before" in warning for warning in stage.operation.warnings)
