# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What happens to whole tables: persistence, place, partitions, row-level security, triggers, numbers that run out."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ansible_collections.dbops.postgres.plugins.module_utils.risk import _estimates
from ansible_collections.dbops.postgres.plugins.module_utils.risk._dropped import describe
from ansible_collections.dbops.postgres.plugins.module_utils.risk._facts import NOWHERE, Facts, Finding, quoted
from ansible_collections.dbops.postgres.plugins.module_utils.risk._rules import Level
from ansible_collections.dbops.postgres.plugins.module_utils.server._objects import Relation

#: Share of its numbers that a sequence has used from which on its end is near, and very near.
NEAR, VERY_NEAR = 0.5, 0.8


def tables(facts: Facts) -> t.Iterator[Finding]:
    for oid, before in facts.before.relations.items():
        after = facts.after.relations.get(oid)
        if after is None:
            continue
        yield from _rewritten_otherwise(facts, oid, before, after)
        yield from _partitions(facts, oid, before, after)
        if after.row_security and not before.row_security:
            yield _row_security(facts, oid, after)
    yield from _triggers(facts)


def _rewritten_otherwise(facts: Facts, oid: int, before: Relation, after: Relation) -> t.Iterator[Finding]:
    live = facts.live(oid)
    seconds = _estimates.rewrite(live)
    if before.persistence != after.persistence:
        level = max(_estimates.lock_level(seconds, live), Level.LOW if facts.is_empty(oid) else Level.MEDIUM)
        word = "unlogged" if after.persistence == "u" else "logged"
        yield facts.finding(
            "changing-persistence", level, "%s (now %s)" % (describe(before), word), facts.statement_about(oid, word), oid, seconds
        )
    if before.tablespace != after.tablespace:
        level = _estimates.lock_level(seconds, live)
        yield facts.finding("moving-tablespace", level, describe(before), facts.statement_about(oid, "tablespace"), oid, seconds)


def _partitions(facts: Facts, oid: int, before: Relation, after: Relation) -> t.Iterator[Finding]:
    if after.partition_of and not before.partition_of:
        live = facts.live(oid)
        seconds = _estimates.scan(live)
        place = facts.statement_about(after.partition_of, "attach")
        yield facts.finding("attaching-partition", _estimates.lock_level(seconds, live), describe(before), place, oid, seconds)
    if before.partition_of and not after.partition_of:
        place = facts.statement_about(before.partition_of, "detach")
        beside = place != NOWHERE and not facts.held(place, before.partition_of)
        statement = "ALTER TABLE %s DETACH PARTITION %s CONCURRENTLY;" % (facts.name_of(before.partition_of), before.name)
        level = Level.LOW if facts.is_empty(oid) or beside else Level.MEDIUM
        yield facts.finding("detaching-partition", level, describe(before), place, oid, instead=statement)


def _row_security(facts: Facts, oid: int, relation: Relation) -> Finding:
    some = any(key.startswith("policy ") and key.endswith(" on " + relation.name) for key in facts.plan.after)
    level = Level.MEDIUM if some else Level.HIGH
    return facts.finding("enabling-row-level-security", level, describe(relation), facts.statement_about(oid, "row", "level"), oid)


def _triggers(facts: Facts) -> t.Iterator[Finding]:
    for oid, trigger in facts.before.triggers.items():
        if oid not in facts.after.triggers and trigger.table in facts.after.relations:
            what = "trigger %s of %s" % (quoted(trigger.name), facts.name_of(trigger.table))
            kept = any((other.table, other.name) == (trigger.table, trigger.name) for other in facts.after.triggers.values())
            level = Level.LOW if kept or facts.is_empty(trigger.table) else Level.MEDIUM
            yield facts.finding("trigger-disabled", level, what, facts.statement_saying("drop", trigger.name), trigger.table)
    for oid, trigger in facts.after.triggers.items():
        relation = facts.was(trigger.table)
        if relation is None:
            continue
        before = facts.before.triggers.get(oid)
        what = "trigger %s of %s" % (quoted(trigger.name), relation.name)
        place = facts.statement_about(trigger.table, trigger.name)
        if before is None:
            yield facts.finding("trigger-added", Level.LOW, what, place, trigger.table)
        elif before.enabled != trigger.enabled and trigger.enabled == "D":
            level = Level.LOW if facts.is_empty(trigger.table) else Level.MEDIUM
            yield facts.finding("trigger-disabled", level, what, facts.statement_about(trigger.table, "disable"), trigger.table)


#: Rules that say what a table is written anew for.
_EXPLAINS = frozenset(
    ("changing-column-type", "narrowing-column-type", "changing-time-zone-type", "adding-field-with-volatile-default")
    + ("adding-stored-generated-column", "adding-serial-field", "changing-persistence", "moving-tablespace", "prefer-repack")
)


def unexplained_rewrites(facts: Facts, found: t.Sequence[Finding]) -> t.Iterator[Finding]:
    """The server has written a table anew, and the catalogue does not show for what: values may have become others."""
    explained = {finding.table for finding in found if finding.rule in _EXPLAINS}
    for oid, relation in facts.before.relations.items():
        if not facts.rewritten(oid) or relation.name in explained or oid not in facts.after.relations:
            continue
        live = facts.live(oid)
        seconds = _estimates.rewrite(live)
        place = next((at for at, item in enumerate(facts.plan.statements) if relation.name in item.rewrites), NOWHERE)
        level = Level.NONE if facts.is_empty(oid) else max(_estimates.lock_level(seconds, live), Level.MEDIUM)
        finding = facts.finding("rewriting-table", level, describe(relation), place, oid, seconds)
        yield replace(finding, unknown="what becomes of the values cannot be seen") if level > Level.NONE else finding


def numbers(facts: Facts, used: t.Mapping[str, tuple[int, int]]) -> t.Iterator[Finding]:
    """Of tables that the plan touches. ``used``: of each sequence, by full name, where it stands and where it ends."""
    for oid, relation in facts.before.relations.items():
        last, limit = used.get(relation.name, (0, 0))
        if relation.kind != "S" or not limit or last / limit < NEAR:
            continue
        place = facts.statement_about(relation.owned_by) if relation.owned_by in facts.before.relations else NOWHERE
        if place != NOWHERE:
            level = Level.HIGH if last / limit >= VERY_NEAR else Level.MEDIUM
            what = "%s (%d of %d numbers used)" % (describe(facts.before.relations[oid]), last, limit)
            yield facts.finding("prefer-bigint-over-int", level, what, place, relation.owned_by)
