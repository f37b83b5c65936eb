# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sessions in a database: who they are, and how they end (https://www.postgresql.org/docs/current/monitoring-stats.html)."""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import rows
from ansible_collections.dbops.postgres.plugins.module_utils.server._statements import without_literals
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import ServerError

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection


@dataclass(frozen=True)
class Session:
    """One client's session; ``seconds`` since its transaction (or else itself) began."""

    pid: int
    user: str
    application: str
    client: str
    state: str
    seconds: float
    query: str

    def __str__(self) -> str:
        return "pid %d, user %s, application '%s' from %s, %s for %.0f s: %s" % (
            self.pid,
            self.user,
            self.application,
            self.client or "a local socket",
            self.state or "active",
            self.seconds,
            " ".join(without_literals(self.query).split())[:120] or "(no query)",
        )


def sessions(connection: Connection, database: str) -> list[Session]:
    """The other sessions in a database, oldest transaction first (https://www.postgresql.org/docs/current/monitoring-stats.html)."""
    found = rows(
        connection,
        "SELECT pid, coalesce(usename, ''), coalesce(application_name, ''), coalesce(host(client_addr), ''), coalesce(state, ''),"
        " extract(epoch FROM clock_timestamp() - coalesce(xact_start, backend_start))::float8, coalesce(query, '')"
        " FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        " ORDER BY xact_start NULLS LAST, backend_start",
        (database,),
    )
    return [Session(*columns) for columns in found]


def end_sessions(connection: Connection, database: str, seconds: float) -> int:
    """Terminate every other session in a database and wait until they are gone; returns how many there were.

    :raises ServerError: where some are left, naming them.
    """
    ended = 0
    deadline = time.monotonic() + seconds
    while True:
        left = sessions(connection, database)
        if not left:
            return ended
        if time.monotonic() > deadline:
            raise ServerError(
                "Sessions in database '%s' did not end within %.0f s (dbops_restore_session_timeout, dbops_preview_reset_session_timeout): %s."
                % (database, seconds, "; ".join(map(str, left[:5])))
            )
        with_effect = rows(
            connection,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
            (database,),
        )
        ended = max(ended, len(with_effect))
        time.sleep(0.02)
