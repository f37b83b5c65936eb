# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is at a table with a lock that somebody else's would have to wait for, and will not be gone soon."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import rows
from ansible_collections.dbops.postgres.plugins.module_utils.server._sessions import Session

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: Which locks have to wait for which (https://www.postgresql.org/docs/current/explicit-locking.html, "Conflicting Lock Modes").
_CONFLICTS = {
    "ShareLock": {"RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"},
    "ShareRowExclusiveLock": {
        *("RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
    },
    "ExclusiveLock": {
        *("RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock", "ShareRowExclusiveLock", "ExclusiveLock"),
        "AccessExclusiveLock",
    },
}

#: A transaction that was prepared has no session any more, and holds what it holds until somebody ends it.
_HOLDERS = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), l.mode, coalesce(a.pid, 0), coalesce(a.usename, p.owner, ''),
    coalesce(a.application_name, ''), coalesce(host(a.client_addr), ''), coalesce(a.state, ''),
    coalesce(extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, p.prepared)), 0)::float8, coalesce(a.query, ''),
    coalesce(a.backend_type, ''), coalesce(p.gid, ''), l.pid IS NULL
FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    LEFT JOIN pg_locks x ON l.pid IS NULL AND x.pid IS NULL AND x.locktype = 'transactionid' AND x.granted
        AND x.virtualtransaction = l.virtualtransaction
    LEFT JOIN pg_prepared_xacts p ON p.transaction = x.transactionid
WHERE l.locktype = 'relation' AND l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND l.pid IS DISTINCT FROM pg_backend_pid() AND quote_ident(n.nspname) || '.' || quote_ident(c.relname) = ANY(%s)
ORDER BY 8 DESC
"""


@dataclass(frozen=True)
class Blocker:
    """``why`` it will not be gone soon; ``end``: the statement that ends it."""

    table: str
    session: Session
    why: str
    end: str

    def __str__(self) -> str:
        return "table %s: %s" % (self.table, self.why if not self.session.pid else "%s, %s" % (self.why, self.session))


def blockers(connection: Connection, wanted: t.Mapping[str, str], max_age: float) -> list[Blocker]:
    """Who would keep a lock waiting for long: one for each session, the oldest first.

    :param connection: a session in the database.
    :param wanted: ``{table, by its full name: lock}``.
    :param max_age: seconds; older transactions are in the way. A dump, and a vacuum that the server will not be without, are at any age.
    """
    found: dict[tuple[int, str], Blocker] = {}
    for table, mode, pid, user, application, client, state, seconds, query, kind, prepared, nobody in rows(
        connection, _HOLDERS, (list(wanted),)
    ):
        why = _prepared(prepared) if nobody else _why(seconds, application, kind, query, max_age)
        if why and mode in _CONFLICTS.get(wanted[table], {mode}):
            session = Session(pid, user, application or kind, client, state, seconds, query)
            found.setdefault((pid, prepared), Blocker(table, session, why, _end(pid, prepared)))
    return list(found.values())


def _prepared(name: str) -> str:
    return "the prepared transaction '%s', which holds its locks until somebody ends it" % (name or "?")


def _end(pid: int, prepared: str) -> str:
    if pid:
        return "SELECT pg_terminate_backend(%d);" % pid
    return "ROLLBACK PREPARED '%s';" % prepared.replace("'", "''") if prepared else "SELECT * FROM pg_prepared_xacts;"


def sees_others(connection: Connection) -> bool:
    """Whether this role may see what others are at; else their age, state and waiting are hidden
    (https://www.postgresql.org/docs/current/monitoring-stats.html)."""
    return bool(rows(connection, "SELECT pg_has_role('pg_read_all_stats', 'USAGE')")[0][0])


def _why(seconds: float, application: str, kind: str, query: str, max_age: float) -> str:
    if kind == "autovacuum worker":
        return "a vacuum to prevent wraparound, which does not give way" if "(to prevent wraparound)" in query else ""
    if application == "pg_dump":
        return "a dump"
    return "a transaction that is %.0f s old" % seconds if seconds > max_age else ""
