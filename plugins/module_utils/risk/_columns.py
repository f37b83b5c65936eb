# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Columns that come, and columns that become something else."""

from __future__ import annotations

import re
import typing as t
from dataclasses import replace

from ansible_collections.dbops.postgres.plugins.module_utils.risk import _estimates
from ansible_collections.dbops.postgres.plugins.module_utils.risk._dropped import column_text
from ansible_collections.dbops.postgres.plugins.module_utils.risk._facts import Facts, Finding, quoted
from ansible_collections.dbops.postgres.plugins.module_utils.risk._rules import Level
from ansible_collections.dbops.postgres.plugins.module_utils.server._objects import Column

_REQUIRED_IN_STEPS = "The rows that are there get a value on the way, but an older application cannot insert any from then on."

#: ``character varying(20)``, ``numeric(10,2)``, ``timestamp(3) with time zone``
_TYPE = re.compile(r"^(?P<base>[^()]+?)(?:\((?P<sizes>[\d,]+)\))?(?P<zone> with(?:out)? time zone)?(?P<array>(?:\[\])*)$")

_WHOLE_NUMBERS = ("smallint", "integer", "bigint")
_TEXTS = ("character varying", "text")

#: Casts that every value survives, and some of it does not.
_LOSSY = {
    "double precision": ("real",),
    "bigint": ("real", "double precision"),
    "integer": ("real",),
    "numeric": ("real", "double precision"),
    "timestamp": ("date", "time"),
}


def columns(facts: Facts) -> t.Iterator[Finding]:
    for (table, number), column in facts.after.columns.items():
        if facts.was(table) is None:
            continue
        before = facts.before.columns.get((table, number))
        if before is None:
            yield from _added(facts, table, column)
        else:
            yield from _changed(facts, (table, number), before, column)


# --- new ones ---------------------------------------------------------------------------------------------------------------


def _added(facts: Facts, table: int, column: Column) -> t.Iterator[Finding]:
    relation = facts.before.relations[table]
    what = column_text(relation.name, column.name)
    place = facts.statement_about(table, column.name)
    if column.type in ("json", "json[]"):
        yield facts.finding("json-column", Level.LOW, what, place, table)
    if facts.rewritten(table) and (column.default or column.identity or column.generated == "s"):
        yield _rewriting(facts, table, column, place)
    if column.not_null and not (column.default or column.identity or column.generated):
        statement = "ALTER TABLE %s ADD COLUMN %s %s;" % (relation.name, quoted(column.name), column.type)
        level = Level.MEDIUM if facts.is_empty(table) or _in_steps(facts, column) else Level.HIGH
        finding = facts.finding("adding-required-field", level, what, place, table, instead=statement)
        yield replace(finding, why=_REQUIRED_IN_STEPS) if _in_steps(facts, column) else finding


def _in_steps(facts: Facts, column: Column) -> bool:
    """Added with a default that went again, or filled before it was required: a single statement could not succeed on rows."""
    saying = [
        item for item in facts.plan.statements if re.search(r"(?<![\w$])%s(?![\w$])" % re.escape(column.name.lower()), item.sql.lower())
    ]
    return len(saying) > 1


def _rewriting(facts: Facts, table: int, column: Column, place: int) -> Finding:
    live = facts.live(table)
    seconds = _estimates.rewrite(live)
    relation = facts.before.relations[table]
    if column.generated == "s":
        rule = "adding-stored-generated-column"
    elif column.identity or column.default.startswith("nextval("):
        rule = "adding-serial-field"
    else:
        rule = "adding-field-with-volatile-default"
    name = quoted(column.name)
    statement = "ALTER TABLE %s ADD COLUMN %s %s;" % (relation.name, name, column.type)
    if column.default:
        statement += " ALTER TABLE %s ALTER COLUMN %s SET DEFAULT %s; then fill the rows that are there in batches." % (
            relation.name,
            name,
            column.default,
        )
    level = _estimates.lock_level(seconds, live)
    return facts.finding(rule, level, column_text(relation.name, column.name), place, table, seconds, instead=statement)


# --- changed ones -----------------------------------------------------------------------------------------------------------


def _changed(facts: Facts, subject: tuple[int, int], before: Column, after: Column) -> t.Iterator[Finding]:
    table = subject[0]
    relation = facts.before.relations[table]
    what = column_text(relation.name, before.name)
    place = facts.statement_about(table, before.name)
    if before.type != after.type or before.collation != after.collation:
        yield _other_type(facts, subject, before, after)
    if after.not_null and not before.not_null:
        yield from _not_null(facts, subject, before)
    if before.not_null and not after.not_null:
        yield facts.finding("dropping-not-null", Level.LOW, what, place, table)
    if before.default != after.default and not after.generated:
        yield facts.finding("changing-default", Level.LOW, what, place, table)


