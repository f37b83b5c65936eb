# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Constraints and indexes that come, and what is built or read under lock for them."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.risk import _estimates
from ansible_collections.dbops.postgres.plugins.module_utils.risk._dropped import last_part
from ansible_collections.dbops.postgres.plugins.module_utils.risk._facts import NOWHERE, Facts, Finding, quoted
from ansible_collections.dbops.postgres.plugins.module_utils.risk._rules import Level
from ansible_collections.dbops.postgres.plugins.module_utils.server._objects import Constraint, Index

_USING_INDEX = re.compile(r"\bUSING\s+INDEX\s+(?!TABLESPACE)", re.IGNORECASE)
_NOT_VALID = re.compile(r"\bNOT\s+VALID\b", re.IGNORECASE)


def constraints(facts: Facts) -> t.Iterator[Finding]:
    for oid, constraint in facts.after.constraints.items():
        if constraint.parent or not constraint.validated or facts.was(constraint.table) is None:
            continue
        before = facts.before.constraints.get(oid)
        if (before and before.validated) or _made_anew_for_a_type(facts, constraint):
            continue
        if constraint.kind == "c":
            yield from _check(facts, oid, constraint)
        elif constraint.kind == "f":
            yield from _foreign_key(facts, oid, constraint)
        elif constraint.kind in "pux":
            yield _with_index(facts, oid, constraint)


def _made_anew_for_a_type(facts: Facts, constraint: Constraint) -> bool:
    """What a column's new type costs is said of the column."""
    known = any(
        (other.table, other.name, other.kind) == (constraint.table, constraint.name, constraint.kind)
        for other in facts.before.constraints.values()
    )
    return known and facts.changes_type(constraint.table, constraint.columns)


def _name(constraint: Constraint, facts: Facts) -> str:
    return "%s of %s" % (quoted(constraint.name), facts.before.relations[constraint.table].name)


def _in_two_steps(facts: Facts, constraint: Constraint) -> bool:
    """Added NOT VALID in one transaction, perhaps by an earlier migration, and validated in another: read beside everybody else."""
    if any((other.table, other.name) == (constraint.table, constraint.name) for other in facts.before.constraints.values()):
        return True
    statements = facts.plan.statements
    places = [place for place, statement in enumerate(statements) if constraint.name.lower() in statement.sql.lower()]
    return bool(
        places and _NOT_VALID.search(statements[places[0]].sql) and statements[places[0]].transaction != statements[places[-1]].transaction
    )


def _validated_beforehand(facts: Facts, constraint: Constraint) -> str:
    name, table = quoted(constraint.name), facts.before.relations[constraint.table].name
    return f"ALTER TABLE {table} ADD CONSTRAINT {name} {constraint.definition} NOT VALID; ALTER TABLE {table} VALIDATE CONSTRAINT {name};"


def _place(facts: Facts, constraint: Constraint) -> int:
    """The statement that waits: a validation where that is another one than the one that adds it."""
    statements = facts.plan.statements
    places = [place for place, statement in enumerate(statements) if constraint.name.lower() in statement.sql.lower()]
    return places[-1] if places else facts.statement_about(constraint.table)


def _check(facts: Facts, oid: int, constraint: Constraint) -> t.Iterator[Finding]:
    new = [number for number in constraint.columns if (constraint.table, number) not in facts.before.columns]
    live = facts.live(constraint.table)
    seconds = _estimates.scan(live)
    level = _estimates.lock_level(seconds, live)
    level = min(level, Level.LOW) if _in_two_steps(facts, constraint) else level
    statement = "(after the column is there) " * bool(new) + _validated_beforehand(facts, constraint)
    yield facts.finding(
        "constraint-missing-not-valid",
        level,
        "check constraint " + _name(constraint, facts),
        _place(facts, constraint),
        constraint.table,
        None if _in_two_steps(facts, constraint) else seconds,
        (oid,),
        instead=statement,
    )


def _foreign_key(facts: Facts, oid: int, constraint: Constraint) -> t.Iterator[Finding]:
    own, other = facts.live(constraint.table), facts.live(constraint.references)
    seconds = 2 * _estimates.scan(own)  # each row is looked up in the other table's index
    lock = "ShareRowExclusiveLock"
    level = _estimates.lock_level(seconds, own, lock)
    if other and not facts.is_empty(constraint.table):
        level = max(level, _estimates.lock_level(seconds, other, lock))
    two_steps = _in_two_steps(facts, constraint)
    references = facts.name_of(constraint.references)
    yield facts.finding(
        "adding-foreign-key-constraint",
        min(level, Level.LOW) if two_steps else level,
        "foreign key %s to %s" % (_name(constraint, facts), references),
        _place(facts, constraint),
        constraint.table,
        None if two_steps else seconds,
        (oid,),
        instead=_validated_beforehand(facts, constraint),
    )
    if not _has_index(facts, constraint):
        names = ", ".join(quoted(name) for name in facts.after.names(constraint.table, constraint.columns))
        table = facts.before.relations[constraint.table].name
        yield facts.finding(
            "foreign-key-without-index",
            Level.NONE if facts.is_empty(constraint.table) else Level.LOW,
            "foreign key " + _name(constraint, facts),
            _place(facts, constraint),
            constraint.table,
            instead="CREATE INDEX CONCURRENTLY ON %s (%s);" % (table, names),
            references=references,
        )


