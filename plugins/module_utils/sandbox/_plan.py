# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a migration would do, by observation: the runner runs in a sandbox, and what it does there is the plan.

Works for any runner in any language. Event triggers tell which objects a statement touched, which strong locks it held and
which tables it rewrote (https://www.postgresql.org/docs/current/event-triggers.html); the server's log gives every statement,
since no event trigger sees an UPDATE or a TRUNCATE; the catalogue before and after tells what changed.
"""

from __future__ import annotations

import hashlib
import json
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import STATE_TABLES, Runner, run_in_sandbox
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._live_schema import open_with_live_schema, state_tables
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._runner_log import mark_begin, mark_end, read_between_marks
from ansible_collections.dbops.postgres.plugins.module_utils.server import _statements
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import execute, rows, sql, value
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import (
    OBSERVATION_SCHEMA,
    Difference,
    Snapshot,
    difference,
    fingerprint,
    read_snapshot,
    render,
)

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: Locks that make readers or writers wait (https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-TABLES).
_OBSERVE = """
CREATE SCHEMA {schema};
CREATE TABLE {schema}.seen (id bigserial PRIMARY KEY, query text, kind text, object text, locks text[]);
CREATE FUNCTION {schema}.strong_locks() RETURNS text[] LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $body$
    SELECT coalesce(array_agg(DISTINCT format('%s on %s', l.mode, l.relation::regclass)), '{{}}')
    FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
    WHERE l.pid = pg_backend_pid() AND l.granted AND c.relkind IN ('r', 'p', 'm')
      AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace, '{schema}'::regnamespace)
      AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
$body$;
CREATE FUNCTION {schema}.on_command() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $body$
BEGIN
    INSERT INTO {schema}.seen (query, kind, object, locks)
    SELECT current_query(), lower(c.command_tag), c.object_identity, {schema}.strong_locks() FROM pg_event_trigger_ddl_commands() c;
END $body$;
CREATE FUNCTION {schema}.on_drop() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $body$
BEGIN
    INSERT INTO {schema}.seen (query, kind, object, locks)
    SELECT current_query(), 'drop ' || d.object_type, d.object_identity, {schema}.strong_locks()
    FROM pg_event_trigger_dropped_objects() d WHERE d.original AND NOT d.is_temporary;
END $body$;
CREATE FUNCTION {schema}.on_rewrite() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $body$
BEGIN
    INSERT INTO {schema}.seen (query, kind, object, locks)
    VALUES (current_query(), 'rewrite', pg_event_trigger_table_rewrite_oid()::regclass::text, {schema}.strong_locks());
END $body$;
CREATE EVENT TRIGGER dbops_command ON ddl_command_end EXECUTE FUNCTION {schema}.on_command();
CREATE EVENT TRIGGER dbops_drop ON sql_drop EXECUTE FUNCTION {schema}.on_drop();
CREATE EVENT TRIGGER dbops_rewrite ON table_rewrite EXECUTE FUNCTION {schema}.on_rewrite();
GRANT USAGE ON SCHEMA {schema} TO PUBLIC;
"""


@dataclass(frozen=True)
class PlannedStatement:
    """One statement that the runner executed, as it was sent. ``rewrites``: tables whose files are written anew, under lock."""

    sql: str
    kind: str
    objects: tuple[str, ...] = ()
    locks: tuple[str, ...] = ()
    rewrites: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What a migration would do. ``state_changed``: the runner's own tables whose contents changed; ``failed``: what the server refused."""

    statements: tuple[PlannedStatement, ...]
    before: Snapshot
    after: Snapshot
    state_changed: tuple[str, ...]
    outcome: Outcome
    failed: tuple[_statements.Failed, ...] = ()

    @property
    def change(self) -> Difference:
        return difference(self.before, self.after)

    @property
    def data_statements(self) -> tuple[PlannedStatement, ...]:
        return tuple(statement for statement in self.statements if statement.kind == "data")

    @property
    def empty(self) -> bool:
        """Nothing to migrate: what the runner did there changed neither schema, nor its own state, nor any row elsewhere."""
        return not self.change and not self.state_changed and not self.data_statements

    @property
    def swallowed(self) -> str:
        """What the server refused and the runner did not tell of, a sentence; empty where nothing was lost by it."""
        return _statements.failures_text([failed for failed in self.failed if not failed.caught])

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the statements and both schemas, 64 hexadecimal digits."""
        facts = [[statement.sql for statement in self.statements], fingerprint(self.before), fingerprint(self.after)]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def make_plan(operation: Operation, runner: Runner, further_state_tables: t.Sequence[str], timeout: float) -> Plan:
    """Run the runner in a sandbox with the target's schema. The outcome may be a failure: look at it."""
    names = tuple(STATE_TABLES) + tuple(further_state_tables)
    with open_with_live_schema(operation, "plan", names, _statements.LOG_OPTIONS) as (sandbox, before):
        with sandbox.session() as connection:
            execute(connection, _OBSERVE.format(schema=OBSERVATION_SCHEMA))
            state_before = _state_contents(connection, names)
            mark_begin(connection)
        operation.enter("plan: runner")
        outcome = run_in_sandbox(operation.docker, runner, "dbops-%s-plan" % operation.run_id, operation.labels, sandbox.network, timeout)
        operation.enter("plan: read")
        with sandbox.session() as connection:
            mark_end(connection)
            after = read_snapshot(connection)
            state_after = _state_contents(connection, names)
            seen = _seen(connection)
            own_tables = {table for _schema, table in state_tables(connection, names)}
        log = read_between_marks(operation, sandbox)
        statements = _planned(_statements.read_log(log), seen, own_tables)
    changed = sorted(name for name in set(state_before) | set(state_after) if state_before.get(name) != state_after.get(name))
    return Plan(statements, before, after, tuple(changed), outcome, tuple(_statements.read_failures(log)))


