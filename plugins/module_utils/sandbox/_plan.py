# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a migration would do, by observation: the runner runs in a sandbox, and what it does there is the plan.

Works for any runner in any language. Event triggers tell which objects a statement touched, which strong locks it held and
which tables it rewrote (``_observation``); the server's log gives every statement, since no event trigger sees an UPDATE or a
TRUNCATE; the catalogue before and after tells what changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import STATE_TABLES, UNMISTAKABLE, Runner, run_in_sandbox
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._live_schema import open_with_live_schema, state_tables
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._observation import REWRITE, Record, forget, observe, seen, strongest
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._runner_log import mark_begin, mark_end, read_between_marks
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._throwaway_server import Sandbox
from ansible_collections.dbops.postgres.plugins.module_utils.server import _statements
from ansible_collections.dbops.postgres.plugins.module_utils.server._objects import Objects, read_objects
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import sql, value
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import (
    Difference,
    Snapshot,
    difference,
    fingerprint,
    read_snapshot,
    render,
)

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

_NUMBER = re.compile(r"\b\d+(?:\.\d+)?\b")


#: What is entered while a runner works.
_Watch = t.Callable[[], t.ContextManager[t.Any]]


@dataclass(frozen=True)
class PlannedStatement:
    """One statement that the runner executed, as it was sent. ``rewrites``: tables whose files are written anew, under lock.

    ``held``: the strongest lock that its transaction had on each table by then, by the table's oid; ``transaction``: statements with the
    same number were one transaction; ``seconds``: how long it took, where it ran on real rows.
    """

    sql: str
    kind: str
    objects: tuple[str, ...] = ()
    locks: tuple[str, ...] = ()
    rewrites: tuple[str, ...] = ()
    held: dict[int, str] = field(default_factory=dict)
    transaction: int = 0
    seconds: float | None = None


@dataclass(frozen=True)
class Plan:
    """What a migration would do. ``state_changed``: the runner's own tables whose contents changed; ``failed``: what the server refused.

    ``objects``: of the sandbox, before and after; ``again``: what a second run of the same runner would still change there, ``settled``: that it
    ended well and changed nothing; ``left_open``: what it did in a transaction that it never ended; ``runner``: the image's id, and the command.
    """

    statements: tuple[PlannedStatement, ...]
    before: Snapshot
    after: Snapshot
    state_changed: tuple[str, ...]
    outcome: Outcome
    failed: tuple[_statements.Failed, ...] = ()
    objects: tuple[Objects, Objects] = (Objects(), Objects())
    again: tuple[PlannedStatement, ...] = ()
    left_open: tuple[str, ...] = ()
    runner: tuple[str, ...] = ()
    settled: bool = False

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
        """SHA-256, 64 hexadecimal digits: the same only for the same statements on the same schema by the same runner of the same image."""
        facts = [(statement.kind, statement.sql) for statement in self.statements]
        return _fingerprint(facts, fingerprint(self.before), self.runner)


def _fingerprint(statements: t.Iterable[tuple[str, str]], schema_before: str, runner: t.Sequence[str]) -> str:
    """Comments do not count, nor what a runner writes into its own tables, such as times."""
    texts = [[_lasting(kind, single) for single in _statements.split_statements(text)] for kind, text in statements]
    return hashlib.sha256(json.dumps([texts, schema_before, list(runner)]).encode()).hexdigest()


def _lasting(kind: str, single: str) -> str:
    """A statement without what is another one at each run; a runner may send its bookkeeping together with the rest."""
    written = _statements.written_tables(single) if _statements.changes_data(single) else set()
    own = kind == "state" or (bool(written) and written <= UNMISTAKABLE)
    return _NUMBER.sub("0", _statements.without_strings(single)) if own else single


def fingerprint_of_facts(plan: t.Mapping[str, t.Any], runner: t.Mapping[str, t.Any]) -> str:
    """The fingerprint of a plan that was written down (``plan_facts``), from what stands there."""
    statements = [(str(item.get("kind")), str(item.get("sql"))) for item in plan.get("statements") or ()]
    return _fingerprint(statements, str(plan.get("schema_before")), [str(runner.get("image_id")), *map(str, runner.get("command") or ())])


def make_plan(operation: Operation, runner: Runner, further_state_tables: t.Sequence[str], timeout: float, twice: bool = False) -> Plan:
    """Run the runner in a sandbox with the target's schema. The outcome may be a failure: look at it.

    :param twice: run it again there where it changed something, to see whether it is content then.
    """
    names = tuple(STATE_TABLES) + tuple(further_state_tables)
    with open_with_live_schema(operation, "plan", names, _statements.LOG_OPTIONS) as (sandbox, before):
        return plan_in(operation, sandbox, before, runner, names, timeout, twice=twice)


