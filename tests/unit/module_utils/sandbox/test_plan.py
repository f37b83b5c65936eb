# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What counts as a plan, when it is empty, and how a person reads it."""

from __future__ import annotations

import contextlib
import types
import typing as t
from dataclasses import replace

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox import _observation, _plan, _runner_log
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._observation import Record
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import (
    Plan,
    PlannedStatement,
    fingerprint_of_facts,
    plan_facts,
    render_plan,
)
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._runner_log import read_between_marks
from ansible_collections.dbops.postgres.plugins.module_utils.server._objects import Objects
from ansible_collections.dbops.postgres.plugins.module_utils.server._statements import Executed, Failed, read_log
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import (
    RUN,
    FakeClock,
    FakeConnection,
    FakeDocker,
    container,
    operation,
)

USERS = {"table public.users": "owner chat"}
NAMED = {**USERS, "column public.users.name": "text"}
ADD = PlannedStatement(
    'ALTER TABLE "users" ADD COLUMN "name" text', "schema", ("alter table public.users",), ("AccessExclusiveLock on public.users",)
)
UPDATE = PlannedStatement("UPDATE users SET name = 'x'", "data")
STATE = PlannedStatement("INSERT INTO alembic_version VALUES (2)", "state")
DONE = Outcome(0, "", "")
RUNNER = types.SimpleNamespace(image_id="sha256:backend", argv=("/app/backend", "migrate"))


def plan(*statements: PlannedStatement, before: dict | None = None, after: dict | None = None, state: tuple = ()) -> Plan:
    return Plan(statements, USERS if before is None else before, USERS if after is None else after, state, DONE)


# --- empty or not ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "empty",
    [
        plan(),
        plan(PlannedStatement("CREATE TABLE IF NOT EXISTS users ()", "schema")),
        plan(STATE),  # rewritten with what was in it before
        plan(replace(ADD), replace(ADD, sql="DROP COLUMN")),  # done and undone
    ],
)
def test_what_changes_nothing_is_nothing_to_migrate(empty: Plan) -> None:
    assert empty.empty


@pytest.mark.parametrize(
    "full",
    [
        plan(ADD, after=NAMED),
        plan(before=NAMED),
        plan(UPDATE),
        plan(STATE, state=("public.alembic_version",)),
        plan(after={"table public.users": "owner other"}),
    ],
)
def test_any_change_of_schema_rows_or_state_is_something_to_migrate(full: Plan) -> None:
    assert not full.empty


def test_the_fingerprint_covers_statements_schema_and_runner() -> None:
    base = plan(ADD, after=NAMED)
    others = [
        plan(UPDATE, after=NAMED),
        plan(ADD, before=NAMED),
        plan(ADD, ADD, after=NAMED),
        replace(base, runner=("sha256:other", "migrate")),
    ]
    assert len({base.fingerprint, *(other.fingerprint for other in others)}) == 5
    commented = replace(ADD, sql=ADD.sql + " /* trace=1 */ -- by hand")
    assert plan(commented, after=NAMED).fingerprint == base.fingerprint
    assert (
        plan(ADD, replace(STATE, sql="INSERT INTO x VALUES ('09:00')")).fingerprint
        == plan(ADD, replace(STATE, sql="INSERT INTO x VALUES ('10:00')")).fingerprint
    )


def test_a_runners_bookkeeping_is_another_one_at_each_run() -> None:
    def both(moment: str) -> str:
        text = "ALTER TABLE users ADD COLUMN age int; INSERT INTO schema_migrations VALUES (7, '?')"
        return plan(PlannedStatement(text.replace("7", str(len(moment))).replace("?", moment), "schema"), after=NAMED).fingerprint

    assert both("10:00") == both("10:00:01")
    assert plan(UPDATE).fingerprint != plan(replace(UPDATE, sql="UPDATE users SET name = 'y'")).fingerprint


def test_what_was_written_down_has_the_fingerprint_that_it_says() -> None:
    made = replace(plan(ADD, STATE, after=NAMED), runner=("sha256:backend", "/app/backend", "migrate"))
    runner = {"image_id": "sha256:backend", "command": ["/app/backend", "migrate"]}
    facts = plan_facts(made)
    assert fingerprint_of_facts(facts, runner) == facts["fingerprint"] == made.fingerprint
    assert fingerprint_of_facts({**facts, "statements": facts["statements"][:1]}, runner) != made.fingerprint
    assert fingerprint_of_facts(facts, {**runner, "image_id": "sha256:other"}) != made.fingerprint
    assert fingerprint_of_facts({}, {}) != made.fingerprint


# --- from the log to the plan ---------------------------------------------------------------------------------------------


def planned(*texts: str, seen: dict | None = None, own: t.Collection[str] = ()) -> list[tuple[str, str]]:
    found = _plan.planned_statements([Executed(7, text) for text in texts], seen or {}, own)
    return [(statement.kind, statement.sql) for statement in found]


