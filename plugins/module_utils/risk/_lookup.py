# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an empty sandbox cannot know: which of the real rows would stop the migration. Reads only, and for a bounded time.

Prisma's users found it out on production (prisma/migrate#442). Rows are counted, and a few named by their primary key: nothing else of
them is shown.
"""

from __future__ import annotations

import re
import time
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.dbops.postgres.plugins.module_utils.risk._columns import is_narrower
from ansible_collections.dbops.postgres.plugins.module_utils.risk._facts import Facts, Finding, quoted
from ansible_collections.dbops.postgres.plugins.module_utils.risk._rules import Level
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import execute, rows, sql, told_refusals, value
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import ServerError
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import count_text

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._objects import Constraint, Index
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: So many rows are named.
_SAMPLED = 5

#: pg_input_is_valid came with 16 (https://www.postgresql.org/docs/16/functions-info.html).
_CAN_TRY_CASTS = 160000

_USING = re.compile(r"\bUSING\b", re.IGNORECASE)
_VARYING = re.compile(r"^(?:character varying|character)\((\d+)\)$")
_NUMERIC = re.compile(r"^numeric\((\d+),(\d+)\)$")
_RANGES = {"smallint": (-32768, 32767), "integer": (-2147483648, 2147483647)}


#: A function with a schema: definitions have full names, and only the server's own functions go without. A look may be a superuser's, so
#: whatever somebody wrote is left to the migration, which runs it with its own rights.
_OWN_FUNCTION = re.compile(r'(?:"(?:[^"]|"")+"|[\w$]+)\.(?:"(?:[^"]|"")+"|[\w$]+)\(')


@dataclass(frozen=True)
class Question:
    """Rows of one table for which ``condition`` holds stop the migration; ``grouped``: they are those that have these values in common."""

    table: int
    condition: str
    grouped: str = ""


def look_up(connection: Connection, facts: Facts, findings: t.Sequence[Finding], seconds: float) -> list[Finding]:
    """The findings, with what the live rows say of those that depend on them. ``seconds``: for all of it together."""
    deadline = time.monotonic() + seconds
    execute(connection, "SET search_path = ''")  # nothing that somebody put into a schema is taken for the server's own
    return [_answered(connection, facts, finding, deadline) for finding in findings]


def _answered(connection: Connection, facts: Facts, finding: Finding, deadline: float) -> Finding:
    if finding.rule not in _QUESTIONS or facts.is_empty(_table_of(facts, finding)):
        return finding
    question = _QUESTIONS[finding.rule](connection, facts, finding)
    if question is None:
        return finding
    if isinstance(question, Question) and _OWN_FUNCTION.search(question.condition + question.grouped):
        question = "it calls a function of the database's own, which is not run for a look"
    if isinstance(question, str):
        return _open(finding, question)
    left = deadline - time.monotonic()
    if left <= 0:
        return _open(finding, "there was no time left for it")
    try:
        with told_refusals(connection):
            execute(connection, "SET statement_timeout = %s", (max(1, int(left * 1000)),))
            return _judged(finding, *_ask(connection, facts, question))
    except ServerError as error:
        return _open(finding, "the rows could not be asked (%s)" % error.message.splitlines()[0].rstrip("."))


def _open(finding: Finding, why: str) -> Finding:
    return replace(finding, unknown=why, level=max(finding.level, Level.MEDIUM))


def _judged(finding: Finding, count: int, sample: list[str], key: str) -> Finding:
    if not count:
        return replace(finding, evidence="No row that is there now stops it.")
    named = ", for example %s %s" % (key, ", ".join(sample)) if sample else ""
    stops = "stops" if count == 1 else "stop"
    return replace(
        finding,
        evidence="%s of '%s' %s it%s." % (count_text(count, "row"), finding.table, stops, named),
        level=max(finding.level, Level.HIGH),
    )


def _table_of(facts: Facts, finding: Finding) -> int:
    return next((oid for oid, relation in facts.before.relations.items() if relation.name == finding.table), 0)


def _ask(connection: Connection, facts: Facts, question: Question) -> tuple[int, list[str], str]:
    """How many rows, the primary keys of some, and what their columns are called. Definitions are the server's own, names are full."""
    name = facts.before.relations[question.table].name
    condition = question.condition
    if question.grouped:
        grouped = "SELECT {0} FROM {1} o WHERE {2} GROUP BY {0} HAVING count(*) > 1".format(question.grouped, name, condition or "true")
        found = int(value(connection, sql.SQL("SELECT count(*) FROM (%s) x" % grouped)))
        return found, [], ""
    found = int(value(connection, sql.SQL("SELECT count(*) FROM %s o WHERE %s" % (name, condition))))
    key = _primary_key(facts, question.table)
    if not found or not key:
        return found, [], ""
    shown = ", ".join("o.%s::text" % quoted(column) for column in key)
    sample = rows(connection, sql.SQL("SELECT concat_ws(', ', %s) FROM %s o WHERE %s LIMIT %d" % (shown, name, condition, _SAMPLED)))
    return found, [text for (text,) in sample], ", ".join(key)


def _primary_key(facts: Facts, table: int) -> list[str]:
    for constraint in facts.before.constraints.values():
        if constraint.table == table and constraint.kind == "p":
            return facts.before.names(table, constraint.columns)
    return []


def _live_names(facts: Facts, table: int, numbers: t.Sequence[int]) -> list[str] | None:
    """How the live table calls these columns; None where one of them is not there, or is called otherwise by now."""
    found = []
    for number in numbers:
        before, after = facts.before.columns.get((table, number)), facts.after.columns.get((table, number))
        if before is None or after is None or before.name != after.name:
            return None
        found.append(before.name)
    return found