def plan_in(
    operation: Operation,
    sandbox: Sandbox,
    before: Snapshot,
    runner: Runner,
    names: t.Sequence[str],
    timeout: float,
    twice: bool = False,
    phase: str = "plan",
    watch: _Watch = contextlib.nullcontext,
) -> Plan:
    """The same in a sandbox that is there, whose server logs as ``LOG_OPTIONS`` say.

    :param before: the schema that it has; ``names``: of tables in which runners keep their state; ``watch``: what is entered while the runner works.
    """
    with sandbox.session() as connection:
        objects = read_objects(connection)
        observe(connection)
    found = _run(operation, sandbox, runner, names, timeout, phase, watch=watch)
    plan = Plan(
        found.statements,
        before,
        found.after,
        found.state_changed,
        found.outcome,
        found.failed,
        (objects, found.objects),
        left_open=found.left_open,
        runner=(runner.image_id, *runner.argv),
    )
    if twice and not plan.empty and found.outcome.rc == 0:
        with sandbox.session() as connection:
            forget(connection)
        second = _run(operation, sandbox, runner, names, timeout, phase, "-again")
        again = _wanted_again(second)
        plan = replace(plan, again=again, settled=not again and second.outcome.rc == 0)
    return plan


@dataclass(frozen=True)
class _Found:
    """What one run of the runner in a sandbox left there."""

    statements: tuple[PlannedStatement, ...]
    after: Snapshot
    objects: Objects
    state_changed: tuple[str, ...]
    outcome: Outcome
    failed: tuple[_statements.Failed, ...]
    left_open: tuple[str, ...]


def _run(
    operation: Operation,
    sandbox: Sandbox,
    runner: Runner,
    names: t.Sequence[str],
    timeout: float,
    phase: str,
    more: str = "",
    watch: _Watch = contextlib.nullcontext,
) -> _Found:
    with sandbox.session() as connection:
        state_before = _state_contents(connection, names)
        mark_begin(connection)
    operation.enter(phase + ": runner")
    container = "dbops-%s-%s%s" % (operation.run_id, phase, more)
    with watch():
        outcome = run_in_sandbox(operation.docker, runner, container, operation.labels, sandbox.network, timeout)
    operation.enter(phase + ": read")
    sandbox.end_sessions()
    with sandbox.session() as connection:
        mark_end(connection)
        after = read_snapshot(connection)
        objects = read_objects(connection)
        state_after = _state_contents(connection, names)
        records = seen(connection)
        own_tables = {table for _schema, table in state_tables(connection, names)}
    log = read_between_marks(operation, sandbox)
    changed = sorted(name for name in set(state_before) | set(state_after) if state_before.get(name) != state_after.get(name))
    statements = planned_statements(_statements.read_log(log), records, own_tables)
    left_open = tuple(executed.sql.strip() for executed in _statements.read_left_open(log))
    return _Found(statements, after, objects, tuple(changed), outcome, tuple(_statements.read_failures(log)), left_open)


def _wanted_again(found: _Found) -> tuple[PlannedStatement, ...]:
    """Of a second run, what did define something; what a server passes over (``IF NOT EXISTS``) no event trigger has seen."""
    return tuple(statement for statement in found.statements if statement.kind == "schema" and statement.objects)


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


def planned_statements(
    executed: list[_statements.Executed], seen_by_text: dict[str, list[Record]], own_tables: t.Collection[str]
) -> tuple[PlannedStatement, ...]:
    """What was executed, with what the event triggers have seen of each text."""
    planned = []
    for item in executed:
        records = seen_by_text.get(item.sql.strip(), [])
        kind = _kind(item.sql, bool(records), own_tables)
        if kind:
            planned.append(
                PlannedStatement(
                    sql=item.sql.strip(),
                    kind=kind,
                    objects=_distinct("%s %s" % (record.kind, record.object) for record in records if record.kind != REWRITE),
                    locks=_distinct(lock for record in records for lock in record.locks),
                    rewrites=_distinct(record.object for record in records if record.kind == REWRITE),
                    held=strongest(pair for record in records for pair in record.held.items()),
                    transaction=item.transaction,
                    seconds=item.seconds,
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
                **({"seconds": round(statement.seconds, 3)} if statement.seconds is not None else {}),
            }
            for statement in plan.statements
        ],
    }
