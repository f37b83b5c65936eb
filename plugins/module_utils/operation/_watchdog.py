# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the runner on the real database under watch: ends a wait for a lock before everybody else has to wait behind it, and ends
what a runner that was stopped has left running in the server.

A statement that waits for a strong lock makes every later reader of the table wait too
(https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-TABLES). Not every driver takes ``lock_timeout`` from its
environment, so a session of ours watches the runner's sessions and cancels one that has waited too long.
"""

from __future__ import annotations

import threading
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import Runner, run_for_real
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import rows, session, value
from ansible_collections.dbops.postgres.plugins.module_utils.server._server_log import read_server_log, refused
from ansible_collections.dbops.postgres.plugins.module_utils.server._sessions import Session, sessions
from ansible_collections.dbops.postgres.plugins.module_utils.server._statements import failure_facts, failures_text
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, EngineError

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
    from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection
    from ansible_collections.dbops.postgres.plugins.module_utils.server._statements import Failed

#: Seconds between two looks.
INTERVAL = 0.1

#: Bytes that are kept of the server's log of the run, of its beginning and of its end.
_KEPT_LOG = 16 * 1024 * 1024

#: Seconds that the runner's sessions may take to end when the runner has ended.
END_SECONDS = 30.0

_WAITING = """
SELECT DISTINCT a.pid, a.query, pg_blocking_pids(a.pid)
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE NOT l.granted AND l.locktype = 'relation' AND a.datname = %s
  AND (host(a.client_addr) = ANY(%s) OR a.application_name = %s)
  AND l.waitstart < clock_timestamp() - make_interval(secs => %s)
"""

#: Everybody but the runner, as far as it can be told now: not yet of a session that is just beginning, whose database is null still.
_OTHERS = """
SELECT a.pid FROM pg_stat_activity a
WHERE a.datname <> %s OR a.datname IS NOT NULL AND NOT (coalesce(host(a.client_addr) = ANY(%s), false) OR a.application_name = %s)
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
    :param seconds: how long a session may wait for a lock; without it, as long as it likes.
    """

    def __init__(
        self, connection: Connection, database: str, application: str, addresses: t.Callable[[], list[str]], seconds: float | None
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
        self.others: set[int] = set()
        self.trouble = ""

    def __enter__(self) -> Watchdog:
        self._remember_others()
        self._thread.start()
        return self

    def __exit__(self, *_exception: t.Any) -> None:
        self._stop.set()
        self._thread.join(timeout=30)
        self.end_sessions(END_SECONDS)
        self._remember_others()

    def _remember_others(self) -> None:
        """Before the runner begins and when it has ended, whoever is there is somebody else."""
        self.others |= {pid for (pid,) in rows(self._connection, _OTHERS, (self._database, self._seen_addresses, self._application))}

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
                if self._seen_addresses:
                    self._remember_others()
                if self._seconds is not None:
                    self._cancel_waits(self._seconds)
            except Exception as error:  # a dead watchdog must not end the migration, only be told of
                self.trouble = str(error).strip()
                return

    def _cancel_waits(self, seconds: float) -> None:
        for pid, query, blockers in rows(self._connection, _WAITING, (self._database, self._seen_addresses, self._application, seconds)):
            named = {session.pid: session for session in sessions(self._connection, self._database)}
            who = "; ".join(_describe(blocker, named) for blocker in blockers) or "nobody any more"
            if rows(self._connection, "SELECT pg_cancel_backend(%s)", (pid,))[0][0]:
                self.cancelled.append(
                    "'%s' waited longer than %g s for a lock, held by: %s" % (" ".join(query.split())[:200], seconds, who)
                )


@dataclass(frozen=True)
class Watched:
    """What came of a runner on the real database.

    :param waits: whom it had to wait for, where it waited too long.
    :param refused: what the server refused of it, as far as its log tells; ``refused_unknown``: why that cannot be told.
    """

    outcome: Outcome
    waits: list[str]
    refused: list[Failed]
    refused_unknown: str

    def tell(self, operation: Operation, runner: Runner, planned: t.Iterable[Failed] = ()) -> dict[str, t.Any]:
        """Warn of what the server refused and the sandbox had not shown; returns it as facts for the result."""
        known = {failed.sql for failed in planned}
        refused = [failed for failed in self.refused if failed.sql not in known]
        if refused:
            operation.warnings.append(
                "'%s' ended without an error, but while it ran on database '%s' the server refused: %s. Look whether its rows are as you want"
                " them." % (runner.command, operation.database, failures_text(refused))
            )
        return {"refused": failure_facts(refused), "refused_unknown": self.refused_unknown}

    @property
    def not_known(self) -> list[str]:
        """For the summary: what nobody has looked at."""
        return ["Whether the server refused something meanwhile is not known: %s." % self.refused_unknown] if self.refused_unknown else []


def run_watched(operation: Operation, runner: Runner, purpose: str, timeout: float, lock_timeout: float | None = None) -> Watched:
    """Run the runner on the real database. ``lock_timeout``: seconds that it may wait for a lock; without it, as long as it likes."""
    name = "dbops-%s-%s" % (operation.run_id, purpose)

    def addresses() -> list[str]:
        try:
            return [endpoint.address for endpoint in operation.docker.container(name).endpoints if endpoint.address]
        except EngineError:
            return []

    target, application = operation.target, operation.application + " runner"
    begun = value(operation.maintenance, "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
    with session(target.address, target.maintenance_database, operation.application + " watchdog") as connection, Watchdog(
        connection, operation.database, application, addresses, lock_timeout
    ) as watchdog:
        outcome = run_for_real(operation.docker, runner, name, operation.labels, application, timeout)
    if watchdog.trouble:
        operation.warnings.append("The watch over the runner's sessions ended early: %s" % watchdog.trouble)
    return Watched(outcome, watchdog.cancelled, *_refused(operation, begun, watchdog))


def _refused(operation: Operation, begun: str, watchdog: Watchdog) -> tuple[list[Failed], str]:
    """What the server refused of sessions that came and went with the runner, or why that is not known."""
    log = read_server_log(operation.maintenance)
    if log.unreadable or watchdog.trouble:
        return [], log.unreadable or "the watch over the runner's sessions ended early"
    unreadable = "the log of container '%s' cannot be read" % operation.target.container.name
    try:
        read = operation.docker.read_log(operation.target.container.id, begun, -1, _KEPT_LOG)
    except EngineError:
        return [], unreadable
    if read.rc != 0:
        return [], unreadable
    return refused(log, read.stderr, watchdog.others), ""


def _describe(pid: int, named: dict[int, Session]) -> str:
    return str(named[pid]) if pid in named else "pid %d" % pid


def require_positive(seconds: float) -> None:
    if seconds <= 0:
        raise DbopsError("The lock timeout has to be more than 0 seconds (dbops_migrate_lock_timeout).")
