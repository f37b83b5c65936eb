# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether somebody has used a database lately, by what its sessions do and when its tables were last read.

A backend that only checks its connection does not use the database. From PostgreSQL 16 on the server knows when a table was last
read (https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ALL-TABLES-VIEW), which also tells of what a
session did before its last statement; before that only the sessions tell.
"""

from __future__ import annotations

import datetime
import re
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _journal
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import rows
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import duration_text
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import parse_time, utc_now

#: Statements that only ask whether the connection lives, as pools and drivers send them.
_PING = re.compile(r"\s*(?:--[^\n]*\n?|/\*.*?\*/)?\s*(?:select\s+(?:1|'[^']*'|version\(\))(?:\s+as\s+\w+)?|select)?\s*;?\s*", re.IGNORECASE)

#: Sessions that did something; ours call themselves "dbops ...", and PostgreSQL's tools are ours or a backup's.
_SESSIONS = """
SELECT pid, coalesce(usename, ''), coalesce(application_name, ''), coalesce(host(client_addr), ''), coalesce(query, ''),
    state = 'active', extract(epoch FROM clock_timestamp() - state_change)::float8
FROM pg_stat_activity
WHERE datname = %s AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND application_name NOT LIKE 'dbops %%'
ORDER BY state_change DESC
"""

_LAST_READ = """
SELECT schemaname || '.' || relname, greatest(last_seq_scan, last_idx_scan) AT TIME ZONE 'UTC'
FROM pg_stat_user_tables
WHERE greatest(last_seq_scan, last_idx_scan) > clock_timestamp() - %s * interval '1 minute'
ORDER BY 2 DESC
"""


def last_use(operation: Operation, minutes: float) -> str:
    """How somebody used the database within the last ``minutes``, in a sentence; empty where nobody did."""
    for pid, user, application, client, query, active, seconds in rows(operation.maintenance, _SESSIONS, (operation.database,)):
        if (active or seconds < minutes * 60) and not is_ping(query):
            return "session %d (user %s, application '%s' from %s) %s: %s" % (
                pid,
                user,
                application,
                client or "a local socket",
                "works in it now" if active else "used it %s ago" % duration_text(max(0.0, seconds)),
                " ".join(query.split())[:80],
            )
    return _last_read(operation, minutes)


def is_ping(query: str) -> bool:
    return bool(_PING.fullmatch(query))


def _last_read(operation: Operation, minutes: float) -> str:
    if operation.server.version_number < 160000:
        return ""
    with operation.session(read_only=True) as connection:
        found = rows(connection, _LAST_READ, (minutes,))
    if not found:
        return ""
    table, at = found[0]
    at = at.replace(tzinfo=datetime.timezone.utc)
    ours = _during(_journal.read(operation.archive.folder), at)
    sentence = "table %s was last read %s ago" % (table, duration_text(max(0.0, (utc_now() - at).total_seconds())))
    return sentence + (" by our %s, which hides what came before it" % ours if ours else "")


def _during(history: t.Iterable[dict[str, t.Any]], at: datetime.datetime) -> str:
    """Which of our own operations ran then; they count rows, and a table keeps the time of its last reader only."""
    for entry in history:
        begun, ended = (parse_time(str(entry.get(name, ""))) for name in ("started", "finished"))
        if begun and ended and begun <= at <= ended + datetime.timedelta(seconds=1):
            return "%s (run %s)" % (entry.get("operation", "operation"), entry.get("run_id", "?"))
    return ""