_NEW_COLUMN = "the migration itself makes, or renames, a column that it is about"

Asked = t.Union[Question, str, None]


def _nulls(_connection: Connection, facts: Facts, finding: Finding) -> Asked:
    table, number = finding.subject
    return Question(table, "o.%s IS NULL" % quoted(facts.before.columns[table, number].name))


def _casts(connection: Connection, facts: Facts, finding: Finding) -> Asked:
    table, number = finding.subject
    before, after = facts.before.columns[table, number], facts.after.columns[table, number]
    if finding.statement >= 0 and _USING.search(facts.plan.statements[finding.statement].sql):
        return "an expression of its own (USING) makes the new values"
    name = "o." + quoted(before.name)
    lossy = _loses(name, before.type, after.type)
    if _is_number(before.type) and _is_number(after.type):
        if not lossy and not is_narrower(before.type, after.type):
            return None
        return Question(table, lossy) if lossy else "what becomes of digits that the new type has not shows only then"
    if connection.server_version >= _CAN_TRY_CASTS:
        invalid = "%s IS NOT NULL AND NOT pg_input_is_valid(%s::text, '%s')" % (name, name, after.type.replace("'", "''"))
        return Question(table, "(%s)%s" % (invalid, " OR (%s)" % lossy if lossy else ""))
    if lossy:
        return Question(table, lossy)
    return "this server cannot say which values fit the new type"


def _is_number(name: str) -> bool:
    return name.split("(")[0] in ("smallint", "integer", "bigint", "numeric", "real", "double precision")


def _loses(name: str, before: str, after: str) -> str:
    """For which values the new type is too small, as a condition; empty where only a cast would show it."""
    varying, numeric = _VARYING.match(after), _NUMERIC.match(after)
    if varying and before.startswith(("character", "text")):
        return "length(%s) > %s" % (name, varying.group(1))
    if after in _RANGES and _is_number(before):
        return "%s NOT BETWEEN %d AND %d" % (name, *_RANGES[after])
    if numeric and before.startswith("numeric"):
        precision, scale = int(numeric.group(1)), int(numeric.group(2))
        return "%s <> round(%s, %d) OR abs(%s) >= 1e%d" % (name, name, scale, name, precision - scale)
    return ""


def _check(_connection: Connection, facts: Facts, finding: Finding) -> Asked:
    constraint = facts.after.constraints[finding.subject[0]]
    if _live_names(facts, constraint.table, constraint.columns) is None:
        return _NEW_COLUMN
    expression = re.sub(r"( NO INHERIT)?( NOT VALID)?$", "", constraint.definition[len("CHECK ") :])
    return Question(constraint.table, "%s IS FALSE" % expression)


def _orphans(_connection: Connection, facts: Facts, finding: Finding) -> Asked:
    constraint = facts.after.constraints[finding.subject[0]]
    if facts.was(constraint.references) is None:
        return "the migration itself makes the table that it refers to"
    own = _live_names(facts, constraint.table, constraint.columns)
    other = _live_names(facts, constraint.references, constraint.referenced)
    if own is None or other is None:
        return None if _all_null(facts, constraint) else _NEW_COLUMN
    pairs = list(zip(map(quoted, own), map(quoted, other)))
    known = " AND ".join("o.%s IS NOT NULL" % mine for mine, _theirs in pairs)
    same = " AND ".join("r.%s %s o.%s" % (theirs, equal, mine) for (mine, theirs), equal in zip(pairs, constraint.equality))
    parent = facts.before.relations[constraint.references].name
    return Question(constraint.table, "%s AND NOT EXISTS (SELECT 1 FROM %s r WHERE %s)" % (known, parent, same))


def _all_null(facts: Facts, constraint: Constraint) -> bool:
    """A column that the plan adds without a default holds NULL in every row that is there, which refers to nothing."""
    added = [
        facts.after.columns[constraint.table, number]
        for number in constraint.columns
        if (constraint.table, number) not in facts.before.columns
    ]
    return bool(added) and any(not (column.default or column.identity or column.generated) for column in added)


def _duplicates(_connection: Connection, facts: Facts, finding: Finding) -> Asked:
    constraint = facts.after.constraints[finding.subject[0]]
    index = facts.after.indexes.get(constraint.index)
    return _same_values(facts, index, constraint.kind == "p") if index else "its index is not known"


def _duplicates_of_index(_connection: Connection, facts: Facts, finding: Finding) -> Asked:
    index = facts.after.indexes[finding.subject[0]]
    return _same_values(facts, index, False) if index.unique else None


def _same_values(facts: Facts, index: Index, primary: bool) -> Asked:
    names = _live_names(facts, index.table, [number for number in index.columns if number])
    if names is None:
        return _NEW_COLUMN
    keys = ", ".join(index.keys)
    conditions = ["(%s)" % index.predicate] if index.predicate else []
    if index.nulls_distinct and not primary:
        conditions += ["(%s) IS NOT NULL" % key for key in index.keys]
    return Question(index.table, " AND ".join(conditions), grouped=keys)


def _exclusions(_connection: Connection, _facts: Facts, _finding: Finding) -> Asked:
    return "which rows exclude each other shows only when the index is built"


_QUESTIONS: dict[str, t.Callable[[Connection, Facts, Finding], Asked]] = {
    "adding-not-nullable-field": _nulls,
    "changing-column-type": _casts,
    "narrowing-column-type": _casts,
    "constraint-missing-not-valid": _check,
    "adding-foreign-key-constraint": _orphans,
    "disallowed-unique-constraint": _duplicates,
    "adding-primary-key": _duplicates,
    "require-concurrent-index-creation": _duplicates_of_index,
    "adding-exclusion-constraint": _exclusions,
}
