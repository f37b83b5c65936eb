# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes away, and what is called otherwise afterwards: the same number, another name."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.risk._facts import NOWHERE, TABLE_KINDS, Facts, Finding, quoted
from ansible_collections.dbops.postgres.plugins.module_utils.risk._rules import Level
from ansible_collections.dbops.postgres.plugins.module_utils.server._objects import Constraint, Index, Relation

_LAST_PART = re.compile(r'"(?:[^"]|"")+"$|[^".]+$')

_KINDS = {"r": "table", "p": "table", "m": "materialized view", "v": "view", "f": "foreign table", "S": "sequence"}
_CONSTRAINT_KINDS = {"c": "check", "f": "foreign key", "p": "primary key", "u": "unique", "x": "exclusion"}


def describe(relation: Relation) -> str:
    return "%s %s" % (_KINDS[relation.kind], relation.name)


def column_text(table: str, name: str) -> str:
    return "column %s.%s" % (table, quoted(name))


def last_part(name: str) -> str:
    """Of a full name, without quotes; a quoted part may hold a dot."""
    part = _LAST_PART.search(name)
    found = part.group() if part else name
    return found[1:-1].replace('""', '"') if found.startswith('"') else found


def dropped(facts: Facts) -> t.Iterator[Finding]:
    yield from _relations(facts)
    yield from _columns(facts)
    yield from _constraints(facts)
    yield from _indexes(facts)
    for oid, kind in facts.before.types.items():
        if oid not in facts.after.types:
            yield facts.finding("ban-drop-type", Level.MEDIUM, "type " + kind.name, facts.statement_saying("drop", last_part(kind.name)))
    for oid, name in facts.before.schemas.items():
        if oid not in facts.after.schemas:
            yield facts.finding(
                "ban-drop-schema", Level.MEDIUM, "schema " + name, facts.statement_saying("drop", "schema", name.strip('"'))
            )


def _relations(facts: Facts) -> t.Iterator[Finding]:
    for oid, relation in facts.before.relations.items():
        if oid in facts.after.relations or (relation.kind == "S" and relation.owned_by):
            continue  # a serial column's sequence goes with its table
        named = facts.statement_saying("drop", last_part(relation.name))
        if named == NOWHERE:
            yield facts.finding("drop-cascade", _lost(facts, oid, relation), describe(relation), facts.statement_saying("cascade"), oid)
        elif relation.kind in "rpf":
            rename = "ALTER TABLE %s RENAME TO %s;" % (relation.name, quoted(last_part(relation.name) + "_unused"))
            yield facts.finding("ban-drop-table", _lost(facts, oid, relation), describe(relation), named, oid, rename=rename)
        else:
            rule = "ban-drop-sequence" if relation.kind == "S" else "ban-drop-view"
            yield facts.finding(rule, Level.MEDIUM, describe(relation), named, oid)


def _lost(facts: Facts, oid: int, relation: Relation) -> Level:
    if relation.kind not in "rpf":
        return Level.MEDIUM
    return Level.MEDIUM if facts.is_empty(oid) else Level.DESTRUCTIVE


def _columns(facts: Facts) -> t.Iterator[Finding]:
    for (table, number), column in facts.before.columns.items():
        if table in facts.after.relations and (table, number) not in facts.after.columns:
            relation = facts.before.relations[table]
            yield facts.finding(
                "ban-drop-column",
                Level.MEDIUM if facts.is_empty(table) else Level.DESTRUCTIVE,
                column_text(relation.name, column.name),
                facts.statement_about(table, "drop", column.name),
                table,
                nullable="ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL;" % (relation.name, quoted(column.name)),
            )


def _constraints(facts: Facts) -> t.Iterator[Finding]:
    for oid, constraint in facts.before.constraints.items():
        if oid in facts.after.constraints or constraint.table not in facts.after.relations or constraint.parent:
            continue
        kept = any((other.table, other.name) == (constraint.table, constraint.name) for other in facts.after.constraints.values())
        retyped = kept and facts.changes_type(constraint.table, constraint.columns)
        if _lost_a_column(facts, constraint.table, constraint.columns) or retyped:
            continue
        relation = facts.before.relations[constraint.table]
        what = "%s constraint %s of %s" % (_CONSTRAINT_KINDS[constraint.kind], quoted(constraint.name), relation.name)
        place = facts.statement_about(constraint.table, "drop", constraint.name)
        yield facts.finding("ban-drop-constraint", _without_constraint(facts, constraint), what, place, constraint.table)