def _has_index(facts: Facts, constraint: Constraint) -> bool:
    wanted = set(constraint.columns)
    return any(
        index.table == constraint.table and not index.predicate and set(index.columns[: len(wanted)]) == wanted
        for index in facts.after.indexes.values()
    )


def _with_index(facts: Facts, oid: int, constraint: Constraint) -> Finding:
    """Unique, primary key, exclusion: made with an index, unless that was there already (``USING INDEX`` renames it, its file stays)."""
    live = facts.live(constraint.table)
    place = _place(facts, constraint)
    said = facts.plan.statements[place].sql if place != NOWHERE else ""
    ready = constraint.index in facts.before.indexes or facts.keeps_file(constraint.index) or bool(_USING_INDEX.search(said))
    seconds = 0.0 if ready else _estimates.build_index(live)
    rule = {"p": "adding-primary-key", "u": "disallowed-unique-constraint", "x": "adding-exclusion-constraint"}[constraint.kind]
    table = facts.before.relations[constraint.table].name
    names = ", ".join(quoted(name) for name in facts.after.names(constraint.table, constraint.columns))
    kind = "PRIMARY KEY" if constraint.kind == "p" else "UNIQUE"
    statement = "CREATE UNIQUE INDEX CONCURRENTLY {0} ON {1} ({2}); ALTER TABLE {1} ADD CONSTRAINT {0} {3} USING INDEX {0};".format(
        quoted(constraint.name), table, names, kind
    )
    level = _estimates.lock_level(seconds, live)
    what = {"p": "primary key ", "u": "unique constraint ", "x": "exclusion constraint "}[constraint.kind] + _name(constraint, facts)
    return facts.finding(
        rule, level, what, _place(facts, constraint), constraint.table, None if ready else seconds, (oid,), instead=statement
    )


# --- indexes ----------------------------------------------------------------------------------------------------------------


def indexes(facts: Facts) -> t.Iterator[Finding]:
    of_constraints = {constraint.index for constraint in facts.after.constraints.values()}
    for oid, index in facts.after.indexes.items():
        if facts.was(index.table) is None or oid in of_constraints:
            continue
        before = facts.before.indexes.get(oid)
        known = any(other.name == index.name for other in facts.before.indexes.values())
        if facts.keeps_file(oid) or (known and facts.changes_type(index.table, index.columns)):
            continue
        if before is None:
            yield _new_index(facts, oid, index)
        elif not facts.rewritten(index.table) and not _truncated(facts, index.table):
            yield _rebuilt_index(facts, index)


def _truncated(facts: Facts, table: int) -> bool:
    """Its file is another one too: truncated, clustered or moved, which is said of the table."""
    return facts.before.relations[table].file != facts.after.relations[table].file


def _new_index(facts: Facts, oid: int, index: Index) -> Finding:
    live = facts.live(index.table)
    place = facts.statement_creating("index", index.name)
    place = facts.statement_about(index.table, last_part(index.name)) if place == NOWHERE else place
    lock = facts.held(place, index.table)
    beside = place != NOWHERE and not lock  # CONCURRENTLY holds none that keeps writers waiting
    seconds = _estimates.build_index(live)
    level = Level.NONE if beside else _estimates.lock_level(seconds, live, lock or "ShareLock")
    statement = re.sub(r"^CREATE (UNIQUE )?INDEX ", r"CREATE \1INDEX CONCURRENTLY ", index.definition) + ";"
    what = "%sindex %s" % ("unique " * index.unique, index.name)
    return facts.finding(
        "require-concurrent-index-creation", level, what, place, index.table, None if beside else seconds, (oid,), instead=statement
    )


def _rebuilt_index(facts: Facts, index: Index) -> Finding:
    live = facts.live(index.table)
    place = facts.statement_saying("reindex", last_part(index.name))
    if place == NOWHERE:
        place = facts.statement_saying("reindex", last_part(facts.before.relations[index.table].name))
    beside = place != NOWHERE and "concurrently" in facts.plan.statements[place].sql.lower() and not facts.held(place, index.table)
    seconds = _estimates.build_index(live)
    level = Level.NONE if beside else _estimates.lock_level(seconds, live)
    return facts.finding(
        "rebuilding-index",
        level,
        "index " + index.name,
        place,
        index.table,
        None if beside else seconds,
        instead="REINDEX INDEX CONCURRENTLY %s;" % index.name,
    )
