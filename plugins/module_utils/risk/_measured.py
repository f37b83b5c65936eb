# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a rehearsal has measured, in the place of what was estimated."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.dbops.postgres.plugins.module_utils.risk import _estimates
from ansible_collections.dbops.postgres.plugins.module_utils.risk._facts import NOWHERE, Facts, Finding
from ansible_collections.dbops.postgres.plugins.module_utils.server._activity import Activity


@dataclass(frozen=True)
class Measured:
    """Seconds of each statement of the plan, ``None`` where one was not measured; of the longest time that each table was locked, by its name;
    ``backup``: on whose rows."""

    backup: str
    statements: tuple[float | None, ...] = ()
    locks: dict[str, float] = field(default_factory=dict)

    def of(self, statement: int) -> float | None:
        return self.statements[statement] if 0 <= statement < len(self.statements) else None


#: Rules whose level is not by the time alone: what is measured may make it worse, but not better.
_NOT_BY_TIME = frozenset(
    ("changing-time-zone-type", "narrowing-column-type", "changing-persistence", "rewriting-table", "update-without-limit")
)

#: Rules that leave open what no look at the rows could tell, nor that it went through.
_NOT_BY_ROWS = frozenset(("rewriting-table", "unseen-writes"))


def put_in(findings: t.Sequence[Finding], facts: Facts, measured: Measured) -> list[Finding]:
    """Where a statement takes long enough for somebody to wait, what it took; a level that stood on the estimate stands on that now.

    What only a rehearsal could tell, this one has told.
    """
    return [_settled(_timed(finding, facts, measured), measured) for finding in findings]


def _timed(finding: Finding, facts: Facts, measured: Measured) -> Finding:
    seconds = measured.of(finding.statement) if finding.statement != NOWHERE else None
    if finding.seconds is None or seconds is None:
        return finding
    level = _level(finding, facts.tables.get(finding.table), seconds)
    return replace(finding, seconds=seconds, measured=True, level=max(level, finding.level) if finding.rule in _NOT_BY_TIME else level)


def _level(finding: Finding, live: Activity | None, seconds: float) -> t.Any:
    for lock in ("AccessExclusiveLock", "ShareLock"):
        if finding.level == _estimates.lock_level(finding.seconds or 0.0, live, lock):
            return _estimates.lock_level(seconds, live, lock)
    return finding.level


def _settled(finding: Finding, measured: Measured) -> Finding:
    asked = finding.unknown or (finding.subject and not finding.evidence)
    if not asked or finding.rule in _NOT_BY_ROWS:
        return finding
    return replace(finding, unknown="", evidence="It went through on the rows of backup '%s'." % measured.backup)