def _without_constraint(facts: Facts, constraint: Constraint) -> Level:
    replaced = any(
        other.table == constraint.table and other.kind == constraint.kind and other.columns == constraint.columns
        for oid, other in facts.after.constraints.items()
        if oid not in facts.before.constraints
    )
    return Level.LOW if replaced or facts.is_empty(constraint.table) or constraint.kind in "cf" else Level.MEDIUM


def _lost_a_column(facts: Facts, table: int, numbers: t.Iterable[int]) -> bool:
    """What stands on a column that is dropped goes with it, and is said of the column."""
    return any((table, number) in facts.before.columns and (table, number) not in facts.after.columns for number in numbers)


def _indexes(facts: Facts) -> t.Iterator[Finding]:
    of_constraints = {constraint.index for constraint in facts.before.constraints.values()}
    for oid, index in facts.before.indexes.items():
        if oid in facts.after.indexes or index.table not in facts.after.relations or oid in of_constraints:
            continue
        kept = any(other.name == index.name for other in facts.after.indexes.values())
        retyped = kept and facts.changes_type(index.table, index.columns)
        if _lost_a_column(facts, index.table, index.columns) or retyped:
            continue
        level = Level.LOW if facts.is_empty(index.table) or _covered(facts, index) else Level.MEDIUM
        statement = "DROP INDEX CONCURRENTLY %s;" % index.name
        yield facts.finding(
            "ban-drop-index",
            level,
            "index " + index.name,
            facts.statement_saying("drop", last_part(index.name)),
            index.table,
            instead=statement,
        )


def _covered(facts: Facts, index: Index) -> bool:
    """Whether another index begins with the same columns."""
    return any(
        other.table == index.table and not other.predicate and other.unique >= index.unique and other.keys[: len(index.keys)] == index.keys
        for other in facts.after.indexes.values()
    )


# --- renamed ----------------------------------------------------------------------------------------------------------------


def renamed(facts: Facts) -> t.Iterator[Finding]:
    yield from _renamed_relations(facts)
    for (table, number), column in facts.before.columns.items():
        now = facts.after.columns.get((table, number))
        if now and now.name != column.name:
            relation = facts.before.relations[table]
            what = column_text(relation.name, column.name) + " (now %s)" % quoted(now.name)
            yield facts.finding("renaming-column", Level.HIGH, what, facts.statement_about(table, "rename", column.name), table)
    for oid, name in facts.before.schemas.items():
        if facts.after.schemas.get(oid, name) != name:
            what = "schema %s (now %s)" % (name, facts.after.schemas[oid])
            yield facts.finding("renaming-schema", Level.HIGH, what, facts.statement_saying("rename", "schema"))
    yield from _renamed_types(facts)


def _renamed_relations(facts: Facts) -> t.Iterator[Finding]:
    for oid, relation in facts.before.relations.items():
        now = facts.after.relations.get(oid)
        if now is None or now.name == relation.name:
            continue
        moved = now.schema != relation.schema
        if not moved and last_part(now.name) == last_part(relation.name):
            continue  # its schema was renamed, which is said of the schema
        table = relation.kind in TABLE_KINDS
        rule = "ban-set-schema" if moved else "renaming-table" if table else "renaming-object"
        bridged = any(other.name == relation.name for other in facts.after.relations.values())
        level = Level.LOW if relation.kind == "S" else Level.MEDIUM if bridged else Level.HIGH
        place = facts.statement_about(oid, last_part(relation.name), "set" if moved else "rename")
        yield facts.finding(rule, level, "%s (now %s)" % (describe(relation), now.name), place, oid, old=relation.name, name=now.name)


def _renamed_types(facts: Facts) -> t.Iterator[Finding]:
    for oid, kind in facts.before.types.items():
        now = facts.after.types.get(oid)
        if now is None:
            continue
        if last_part(now.name) != last_part(kind.name):
            place = facts.statement_saying("rename", last_part(kind.name))
            yield facts.finding("renaming-object", Level.MEDIUM, "type %s (now %s)" % (kind.name, now.name), place)
        for label_oid, label in kind.labels.items():
            if now.labels.get(label_oid, label) != label:
                what = "value '%s' of type %s (now '%s')" % (label, kind.name, now.labels[label_oid])
                place = facts.statement_saying("rename", "value")
                yield facts.finding("renaming-enum-value", Level.HIGH, what, place, name=kind.name)
        for label_oid in sorted(set(now.labels) - set(kind.labels)):
            what = "value '%s' of type %s" % (now.labels[label_oid], kind.name)
            yield facts.finding("enum-value-added", Level.LOW, what, facts.statement_saying("add", "value"))
