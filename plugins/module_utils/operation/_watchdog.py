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
from dataclasses import dataclass, field, replace

from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import Runner, run_for_real
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import is_cut
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import rows, session, value
from ansible_collections.dbops.postgres.plugins.module_utils.server._server_log import read_server_log, refused
from ansible_collections.dbops.postgres.plugins.module_utils.server._sessions import Session, sessions
from ansible_collections.dbops.postgres.plugins.module_utils.server._statements import failure_facts, failures_text
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, EngineError
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import count_text

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

#: Who is there, and whether it is the runner; not yet one that is just beginning, whose database is null still.
_PRESENT = """
SELECT a.pid, a.datname = %s AND (coalesce(host(a.client_addr) = ANY(%s), false) OR a.application_name = %s)
FROM pg_stat_activity a
WHERE a.datname IS NOT NULL
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
        self.own: set[int] = set()
        self.others: set[int] = set()
        self.trouble = ""

    def __enter__(self) -> Watchdog:
        self._note_sessions()
        self._thread.start()
        return self

    def __exit__(self, *_exception: t.Any) -> None:
        self._stop.set()
        self._thread.join(timeout=30)
        self.end_sessions(END_SECONDS)
        self._note_sessions()

    def _note_sessions(self) -> None:
        """Before the runner begins and when it has ended, whoever is there is somebody else."""
        for pid, is_runner in rows(self._connection, _PRESENT, (self._database, self._seen_addresses, self._application)):
            (self.own if is_runner else self.others).add(pid)

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
                    self._note_sessions()
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
    :param refused: what the server refused of it, as its log tells.
    :param uncertain: the same of sessions that came and went between two looks, so that they may be somebody else's.
    :param refused_unknown: why that is not known; ``where``: the line that shows the log of that time.
    """

    outcome: Outcome
    waits: list[str]
    refused: list[Failed] = field(default_factory=list)
    uncertain: list[Failed] = field(default_factory=list)
    refused_unknown: str = ""
    where: str = ""

    def tell(self, operation: Operation, runner: Runner, told: t.Iterable[Failed] = (), executed: t.Iterable[str] = ()) -> Refused:
        """Warn of what the server refused of the runner.

        :param told: what was refused in the sandbox already, and told.
        :param executed: what the runner executed in the sandbox: whoever sends the same text here is the runner.
        """
        known, own = {failed.sql for failed in told}, set(executed)
        refused = [failed for failed in self.refused if failed.sql not in known]
        refused += [failed for failed in self.uncertain if failed.sql in own and failed.sql not in known]
        # Of somebody else's statement nothing is shown: it may hold what is not ours to see.
        foreign = [failed for failed in self.uncertain if failed.sql not in own | known]
        if refused:
            operation.warnings.append(
                "'%s' ended without an error, but while it ran on database '%s' the server refused: %s. Look whether its rows are as you want"
                " them." % (runner.command, operation.database, failures_text(refused))
            )
        unknown = self.refused_unknown
        if foreign:
            count = count_text(len(foreign), "statement")
            unknown = "%s refused of sessions too short to tell whose they were; to see them: %s" % (count, self.where)
        return Refused(tuple(refused), unknown)


@dataclass(frozen=True)
class Refused:
    """What the server refused of a runner, and what is not known of that."""

    statements: tuple[Failed, ...]
    unknown: str

    def facts(self) -> dict[str, t.Any]:
        return {"refused": failure_facts(self.statements), "refused_unknown": self.unknown}

    @property
    def not_known(self) -> list[str]:
        """For the summary: what nobody has looked at."""
        return ["Whether the server refused something of it meanwhile is not known: %s." % self.unknown] if self.unknown else []


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
    return _with_refused(operation, begun, watchdog, Watched(outcome, watchdog.cancelled))


def _with_refused(operation: Operation, begun: str, watchdog: Watchdog, watched: Watched) -> Watched:
    """With what the server's log says was refused of sessions that came and went with the runner, or why that is not known."""
    container = operation.target.container
    log = read_server_log(operation.maintenance)
    unknown = log.unreadable or ("the watch over the runner's sessions ended early" if watchdog.trouble else "")
    if unknown:
        return replace(watched, refused_unknown=unknown)
    try:
        read = operation.docker.read_log(container.id, begun, -1, _KEPT_LOG)
    except EngineError:
        read = None
    if read is None or read.rc != 0:
        return replace(watched, refused_unknown="the log of container '%s' cannot be read" % container.name)
    if is_cut(read.stderr):
        return replace(watched, refused_unknown="the log of container '%s' is too long for that time" % container.name)
    found = [failed for failed in refused(log, operation.database, read.stderr) if failed.session not in watchdog.others]
    return replace(
        watched,
        refused=[failed for failed in found if failed.session in watchdog.own],
        uncertain=[failed for failed in found if failed.session not in watchdog.own],
        where="docker logs --since %s %s" % (begun, container.name),
    )


def _describe(pid: int, named: dict[int, Session]) -> str:
    return str(named[pid]) if pid in named else "pid %d" % pid


def require_positive(seconds: float) -> None:
    if seconds <= 0:
        raise DbopsError("The lock timeout has to be more than 0 seconds (dbops_migrate_lock_timeout).")
