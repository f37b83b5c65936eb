# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How large the tables are and how much goes on in them: sizes from the catalogue, rates from two looks at the statistics.

https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ALL-TABLES-VIEW. Sizes are those of the last VACUUM or
ANALYZE, since the functions that measure one wait for its table's lock.
"""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import rows, sql

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: Two looks that are nearer to each other say nothing of a rate; the server may publish statistics only every second.
LEAST_SECONDS = 1.0

_TABLES = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind::text,
    greatest(c.reltuples, 0)::bigint, coalesce(s.n_live_tup, 0), c.relpages = 0 AND coalesce(s.n_live_tup, 0) = 0 AND coalesce(s.n_tup_ins, 0) = 0,
    c.relpages::bigint * current_setting('block_size')::bigint,
    coalesce((SELECT t.relpages::bigint FROM pg_class t WHERE t.oid = c.reltoastrelid), 0) * current_setting('block_size')::bigint,
    coalesce((SELECT sum(x.relpages::bigint) FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = c.oid), 0)::bigint
        * current_setting('block_size')::bigint,
    coalesce(s.seq_scan, 0) + coalesce(s.idx_scan, 0), coalesce(s.n_tup_ins, 0) + coalesce(s.n_tup_upd, 0) + coalesce(s.n_tup_del, 0),
    ARRAY(SELECT quote_ident(m.nspname) || '.' || quote_ident(q.relname) FROM pg_inherits p JOIN pg_class q ON q.oid = p.inhparent
        JOIN pg_namespace m ON m.oid = q.relnamespace WHERE p.inhrelid = c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
"""

#: The same of one table, measured: waits for no more than somebody's AccessExclusiveLock, for which the session has a limit.
_MEASURED = """
SELECT coalesce(sum(pg_relation_size(r.oid)), 0)::bigint, coalesce(sum(pg_table_size(r.oid) - pg_relation_size(r.oid)), 0)::bigint,
    coalesce(sum(pg_indexes_size(r.oid)), 0)::bigint
FROM (SELECT relid::oid AS oid FROM pg_partition_tree(%s::regclass) UNION SELECT %s::regclass::oid) r
"""

#: Seconds since the statistics of the database began.
_SINCE = """
SELECT extract(epoch FROM clock_timestamp() - coalesce(stats_reset, pg_postmaster_start_time()))::float8 FROM pg_stat_database
WHERE datname = current_database()
"""


@dataclass(frozen=True)
class Activity:
    """One table of the live database. Bytes of the table itself, of what it keeps aside (TOAST), of its indexes.

    ``reads``, ``writes``: scans begun and rows written per second, ``None`` where that is not known.
    """

    name: str
    rows: int = 0
    empty: bool = False
    size: int = 0
    toast: int = 0
    indexes: int = 0
    reads: float | None = None
    writes: float | None = None

    @property
    def whole(self) -> int:
        return self.size + self.toast + self.indexes


@dataclass(frozen=True)
class Look:
    """The counters at one moment (``at``: of a steady clock, seconds): ``{table: (scans, rows written)}``, and the tables without rates."""

    at: float
    tables: dict[str, Activity]
    counters: dict[str, tuple[int, int]]
    since: float | None = None


def look(connection: Connection, now: t.Callable[[], float] = time.monotonic) -> Look:
    """A partitioned table has the sum of its partitions."""
    tables: dict[str, Activity] = {}
    counters: dict[str, tuple[int, int]] = {}
    parents: dict[str, list[str]] = {}
    for name, _kind, tuples, live, empty, size, toast, indexes, scans, written, above in rows(connection, _TABLES):
        tables[name] = Activity(name, max(tuples, live), empty, size, toast, indexes)
        counters[name] = (scans, written)
        parents[name] = list(above)
    alone, counted = dict(tables), dict(counters)
    for name in sorted(parents):
        for ancestor in _ancestors(name, parents):
            tables[ancestor] = _sum(tables[ancestor], alone[name])
            counters[ancestor] = (counters[ancestor][0] + counted[name][0], counters[ancestor][1] + counted[name][1])
    since = rows(connection, _SINCE)
    return Look(now(), tables, counters, since[0][0] if since else None)


def measured(connection: Connection, table: Activity) -> Activity:
    """With the bytes that it has now, and whether it has any row at all.

    :raises ServerError: where somebody holds it locked, or it cannot be read.
    """
    [(size, aside, indexes)] = rows(connection, _MEASURED, (table.name, table.name))
    [(some,)] = rows(connection, sql.SQL("SELECT EXISTS (SELECT 1 FROM {})").format(sql.SQL(table.name)))
    return replace(table, size=size, toast=aside, indexes=indexes, empty=not some, rows=table.rows if some else 0)


def _ancestors(name: str, parents: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    found: list[str] = []
    for parent in parents.get(name, ()):
        if parent in parents and parent not in found:
            found += [parent, *_ancestors(parent, parents)]
    return list(dict.fromkeys(found))


def _sum(whole: Activity, part: Activity) -> Activity:
    return Activity(
        whole.name,
        whole.rows + part.rows,
        whole.empty and part.empty,
        whole.size + part.size,
        whole.toast + part.toast,
        whole.indexes + part.indexes,
    )


def activity(first: Look, second: Look) -> dict[str, Activity]:
    """The tables as the second look saw them, with what went on between the two; unknown where they are too near, or the statistics began
    anew meanwhile."""
    seconds = second.at - first.at
    found = {}
    for name, table in second.tables.items():
        before, after = first.counters.get(name), second.counters[name]
        known = before is not None and seconds >= LEAST_SECONDS and after[0] >= before[0] and after[1] >= before[1]
        reads, writes = ((after[0] - before[0]) / seconds, (after[1] - before[1]) / seconds) if known and before else (None, None)
        found[name] = replace(table, reads=reads, writes=writes)
    return found
