# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a table's work takes, and what that means for those who use it. The rates are those of a small server; ``docs/risks.md`` says so.

A rehearsal measures instead.
"""

from __future__ import annotations

from ansible_collections.dbops.postgres.plugins.module_utils.risk._rules import Level
from ansible_collections.dbops.postgres.plugins.module_utils.server._activity import Activity

_MB = 1024.0 * 1024.0

#: Bytes a second: reading every row; writing it anew; building an index (of the table's bytes); changing rows where they lie.
SCANNED, REWRITTEN, INDEXED, UPDATED = 200 * _MB, 40 * _MB, 40 * _MB, 20 * _MB

#: Seconds up to which nobody notices, from which on everybody does, and for which nobody knows who will come.
SHORT, LONG, VERY_LONG = 1.0, 10.0, 60.0

#: Statements that have queued up from which on an application runs out of connections.
_QUEUE = 100

#: What readers do not wait for.
READERS_PASS = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock")


def scan(table: Activity | None) -> float:
    return table.size / SCANNED if table else 0.0


def rewrite(table: Activity | None) -> float:
    return (table.size + table.toast) / REWRITTEN + table.indexes / INDEXED if table else 0.0


def build_index(table: Activity | None) -> float:
    return table.size / INDEXED if table else 0.0


def update(table: Activity | None) -> float:
    return table.whole / UPDATED if table else 0.0


def waiting_rate(table: Activity, lock: str) -> float | None:
    """Statements a second that a lock keeps waiting, ``None`` where that is not known."""
    if table.reads is None or table.writes is None:
        return None
    return table.writes if lock in READERS_PASS else table.reads + table.writes


def lock_level(seconds: float, table: Activity | None, lock: str = "AccessExclusiveLock") -> Level:
    """What a lock of some seconds is on this very table: nothing on an empty one, much on a busy one."""
    if table is None:
        return Level.MEDIUM
    if table.empty:
        return Level.NONE
    if seconds < SHORT:
        return Level.LOW
    rate = waiting_rate(table, lock)
    if seconds >= LONG:
        return Level.MEDIUM if rate == 0 and seconds < VERY_LONG else Level.HIGH
    if rate == 0:
        return Level.LOW
    return Level.HIGH if rate is not None and rate * seconds >= _QUEUE else Level.MEDIUM