def test_what_only_reads_is_not_part_of_a_plan() -> None:
    assert planned("SELECT 1", "BEGIN", "SET search_path = x", "SHOW server_version", "COMMIT") == []


def test_statements_are_sorted_into_schema_data_and_state() -> None:
    assert planned("CREATE TABLE a ()", "INSERT INTO a VALUES (1)", "INSERT INTO alembic_version VALUES (1)", own={"alembic_version"}) == [
        ("schema", "CREATE TABLE a ()"),
        ("data", "INSERT INTO a VALUES (1)"),
        ("state", "INSERT INTO alembic_version VALUES (1)"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "DELETE FROM users; INSERT INTO alembic_version VALUES (1)",
        "TRUNCATE alembic_version, users",
        "WITH x AS (DELETE FROM users RETURNING 1) INSERT INTO alembic_version SELECT 1 FROM x",
    ],
)
def test_a_text_that_also_writes_other_rows_is_data(text: str) -> None:
    assert planned(text, own={"alembic_version"}) == [("data", text)]


def test_what_an_event_trigger_saw_is_schema_whatever_it_looks_like() -> None:
    held = {7: "AccessExclusiveLock"}
    locks = ("AccessExclusiveLock on public.users",)
    seen = {"SELECT add_column()": [Record("alter table", "public.users", locks, held), Record("rewrite", "public.users")]}
    [found] = _plan.planned_statements([Executed(7, " SELECT add_column() ")], seen, ())
    assert found == PlannedStatement("SELECT add_column()", "schema", ("alter table public.users",), locks, ("public.users",), held)


def test_locks_and_objects_are_named_once() -> None:
    seen = {"X": [Record("alter table", "a", ("L on a", "L on b")), Record("alter table", "a", ("L on a",))]}
    [found] = _plan.planned_statements([Executed(7, "X")], seen, ())
    assert (found.objects, found.locks) == (("alter table a",), ("L on a", "L on b"))


def test_what_the_triggers_recorded_is_read_by_the_text_that_was_sent() -> None:
    connection = FakeConnection(
        {
            ".seen": [
                (" CREATE TABLE a () ", "create table", "public.a", ["ShareLock on a"], [[7, "AccessExclusiveLock"], [7, "ShareLock"]]),
                ("CREATE TABLE a ()", "rewrite", "public.a", [], []),
            ]
        }
    )
    held = {7: "AccessExclusiveLock"}
    assert _observation.seen(connection) == {
        "CREATE TABLE a ()": [Record("create table", "public.a", ("ShareLock on a",), held), Record("rewrite", "public.a")]
    }


# --- the log of the sandbox -----------------------------------------------------------------------------------------------

LOG = "\n".join(
    "dbops|%s|LOG:  statement: %s" % entry
    for entry in (
        (1, "SELECT 'dbops: the runner begins'"),
        (1, "COPY x FROM STDIN"),
        (2, "SELECT 'dbops: the runner begins'"),
        (3, "CREATE TABLE a ()"),
        (2, "SELECT 'dbops: the runner ends'"),
        (2, "SELECT 1"),
    )
)


class Sandbox:
    container = container("sandbox")


def test_only_what_was_executed_between_the_marks_is_the_runners(monkeypatch: pytest.MonkeyPatch) -> None:
    docker = FakeDocker()
    docker.texts = {"sandbox-id": LOG + "\n"}
    found = read_between_marks(operation(docker=docker), t.cast(t.Any, Sandbox()))
    assert [item.sql for item in read_log(found)] == ["CREATE TABLE a ()"]


def test_a_log_without_its_end_is_waited_for_and_then_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    monkeypatch.setattr(_runner_log, "time", clock)
    docker = FakeDocker()
    docker.texts = {"sandbox-id": LOG.split("\n", maxsplit=1)[0]}
    with pytest.raises(DbopsError, match="log could not be read in full"):
        read_between_marks(operation(docker=docker), t.cast(t.Any, Sandbox()))
    assert clock.now >= 1010


def test_state_tables_are_digested_without_locks() -> None:
    connection = FakeConnection(
        {"relname = ANY": [("public", "databasechangelog"), ("public", "databasechangeloglock")], "md5": [("abc",)]}
    )
    assert _plan._state_contents(connection, ["databasechangelog", "databasechangeloglock"]) == {"public.databasechangelog": "abc"}


# --- showing it -----------------------------------------------------------------------------------------------------------


def test_a_plan_is_read_like_a_diff() -> None:
    shown = render_plan(
        plan(replace(ADD, rewrites=("public.users",)), UPDATE, after=NAMED, state=("public.alembic_version",)),
        "chat",
        "/app/backend migrate",
    )
    lines = shown.splitlines()
    assert lines[0].startswith("--- database chat, schema ") and lines[1].startswith("+++ after '/app/backend migrate', schema ")
    assert lines[2:] == [
        '+ALTER TABLE "users" ADD COLUMN "name" text;',
        " -- AccessExclusiveLock on public.users",
        " -- rewrites public.users",
        "+UPDATE users SET name = 'x';",
        "@@ what changes in the schema @@",
        "+ column public.users.name text",
        "@@ what changes in the runner's own tables @@",
        "~ public.alembic_version",
    ]


