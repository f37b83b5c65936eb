# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The vital signs of a server and of a database, read from the server's own views. Only facts: what is good or bad, ``_health`` says.

https://www.postgresql.org/docs/current/monitoring-stats.html, https://www.postgresql.org/docs/current/routine-vacuuming.html
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import execute, row, rows, value

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: Most of each kind that are listed: a page has to stay readable.
_MOST = 50

#: Our own sessions are no part of the state.
_OTHERS = "backend_type = 'client backend' AND application_name NOT LIKE 'dbops %%'"


@dataclass(frozen=True)
class Connections:
    """Client sessions, and how many there may be: ``by`` says whether the ``server`` or the ``database`` sets the limit."""

    used: int
    limit: int
    by: str


@dataclass(frozen=True)
class Transaction:
    """An open transaction; ``pid`` is 0 for a prepared one, whose name is ``application`` then."""

    pid: int
    user: str
    application: str
    client: str
    state: str
    seconds: float


@dataclass(frozen=True)
class Wait:
    """A session that waits for a lock, and the server processes that it waits for (0: a prepared transaction)."""

    pid: int
    application: str
    seconds: float
    blockers: tuple[int, ...]


@dataclass(frozen=True)
class Slot:
    """A replication slot. ``held``: bytes of WAL that the server keeps for it; ``wal_status`` as pg_replication_slots has it."""

    name: str
    active: bool
    wal_status: str
    held: int


@dataclass(frozen=True)
class Table:
    """A table past the point at which autovacuum starts: dead rows and that point, age in transactions and the forced one's.

    ``vacuumed``: seconds since the last VACUUM of either kind, ``None`` where there was none since the statistics began.
    """

    name: str
    dead: int
    threshold: int
    age: int
    forced_age: int
    autovacuum: bool
    vacuumed: float | None


@dataclass(frozen=True)
class Sequence:
    """A sequence that counts upwards; ``limit`` is its own or its column's, whichever is lower."""

    name: str
    last: int
    limit: int


@dataclass(frozen=True)
class Age:
    """How far the oldest database of the server is from a wraparound of ``kind`` (transaction ids, multixact ids).

    ``forced``: from here on autovacuum works against it; ``failsafe``: from here on in a hurry.
    """

    kind: str
    database: str
    age: int
    forced: int
    failsafe: int


@dataclass(frozen=True)
class Collations:
    """What the operating system's collations were when the database was made, and are now; ``others``: collations in use that differ too."""

    recorded: str
    actual: str
    others: int


def set_limit(connection: Connection) -> None:
    """Whoever looks does not wait longer than this for any one answer."""
    execute(connection, "SET statement_timeout = '10s'")


def uptime(connection: Connection) -> float:
    """Seconds."""
    return float(value(connection, "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8"))


def connections(connection: Connection, database: str) -> Connections:
    """The one of the two limits that is nearer. What is reserved for superusers is not counted as free."""
    server_used, server_limit, used, limit = row(
        connection,
        "SELECT count(*), current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
        " - coalesce(current_setting('reserved_connections', true), '0')::int,"
        " count(*) FILTER (WHERE datname = %s), coalesce((SELECT datconnlimit FROM pg_database WHERE datname = %s), -1)"
        " FROM pg_stat_activity WHERE " + _OTHERS,
        (database, database),
    )
    if limit >= 0 and used * server_limit >= server_used * limit:
        return Connections(used, limit, "database")
    return Connections(server_used, server_limit, "server")


def longest_transaction(connection: Connection, database: str) -> Transaction | None:
    """The oldest open or prepared transaction in a database, which keeps VACUUM and every migration back."""
    found = rows(
        connection,
        "SELECT pid, coalesce(usename, ''), coalesce(application_name, ''), coalesce(host(client_addr), ''), coalesce(state, ''),"
        " extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds"
        " FROM pg_stat_activity WHERE datname = %s AND xact_start IS NOT NULL AND " + _OTHERS + " UNION ALL"
        " SELECT 0, owner, gid, '', 'prepared', extract(epoch FROM clock_timestamp() - prepared)::float8"
        " FROM pg_prepared_xacts WHERE database = %s ORDER BY seconds DESC LIMIT 1",
        (database, database),
    )
    return Transaction(*found[0]) if found else None


def waits(connection: Connection, database: str) -> list[Wait]:
    """The sessions in a database that wait for a lock, the longest wait first."""
    found = rows(
        connection,
        "SELECT a.pid, coalesce(a.application_name, ''), coalesce(extract(epoch FROM clock_timestamp() - min(l.waitstart)), 0)::float8 AS seconds,"
        " pg_blocking_pids(a.pid) FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid AND NOT l.granted"
        " WHERE a.datname = %s GROUP BY 1, 2 ORDER BY seconds DESC LIMIT %s",
        (database, _MOST),
    )
    return [Wait(pid, application, seconds, tuple(dict.fromkeys(blockers))) for pid, application, seconds, blockers in found]


#: https://www.postgresql.org/docs/current/view-pg-replication-slots.html; a temporary one goes with its session.
SLOTS = """
SELECT slot_name, active, coalesce(wal_status, ''), greatest(0, coalesce(pg_wal_lsn_diff(
    CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn), 0))::bigint
FROM pg_replication_slots WHERE NOT temporary ORDER BY 4 DESC, 1
"""