def _not_null(facts: Facts, subject: tuple[int, int], column: Column) -> t.Iterator[Finding]:
    table = subject[0]
    all_known = [*facts.before.constraints.values(), *facts.after.constraints.values()]
    known = [item for item in all_known if item.table == table and item.validated]
    if any(_says_not_null(column, constraint.definition) for constraint in known):
        return  # the server believes the CHECK, and reads nothing
    relation = facts.before.relations[table]
    live = facts.live(table)
    seconds = _estimates.scan(live)
    name, check = quoted(column.name), quoted(column.name + "_not_null")
    statement = f"ALTER TABLE {relation.name} ADD CONSTRAINT {check} CHECK ({name} IS NOT NULL) NOT VALID;"
    statement += f" ALTER TABLE {relation.name} VALIDATE CONSTRAINT {check};"
    place = facts.statement_about(table, column.name, "not", "null")
    yield facts.finding(
        "adding-not-nullable-field",
        _estimates.lock_level(seconds, live),
        column_text(relation.name, column.name),
        place,
        table,
        seconds,
        subject,
        instead=statement,
    )


def _says_not_null(column: Column, definition: str) -> bool:
    names = (column.name, quoted(column.name))
    return definition.startswith("CHECK (") and definition[len("CHECK ") :].strip("() ") in tuple("%s IS NOT NULL" % name for name in names)


def _other_type(facts: Facts, subject: tuple[int, int], before: Column, after: Column) -> Finding:
    table = subject[0]
    relation = facts.before.relations[table]
    live = facts.live(table)
    rewritten = facts.rewritten(table)
    rebuilt = _rebuilt(facts, table)
    seconds = _estimates.rewrite(live) if rewritten else _estimates.build_index(live) if rebuilt else None
    what = "%s, from %s to %s" % (column_text(relation.name, before.name), before.type, after.type)
    place = facts.statement_about(table, before.name, "type")
    level = _estimates.lock_level(seconds or 0.0, live)
    names = {"column": quoted(before.name)}
    if _changes_zone(before.type, after.type):
        return facts.finding(
            "changing-time-zone-type", max(level, _unless_empty(facts, table)), what, place, table, seconds, subject, **names
        )
    if is_narrower(before.type, after.type):
        return facts.finding(
            "narrowing-column-type", max(level, _unless_empty(facts, table)), what, place, table, seconds, subject, **names
        )
    if seconds is None:
        return facts.finding("widening-column-type", min(level, Level.LOW), what, place, table)
    return facts.finding("changing-column-type", level, what, place, table, seconds, subject)


def _unless_empty(facts: Facts, table: int) -> Level:
    return Level.LOW if facts.is_empty(table) else Level.HIGH


def _rebuilt(facts: Facts, table: int) -> bool:
    names = {index.name for index in facts.before.indexes.values() if index.table == table}
    return any(index.name in names and not facts.keeps_file(oid) for oid, index in facts.after.indexes.items() if index.table == table)


def _changes_zone(before: str, after: str) -> bool:
    old, new = _TYPE.match(before), _TYPE.match(after)
    return bool(old and new and old.group("zone") and new.group("zone") and old.group("zone") != new.group("zone"))


def is_narrower(before: str, after: str) -> bool:
    """Whether a value of the one type may not fit the other; both as ``format_type`` writes them.

    Of types of different families nothing is said here: a look at the rows tells whether they can be cast.
    """
    old, new = _TYPE.match(before), _TYPE.match(after)
    if not old or not new:
        return False
    old_base, new_base = old.group("base").strip(), new.group("base").strip()
    if old_base in _WHOLE_NUMBERS and new_base in _WHOLE_NUMBERS:
        return _WHOLE_NUMBERS.index(new_base) < _WHOLE_NUMBERS.index(old_base)
    if new_base in _LOSSY.get(old_base, ()):
        return True
    if old_base == new_base or (old_base in _TEXTS and new_base in _TEXTS):
        return _is_smaller(_sizes(old), _sizes(new))
    return old_base in (*_TEXTS, "character") and new_base in ("character", "character varying") and _is_smaller(_sizes(old), _sizes(new))


def _sizes(match: re.Match[str]) -> tuple[int, ...] | None:
    return tuple(int(size) for size in match.group("sizes").split(",")) if match.group("sizes") else None


def _is_smaller(old: tuple[int, ...] | None, new: tuple[int, ...] | None) -> bool:
    """Of numeric, digits before and after the point count apart: (10,2) to (10,4) has two digits less before it."""
    if new is None:
        return False
    if old is None:
        return True
    if len(old) == len(new) == 2:
        return new[0] - new[1] < old[0] - old[1] or new[1] < old[1]
    return new[0] < old[0]