def test_every_line_of_a_statement_is_marked_and_ends_once() -> None:
    shown = render_plan(plan(PlannedStatement("CREATE TABLE a (\n  id int\n);;\n", "schema"), after=NAMED), "chat", "x")
    assert "+CREATE TABLE a (\n+  id int\n+);\n@@" in shown


def test_an_empty_plan_says_so() -> None:
    assert render_plan(plan(STATE), "chat", "x").endswith("\n (nothing to migrate)\n")


REFUSED = Failed("ALTER TABLE gone\n ADD x int", 'relation "gone" does not exist', False)
PROBED = Failed("SELECT 1 FROM versions", 'relation "versions" does not exist', True)


def test_what_the_server_refused_is_part_of_a_plan_also_of_an_empty_one() -> None:
    empty = replace(plan(STATE), failed=(REFUSED, PROBED))
    assert render_plan(empty, "chat", "x").endswith(
        " (nothing to migrate)\n@@ what the server refused (~ where the runner went on as meant) @@\n"
        '!ALTER TABLE gone\n! ADD x int\n -- the server refused it: relation "gone" does not exist\n'
        '~SELECT 1 FROM versions\n -- the server refused it: relation "versions" does not exist\n'
    )
    assert plan_facts(empty)["failed"][0] == {"sql": REFUSED.sql, "error": REFUSED.error, "caught": False}
    assert empty.swallowed == "'ALTER TABLE gone ADD x int': relation \"gone\" does not exist"
    assert replace(plan(STATE), failed=(PROBED,)).swallowed == ""
    assert replace(plan(STATE), failed=(REFUSED,) * 5).swallowed.endswith("and 2 more")
    assert replace(plan(STATE), failed=(Failed("", "no such role", False),)).swallowed == "no such role"


def test_a_plan_as_data_holds_json_types_only() -> None:
    facts = plan_facts(plan(ADD, after=NAMED))
    assert facts["empty"] is False
    assert facts["changes"] == ["+ column public.users.name text"]
    assert facts["statements"] == [
        {
            "sql": ADD.sql,
            "kind": "schema",
            "objects": ["alter table public.users"],
            "locks": ["AccessExclusiveLock on public.users"],
            "rewrites": [],
        }
    ]
    assert (len(facts["fingerprint"]), len(facts["schema_before"]), len(facts["schema_after"])) == (64, 64, 64)


# --- making it ------------------------------------------------------------------------------------------------------------


def test_a_plan_is_what_the_runner_did_between_the_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    journal: list[str] = []
    inside = FakeConnection({".seen ORDER": [("CREATE TABLE a ()", "create table", "public.a", ["L on a"], [])]})
    digests = [{"public.alembic_version": "1"}, {"public.alembic_version": "2"}]
    objects = [Objects(), Objects(schemas={1: "a"})]

    class Played:
        container = container("sandbox")
        network = "dbops-sandbox"

        def session(self) -> t.Any:
            return contextlib.nullcontext(inside)

        def end_sessions(self) -> None:
            journal.append("what was left is ended")

    def run(_docker: t.Any, _runner: t.Any, name: str, _labels: t.Any, network: str, _timeout: float) -> Outcome:
        journal.extend([name, network, inside.statements[-1]])
        return DONE

    docker = FakeDocker()
    docker.texts = {"sandbox-id": LOG + "\n"}
    monkeypatch.setattr(_plan, "open_with_live_schema", lambda *_arguments: contextlib.nullcontext((Played(), USERS)))
    monkeypatch.setattr(_plan, "read_snapshot", lambda _connection: NAMED)
    monkeypatch.setattr(_plan, "read_objects", lambda _connection: objects.pop(0))
    monkeypatch.setattr(_plan, "_state_contents", lambda _connection, _names: digests.pop(0))
    monkeypatch.setattr(_plan, "state_tables", lambda _connection, _names: [("public", "alembic_version")])
    monkeypatch.setattr(_plan, "run_in_sandbox", run)
    found = _plan.make_plan(operation(docker=docker), t.cast(t.Any, RUNNER), ("my_migrations",), 60)
    assert journal == [
        "dbops-%s-plan" % RUN,
        "dbops-sandbox",
        "SELECT %s",
        "what was left is ended",
    ]  # the begin is marked before the runner starts
    assert (found.before, found.after, found.state_changed, found.outcome) == (USERS, NAMED, ("public.alembic_version",), DONE)
    assert [(item.sql, item.objects, item.locks) for item in found.statements] == [
        ("CREATE TABLE a ()", ("create table public.a",), ("L on a",))
    ]
    assert found.objects == (Objects(), Objects(schemas={1: "a"}))
    assert "CREATE EVENT TRIGGER" in inside.statements[0]