def slots(connection: Connection) -> list[Slot]:
    """The server's replication slots, the one that holds most first."""
    return [Slot(*columns) for columns in rows(connection, SLOTS)]


def ages(connection: Connection) -> list[Age]:
    """The oldest database's transaction ids and multixacts: where one stops the server, it stops all databases."""
    found = []
    for kind, measure, forced, failsafe in (
        ("transaction ids", "age(datfrozenxid)", "autovacuum_freeze_max_age", "vacuum_failsafe_age"),
        ("multixact ids", "mxid_age(datminmxid)", "autovacuum_multixact_freeze_max_age", "vacuum_multixact_failsafe_age"),
    ):
        columns = row(
            connection,
            f"SELECT datname, {measure}, current_setting('{forced}')::bigint, current_setting('{failsafe}')::bigint"
            " FROM pg_database ORDER BY 2 DESC, datname LIMIT 1",
        )
        found.append(Age(kind, *columns))
    return found


def collations(connection: Connection) -> Collations:
    """Of the connection's database. A version that differs may have left indexes in a wrong order (from 15 on the database has one)."""
    recorded, actual = ("", "")
    if connection.server_version >= 150000:
        recorded, actual = row(
            connection,
            "SELECT coalesce(datcollversion, ''), coalesce(pg_database_collation_actual_version(oid), '')"
            " FROM pg_database WHERE datname = current_database()",
        )
    others = value(
        connection,
        "SELECT count(DISTINCT c.oid) FROM pg_collation c JOIN pg_depend d ON d.refclassid = 'pg_collation'::regclass AND d.refobjid = c.oid"
        " WHERE c.collversion <> pg_collation_actual_version(c.oid)",
    )
    return Collations(recorded, actual, int(others or 0))


#: One that is being built now is invalid as well, and nothing is wrong with it.
INVALID_INDEXES = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT i.indisvalid AND c.relkind = 'i'
    AND NOT EXISTS (SELECT 1 FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid) ORDER BY 1
"""


def invalid_indexes(connection: Connection) -> list[str]:
    """Full names, quoted, of indexes that a CREATE INDEX CONCURRENTLY left."""
    return [name for (name,) in rows(connection, INVALID_INDEXES)]


_OPTION = "(SELECT option_value FROM pg_options_to_table(c.reloptions) WHERE option_name = '%s')"

#: https://www.postgresql.org/docs/current/routine-vacuuming.html#AUTOVACUUM; a table's own settings go first.
_UNVACUUMED = """
SELECT name, dead, threshold::bigint, age, forced, autovacuum, vacuumed FROM (
    SELECT quote_ident(s.schemaname) || '.' || quote_ident(s.relname) AS name, s.n_dead_tup AS dead,
        least(
            coalesce({threshold}, current_setting('autovacuum_vacuum_threshold'))::float8
                + coalesce({scale}, current_setting('autovacuum_vacuum_scale_factor'))::float8 * greatest(c.reltuples, 0),
            nullif(current_setting('autovacuum_vacuum_max_threshold', true)::float8, -1)) AS threshold,
        age(c.relfrozenxid) AS age, current_setting('autovacuum_freeze_max_age')::bigint AS forced,
        current_setting('autovacuum')::bool AND coalesce({enabled}::bool, true) AS autovacuum,
        extract(epoch FROM clock_timestamp() - greatest(s.last_vacuum, s.last_autovacuum))::float8 AS vacuumed
    FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid WHERE c.relkind IN ('r', 'm')) found
WHERE dead > threshold OR age > forced ORDER BY dead DESC, name LIMIT 50
""".format(
    threshold=_OPTION % "autovacuum_vacuum_threshold",
    scale=_OPTION % "autovacuum_vacuum_scale_factor",
    enabled=_OPTION % "autovacuum_enabled",
)


def unvacuumed_tables(connection: Connection) -> list[Table]:
    """The tables of the connection's database that are past the point at which autovacuum starts, the one with most dead rows first."""
    return [Table(*columns) for columns in rows(connection, _UNVACUUMED)]


def sequences(connection: Connection) -> list[Sequence]:
    """The sequences that count upwards to an end, the one nearest to it first. A serial column may end before its sequence does."""
    found = rows(
        connection,
        "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname),"
        " coalesce(CASE WHEN has_sequence_privilege(c.oid, 'SELECT,USAGE') THEN pg_sequence_last_value(c.oid) END, 0),"
        " min(least(s.seqmax, CASE a.atttypid WHEN 'int2'::regtype THEN 32767 WHEN 'int4'::regtype THEN 2147483647 END))"
        " FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        " LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass"
        " AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0"
        " LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid"
        " WHERE NOT s.seqcycle AND s.seqincrement > 0 GROUP BY c.oid, n.nspname, c.relname ORDER BY 1",
    )
    known = [Sequence(name, int(last), int(limit)) for name, last, limit in found]
    return sorted(known, key=lambda item: item.last / max(1, item.limit), reverse=True)[:_MOST]
