# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ends a migration's wait for a lock before everybody else has to wait behind it.

A statement that waits for a strong lock makes every later reader of the table wait too
(https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-TABLES). Not every driver takes ``lock_timeout`` from its
environment, so a session of ours watches the runner's sessions and cancels one that has waited too long.
"""

from __future__ import annotations

import threading
import time
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils._postgres import Session, rows, sessions

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils._postgres import Connection

#: Seconds between two looks.
INTERVAL = 0.1

#: Seconds that the runner's sessions may take to end when the runner has ended.
END_SECONDS = 30.0

_WAITING = """
SELECT DISTINCT a.pid, a.query, pg_blocking_pids(a.pid)
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE NOT l.granted AND l.locktype = 'relation' AND a.datname = %s
  AND (host(a.client_addr) = ANY(%s) OR a.application_name = %s)
  AND l.waitstart < clock_timestamp() - make_interval(secs => %s)
"""

#: Terminates what it finds.
_STILL_THERE = """
SELECT pg_terminate_backend(a.pid)
FROM pg_stat_activity a
WHERE a.datname = %s AND a.pid <> pg_backend_pid() AND (host(a.client_addr) = ANY(%s) OR a.application_name = %s)
"""


class Watchdog:
    """Watches the sessions of one runner while it works; use it as a context manager.

    :param connection: a session of its own in the maintenance database.
    :param addresses: asked at every look, since the runner's container gets its addresses only when it starts.
    """

    def __init__(
        self, connection: Connection, database: str, application: str, addresses: t.Callable[[], list[str]], seconds: float
    ) -> None:
        self._connection = connection
        self._database = database
        self._application = application
        self._addresses = addresses
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._seen_addresses: list[str] = []
        self.cancelled: list[str] = []
        self.trouble = ""

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *_exception: t.Any) -> None:
        self._stop.set()
        self._thread.join(timeout=30)
        self.end_sessions(END_SECONDS)

    def end_sessions(self, seconds: float) -> None:
        """End what the runner's sessions still do: a statement goes on after its client was killed, and would change the schema later."""
        deadline = time.monotonic() + seconds
        while rows(self._connection, _STILL_THERE, (self._database, self._seen_addresses, self._application)):
            if time.monotonic() > deadline:
                raise DbopsError(
                    "The runner has ended, but its sessions in database '%s' do not: look at pg_stat_activity." % self._database
                )
            time.sleep(INTERVAL)

    def _watch(self) -> None:
        while not self._stop.wait(INTERVAL):
            try:
                self._seen_addresses = self._seen_addresses or self._addresses()
                self._look(self._seen_addresses)
            except Exception as error:  # a dead watchdog must not end the migration, only be told of
                self.trouble = str(error).strip()
                return

    def _look(self, addresses: list[str]) -> None:
        for pid, query, blockers in rows(self._connection, _WAITING, (self._database, addresses, self._application, self._seconds)):
            named = {session.pid: session for session in sessions(self._connection, self._database)}
            who = "; ".join(_describe(blocker, named) for blocker in blockers) or "nobody any more"
            if rows(self._connection, "SELECT pg_cancel_backend(%s)", (pid,))[0][0]:
                self.cancelled.append(
                    "'%s' waited longer than %g s for a lock, held by: %s" % (" ".join(query.split())[:200], self._seconds, who)
                )


def _describe(pid: int, named: dict[int, Session]) -> str:
    return str(named[pid]) if pid in named else "pid %d" % pid


def require_positive(seconds: float) -> None:
    if seconds <= 0:
        raise DbopsError("The lock timeout has to be more than 0 seconds (dbops_migrate_lock_timeout).")
