# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""After a migration: what is left to do, what was really locked, and whether what it does not touch is as it was."""

from __future__ import annotations

import typing as t
from dataclasses import asdict, dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.operation._watched_run import Watched
from ansible_collections.dbops.postgres.plugins.module_utils.operations._planning import Planned
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._observation import STRONG_LOCKS
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import Plan
from ansible_collections.dbops.postgres.plugins.module_utils.server import _vitals
from ansible_collections.dbops.postgres.plugins.module_utils.server._function_paths import in_force
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import attempt, execute, rows, sql
from ansible_collections.dbops.postgres.plugins.module_utils.server._sequences import read_sequences
from ansible_collections.dbops.postgres.plugins.module_utils.server._statements import without_literals
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import duration_text

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: Seconds below which the watch over a runner sees little.
_SEEN = 0.1

_NAMES = """
SELECT c.oid::bigint, quote_ident(n.nspname) || '.' || quote_ident(c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'm')
"""

#: Since 18 one may also be NOT ENFORCED, which nobody can validate.
_UNVALIDATED = """
SELECT format('ALTER TABLE %s VALIDATE CONSTRAINT %I;', k.conrelid::regclass, k.conname)
FROM pg_constraint k
WHERE NOT k.convalidated AND k.conrelid <> 0 AND coalesce((to_jsonb(k) ->> 'conenforced')::bool, true) ORDER BY 1
"""


@dataclass(frozen=True)
class Before:
    """The live database before the migration: where its sequences stood (``None``: not known), and its tables by oid."""

    sequences: dict[str, int | None] | None
    names: dict[int, str]


@dataclass(frozen=True)
class ReallyHeld:
    """The strongest lock that the runner really had on a table, for how long at a stretch, and what the plan had said; seconds."""

    table: str
    lock: str
    seconds: float
    planned: float | None


@dataclass(frozen=True)
class Afterwards:
    """``again``: whether a second run would change something, ``settled``: that it would not, and ends well; ``unvalidated``, ``to_analyze``:
    statements that are left to do; ``sequences``: sentences about those that stand lower than before; ``slowest``: seconds and text."""

    again: bool
    settled: bool
    invalid_indexes: tuple[str, ...]
    unvalidated: tuple[str, ...]
    analyzed: tuple[str, ...]
    to_analyze: tuple[str, ...]
    sequences: tuple[str, ...]
    slowest: tuple[float, str]
    locks: tuple[ReallyHeld, ...]
    waiting: int | None
    waited: float

    def facts(self) -> dict[str, t.Any]:
        """Seconds; ``waited``: of all sessions together."""
        return {
            "again": self.again,
            "settled": self.settled,
            "invalid_indexes": list(self.invalid_indexes),
            "unvalidated": list(self.unvalidated),
            "analyzed": list(self.analyzed),
            "to_analyze": list(self.to_analyze),
            "sequences": list(self.sequences),
            "slowest": {"seconds": round(self.slowest[0], 2), "sql": self.slowest[1]},
            "locks": [asdict(lock) for lock in self.locks],
            "queue": {"sessions": self.waiting, "seconds": round(self.waited, 2) if self.waiting is not None else None},
        }

    def journal(self) -> dict[str, t.Any]:
        longest = max((lock.seconds for lock in self.locks), default=0.0)
        return {"lock_seconds": longest, "waited_seconds": None if self.waiting is None else round(self.waited, 2)}

    def lines(self) -> list[str]:
        """For a person: what was found in order in half a sentence, what is left to do with its statement."""
        told = ["Schema, owners and grants are the planned ones%s." % ("; a second run would change nothing" if self.settled else "")]
        if self.slowest[0] >= _SEEN:
            told.append("The slowest statement took %s: %s" % (duration_text(self.slowest[0]), self.slowest[1][:150]))
        told += ["Locked: %s." % "; ".join(map(_lock_text, self.locks[:5]))] if self.locks else []
        told.append("Sessions that waited behind it: %s." % _queue_text(self.waiting, self.waited))
        told += ["Analyzed after it: %s." % ", ".join(self.analyzed)] if self.analyzed else []
        drops = ["DROP INDEX CONCURRENTLY %s; (it is invalid, and serves nobody)" % name for name in self.invalid_indexes]
        told += ["Still to do: %s" % statement for statement in (*drops, *self.to_analyze, *self.unvalidated)]
        return told + list(self.sequences)


def _lock_text(lock: ReallyHeld) -> str:
    planned = "" if lock.planned is None else ", planned were %s" % duration_text(lock.planned)
    return "table %s with %s for %s%s" % (lock.table, lock.lock, duration_text(lock.seconds), planned)


