# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which table is locked how strongly, from which statement to which: a lock stays to the end of its transaction
(https://www.postgresql.org/docs/current/explicit-locking.html), so what comes after it counts against it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.risk import _estimates
from ansible_collections.dbops.postgres.plugins.module_utils.risk._facts import Facts, Finding
from ansible_collections.dbops.postgres.plugins.module_utils.risk._measured import Measured
from ansible_collections.dbops.postgres.plugins.module_utils.risk._rules import Level
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._observation import STRONG_LOCKS


@dataclass(frozen=True)
class HeldLock:
    """The strongest lock on a table that was there before, over the statements ``first`` to ``last`` of one transaction.

    ``seconds``: an estimate unless ``measured``; ``waiting``: statements a second that would wait for it, ``None`` where that is not known.
    """

    table: str
    lock: str
    first: int
    last: int
    seconds: float
    waiting: float | None
    level: Level
    measured: bool = False


def held_locks(facts: Facts, findings: t.Sequence[Finding], measured: Measured | None = None) -> list[HeldLock]:
    """The worst first."""
    costs = _costs(findings)
    found = []
    for places in _transactions(facts):
        for oid in sorted({oid for place in places for oid in facts.plan.statements[place].held}):
            if facts.was(oid) is not None:
                found.append(_held(facts, oid, places, costs, measured))
    return sorted(found, key=lambda lock: (-lock.level, -lock.seconds, lock.table))


def _transactions(facts: Facts) -> list[list[int]]:
    """The places of the statements of each transaction."""
    found: dict[int, list[int]] = {}
    for place, statement in enumerate(facts.plan.statements):
        found.setdefault(statement.transaction, []).append(place)
    return list(found.values())


def _costs(findings: t.Sequence[Finding]) -> dict[int, float]:
    """Seconds of each statement. What reads or writes the same table in one statement does so once: the longest counts."""
    longest: dict[tuple[int, str], float] = {}
    for finding in findings:
        key = (finding.statement, finding.table)
        longest[key] = max(longest.get(key, 0.0), finding.seconds or 0.0)
    costs: dict[int, float] = {}
    for (place, _table), seconds in longest.items():
        costs[place] = costs.get(place, 0.0) + seconds
    return costs


def _held(facts: Facts, oid: int, places: t.Sequence[int], costs: t.Mapping[int, float], measured: Measured | None) -> HeldLock:
    statements, name = facts.plan.statements, facts.before.relations[oid].name
    first = next(place for place in places if oid in statements[place].held)
    lock = max((statements[place].held[oid] for place in places if oid in statements[place].held), key=STRONG_LOCKS.index)
    under = [place for place in places if place >= first]
    known = [measured.of(place) for place in under] if measured else [None]
    seconds = sum(costs.get(place, 0.0) for place in under)
    if measured:
        seconds = sum(filter(None, known)) if None not in known else seconds
        seconds = max(seconds, measured.locks.get(name, 0.0))
    live = facts.live(oid)
    waiting = _estimates.waiting_rate(live, lock) if live else None
    level = _estimates.lock_level(seconds, live, lock)
    return HeldLock(name, lock, first, places[-1], seconds, waiting, level, None not in known)