def _state_contents(connection: Connection, names: t.Sequence[str]) -> dict[str, str]:
    """A digest of each state table's rows. Lock tables change in every run and say nothing."""
    contents = {}
    for schema, table in state_tables(connection, names):
        if not table.endswith("lock"):
            query = sql.SQL("SELECT md5(coalesce(string_agg(x::text, E'\\n' ORDER BY x::text), '')) FROM {} x").format(
                sql.Identifier(schema, table)
            )
            contents["%s.%s" % (schema, table)] = value(connection, query)
    return contents


def _seen(connection: Connection) -> dict[str, list[tuple[str, str, tuple[str, ...]]]]:
    """What the event triggers recorded: ``{text that was sent: [(kind, object, locks)]}``."""
    seen: dict[str, list[tuple[str, str, tuple[str, ...]]]] = {}
    query_seen = sql.SQL("SELECT query, kind, coalesce(object, ''), locks FROM {}.seen ORDER BY id").format(
        sql.Identifier(OBSERVATION_SCHEMA)
    )
    for query, kind, name, locks in rows(connection, query_seen):
        seen.setdefault(query.strip(), []).append((kind, name, tuple(locks)))
    return seen


def _planned(
    executed: list[_statements.Executed], seen: dict[str, list[tuple[str, str, tuple[str, ...]]]], own_tables: t.Collection[str]
) -> tuple[PlannedStatement, ...]:
    planned = []
    for item in executed:
        records = seen.get(item.sql.strip(), [])
        kind = _kind(item.sql, bool(records), own_tables)
        if kind:
            planned.append(
                PlannedStatement(
                    sql=item.sql.strip(),
                    kind=kind,
                    objects=_distinct("%s %s" % (what, name) for what, name, _locks in records if what != "rewrite"),
                    locks=_distinct(lock for _what, _name, locks in records for lock in locks),
                    rewrites=_distinct(name for what, name, _locks in records if what == "rewrite"),
                )
            )
    return tuple(planned)


def _kind(text: str, recorded: bool, own_tables: t.Collection[str]) -> str:
    """``schema``, ``data``, ``state`` (the runner's own tables), or empty for what changes nothing."""
    kinds = set()
    for statement in _statements.split_statements(text):
        if _statements.changes_data(statement):
            written = _statements.written_tables(statement)
            kinds.add("state" if written and written <= set(own_tables) else "data")
        elif _statements.changes_schema(statement):
            kinds.add("schema")
    if recorded:
        kinds.add("schema")
    return next((kind for kind in ("data", "schema", "state") if kind in kinds), "")


def _distinct(texts: t.Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def render_plan(plan: Plan, database: str, command: str) -> str:
    """The plan as a diff that a person reads before saying yes: the exact statements, then what changes in the schema."""
    lines = [
        "--- database %s, schema %s" % (database, fingerprint(plan.before)[:12]),
        "+++ after '%s', schema %s" % (command, fingerprint(plan.after)[:12]),
    ]
    if plan.empty:
        return "\n".join([*lines, " (nothing to migrate)", *_render_failed(plan)]) + "\n"
    for statement in plan.statements:
        lines += ["+%s" % line for line in (statement.sql.rstrip("; \n") + ";").splitlines()]
        lines += [" -- %s" % lock for lock in statement.locks]
        lines += [" -- rewrites %s" % table for table in statement.rewrites]
    lines += ["@@ what changes in the schema @@"] + render(plan.change) if plan.change else []
    lines += ["@@ what changes in the runner's own tables @@"] + ["~ " + name for name in plan.state_changed] if plan.state_changed else []
    return "\n".join(lines + _render_failed(plan)) + "\n"


def _render_failed(plan: Plan) -> list[str]:
    lines = []
    for failed in plan.failed:
        sign = "~" if failed.caught else "!"
        lines += [sign + line for line in (failed.sql or "(a session)").splitlines()] + [" -- the server refused it: %s" % failed.error]
    return ["@@ what the server refused (~ where the runner went on as meant) @@", *lines] if lines else []


def plan_facts(plan: Plan) -> dict[str, t.Any]:
    """The plan as data for a result."""
    return {
        "fingerprint": plan.fingerprint,
        "schema_before": fingerprint(plan.before),
        "schema_after": fingerprint(plan.after),
        "empty": plan.empty,
        "changes": render(plan.change),
        "state_changed": list(plan.state_changed),
        "failed": _statements.failure_facts(plan.failed),
        "statements": [
            {
                "sql": statement.sql,
                "kind": statement.kind,
                "objects": list(statement.objects),
                "locks": list(statement.locks),
                "rewrites": list(statement.rewrites),
            }
            for statement in plan.statements
        ],
    }