def _queue_text(sessions: int | None, seconds: float) -> str:
    if sessions is None:
        return "not known, since the role may not see what others are at (it needs pg_read_all_stats)"
    return "none was seen" if not sessions else "at most %d at a time, %s of all of them together" % (sessions, duration_text(seconds))


def state_before(operation: Operation) -> Before:
    with operation.session(read_only=True) as connection:
        return Before(read_sequences(connection), dict(rows(connection, _NAMES)))


def look_afterwards(operation: Operation, planned: Planned, watched: Watched, before: Before, analyze: bool) -> Afterwards:
    """What is to be known once the schema is the planned one and the backends are well; what is wrong becomes a warning as well."""
    operation.enter("migrate: look again")
    wanted = needs_analyze(planned.plan)
    analyzed: list[str] = []
    with operation.session() as connection:
        if analyze and wanted:
            execute(connection, "SET lock_timeout = '5s'")
            execute(connection, "SET statement_timeout = '5min'")
            with in_force(connection):  # an index may call functions that name no schema
                analyzed = [name for name in wanted if _analyze(connection, name)]
        unvalidated = [statement for (statement,) in rows(connection, _UNVALIDATED)]
        invalid = _vitals.invalid_indexes(connection)
        sequences = _gone_back(before.sequences, read_sequences(connection), planned.plan)
    if planned.plan.again:
        operation.warnings.append("A second run of the migration would change something again: its runner is never content.")
    operation.warnings += sequences
    seconds, text = watched.slowest
    return Afterwards(
        again=bool(planned.plan.again),
        settled=planned.plan.settled,
        invalid_indexes=tuple(invalid),
        unvalidated=tuple(unvalidated),
        analyzed=tuple(analyzed),
        to_analyze=tuple("ANALYZE %s;" % name for name in wanted if name not in analyzed),
        sequences=tuple(sequences),
        slowest=(seconds, " ".join(without_literals(text).split())),
        locks=tuple(_really_held(watched, before.names, planned)),
        waiting=watched.queue.most if watched.sees_others else None,
        waited=watched.queue.seconds,
    )


def _analyze(connection: Connection, table: str) -> bool:
    """Whether it was done: a table that the role may not analyze is passed over with no more than a warning."""
    del connection.notices[:]
    return not attempt(connection, sql.SQL("ANALYZE {}").format(sql.SQL(table))) and not any(
        "skipping" in said for said in connection.notices
    )


def needs_analyze(plan: Plan) -> list[str]:
    """Tables that are written anew, whose columns change their type, or that get an index over an expression: the planner knows nothing of
    what is in there (https://www.postgresql.org/docs/current/sql-altertable.html, "Notes")."""
    before, after = plan.objects
    found = {oid for oid, relation in after.relations.items() if oid in before.relations and before.relations[oid].file != relation.file}
    found |= {table for (table, number), column in after.columns.items() if _other_type(before.columns.get((table, number)), column)}
    found |= {index.table for oid, index in after.indexes.items() if oid not in before.indexes and 0 in index.columns}
    there = [after.relations[oid] for oid in found if oid in before.relations and oid in after.relations]
    return sorted(relation.name for relation in there if relation.kind in "rpm")


def _other_type(before: t.Any, after: t.Any) -> bool:
    return before is not None and before.type != after.type


def _gone_back(before: t.Mapping[str, int | None] | None, after: t.Mapping[str, int | None] | None, plan: Plan) -> list[str]:
    """Sequences that stand lower than before, though the plan writes nothing into them: they would give out numbers again."""
    if before is None or after is None:
        return []
    if any("sequence" in statement.sql.lower() or "setval" in statement.sql.lower() for statement in plan.statements):
        return []
    lower = [name for name, number in before.items() if name in after and (after[name] or 0) < (number or 0) and (number or 0) > 0]
    return ["Sequence %s stands at %s, before the migration it was %s." % (name, after[name], before[name]) for name in lower]


def _really_held(watched: Watched, names: t.Mapping[int, str], planned: Planned) -> list[ReallyHeld]:
    """By table, the longest first."""
    spans: dict[str, list[t.Any]] = {}
    for span in watched.locks:
        if span.table in names:
            spans.setdefault(names[span.table], []).append(span)
    said: dict[str, float] = {}
    for lock in planned.assessment.locks:
        said[lock.table] = max(said.get(lock.table, 0.0), lock.seconds)
    found = [
        ReallyHeld(
            table,
            max((span.what for span in seen), key=STRONG_LOCKS.index),
            round(max(span.seconds for span in seen), 2),
            round(said[table], 2) if table in said else None,
        )
        for table, seen in spans.items()
    ]
    return sorted(found, key=lambda held: (-held.seconds, held.table))
