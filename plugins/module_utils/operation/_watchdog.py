# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Watches a runner's sessions while it works on the real database.

A statement that waits for a strong lock makes every later reader of the table wait too
(https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-TABLES). Not every driver takes ``lock_timeout`` from its
environment, so a session of ours watches the runner's sessions and cancels one that has waited too long. It also sees what they
hold, and who waits behind them.
"""

from __future__ import annotations

import threading
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.server._blockers import sees_others
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import rows
from ansible_collections.dbops.postgres.plugins.module_utils.server._sessions import Session, sessions
from ansible_collections.dbops.postgres.plugins.module_utils.server._spans import Span, Spans
from ansible_collections.dbops.postgres.plugins.module_utils.server._statements import without_literals
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import count_text, duration_text

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: Seconds between two looks.
INTERVAL = 0.1

#: Seconds after which a cancel has not helped.
_PATIENCE = 1.0

#: Seconds that the runner's sessions may take to end when the runner has ended.
END_SECONDS = 30.0

_WAITING = """
SELECT DISTINCT a.pid, a.query, pg_blocking_pids(a.pid)
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE NOT l.granted AND l.locktype = 'relation' AND a.datname = %s
  AND (coalesce(host(a.client_addr) = ANY(%s), false) OR a.application_name = %s)
  AND l.waitstart < clock_timestamp() - make_interval(secs => %s)
"""

#: Who is there, whether it is the runner, and since when it works at what; not yet one that is just beginning, whose database is null still.
_PRESENT = """
SELECT a.pid, a.datname = %s AND (coalesce(host(a.client_addr) = ANY(%s), false) OR a.application_name = %s),
    CASE WHEN a.state = 'active' THEN extract(epoch FROM clock_timestamp() - a.query_start)::float8 END, a.query
FROM pg_stat_activity a
WHERE a.datname IS NOT NULL
"""

#: What the runner holds that makes others wait, of tables that are somebody's.
_HELD = """
SELECT a.pid, l.relation::bigint, l.mode, a.xact_start, coalesce(a.state, '') LIKE 'idle in transaction%%'
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.granted AND l.locktype = 'relation' AND l.relation >= 16384
  AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') AND a.datname = %s
  AND (coalesce(host(a.client_addr) = ANY(%s), false) OR a.application_name = %s)
"""

#: Who waits for a lock, and for whom; who queues behind somebody that waits does so too.
_QUEUE = """
SELECT a.pid, pg_blocking_pids(a.pid)
FROM pg_stat_activity a
WHERE a.datname = %s AND a.wait_event_type = 'Lock' AND NOT (coalesce(host(a.client_addr) = ANY(%s), false) OR a.application_name = %s)
"""

#: Terminates what it finds.
_STILL_THERE = """
SELECT pg_terminate_backend(a.pid)
FROM pg_stat_activity a
WHERE a.datname = %s AND a.pid <> pg_backend_pid() AND (coalesce(host(a.client_addr) = ANY(%s), false) OR a.application_name = %s)
"""


@dataclass(frozen=True)
class LockLimits:
    """Seconds. ``wait``: that a session of the runner may wait for a lock, ``None`` as long as it likes; ``hold``: that it may hold a strong one
    while others wait, 0 as long as it likes; ``end``: whether it is ended then, else it is only told."""

    wait: float | None = None
    hold: float = 0
    end: bool = False


@dataclass(frozen=True)
class Queue:
    """Who had to wait behind the runner: the most sessions at one time, and the seconds of all of them together."""

    most: int = 0
    seconds: float = 0.0

    def and_then(self, later: Queue) -> Queue:
        """Of two runs, one after the other."""
        return Queue(max(self.most, later.most), self.seconds + later.seconds)

    def __str__(self) -> str:
        return "%s waited behind it at the same time, %s in all" % (count_text(self.most, "session"), duration_text(self.seconds))


class Watchdog:
    """Watches the sessions of one runner while it works; use it as a context manager.

    :param connection: a session of its own in the maintenance database.
    :param addresses: asked at every look, since the runner's container gets its addresses only when it starts.
    """

    def __init__(
        self, connection: Connection, database: str, application: str, addresses: t.Callable[[], list[str]], limits: LockLimits
    ) -> None:
        self._connection = connection
        self._database = database
        self._application = application
        self._addresses = addresses
        self._limits = limits
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._seen_addresses: list[str] = []
        self._begun = time.monotonic()
        self._looked = self._begun
        self._since: dict[tuple[int, t.Any], float] = {}
        self._asked_to_end: dict[tuple[int, t.Any], float] = {}
        self._locks = Spans(INTERVAL)
        self.cancelled: list[str] = []
        self.long_holds: dict[int, str] = {}
        self.ended_long_hold = False
        self.queue = Queue()
        self.slowest: tuple[float, str] = (0.0, "")
        self.own: set[int] = set()
        self.others: set[int] = set()
        self.trouble = ""
        self.sees_others = True

    def __enter__(self) -> Watchdog:
        self.sees_others = sees_others(self._connection)
        self._note_sessions()
        self._thread.start()
        return self

    def __exit__(self, *_exception: t.Any) -> None:
        self._stop.set()
        self._thread.join(timeout=30)
        self.end_sessions(END_SECONDS)
        self._note_sessions()

    @property
    def held(self) -> list[Span]:
        """The strong locks that the runner had, by the tables' oids, in seconds since the watch began."""
        return self._locks.all()

    @property
    def _whose(self) -> tuple[t.Any, ...]:
        return self._database, self._seen_addresses, self._application

    def _note_sessions(self) -> None:
        """Before the runner begins and when it has ended, whoever is there is somebody else."""
        for pid, is_runner, seconds, query in rows(self._connection, _PRESENT, self._whose):
            (self.own if is_runner else self.others).add(pid)
            if is_runner and seconds is not None:
                self.slowest = max(self.slowest, (seconds, query))

    def end_sessions(self, seconds: float) -> None:
        """End what the runner's sessions still do: a statement goes on after its client was killed, and would change the schema later."""
        deadline = time.monotonic() + seconds
        while rows(self._connection, _STILL_THERE, self._whose):
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
                self._measure()
                if self._limits.wait is not None:
                    self._cancel_waits(self._limits.wait)
            except Exception as error:  # a dead watchdog must not end the migration, only be told of
                self.trouble = str(error).strip()
                return

    def _measure(self) -> None:
        """What the runner holds, and who waits behind it."""
        now = time.monotonic()
        held = rows(self._connection, _HELD, self._whose)
        self._locks.look(now - self._begun, [(mode, relation, begun) for _pid, relation, mode, begun, _idle in held])
        holders = {pid: (begun, idle) for pid, _relation, _mode, begun, idle in held}
        self._since = {(pid, begun): self._since.get((pid, begun), now) for pid, (begun, _idle) in holders.items()}
        behind = [(pid, set(ahead) & self.own) for pid, ahead in rows(self._connection, _QUEUE, self._whose)]
        waiting = [pid for pid, ahead in behind if ahead]
        passed, self._looked = now - self._looked, now
        self.queue = Queue(max(self.queue.most, len(waiting)), self.queue.seconds + len(waiting) * passed)
        for pid in {pid for _waiter, ahead in behind for pid in ahead} & set(holders):
            begun, idle = holders[pid]
            seconds = now - self._since[pid, begun]
            if not self._limits.hold or seconds <= self._limits.hold:
                continue
            if pid not in self.long_holds:
                self.long_holds[pid] = "It has held a lock for more than %s while %s waited (dbops_migrate_lock_hold_max)" % (
                    duration_text(seconds),
                    count_text(len(waiting), "session"),
                )
            if self._limits.end:
                self._end_hold(pid, begun, idle, now)

    def _end_hold(self, pid: int, begun: t.Any, idle: bool, now: float) -> None:
        """What is at work is cancelled. What waits for its client has nothing that could be, and a cancel may come too late: then its session
        ends."""
        asked = self._asked_to_end.setdefault((pid, begun), now)
        if now == asked and not idle:
            done = rows(self._connection, "SELECT pg_cancel_backend(%s)", (pid,))[0][0]
        elif now == asked or now - asked > _PATIENCE:
            done = rows(self._connection, "SELECT pg_terminate_backend(%s)", (pid,))[0][0]
        else:
            return
        self.ended_long_hold = self.ended_long_hold or bool(done)

    def _cancel_waits(self, seconds: float) -> None:
        for pid, query, blockers in rows(self._connection, _WAITING, (*self._whose, seconds)):
            named = {session.pid: session for session in sessions(self._connection, self._database)}
            who = "; ".join(_describe(blocker, named) for blocker in blockers) or "nobody any more"
            if rows(self._connection, "SELECT pg_cancel_backend(%s)", (pid,))[0][0]:
                shown = " ".join(without_literals(query).split())[:200]
                self.cancelled.append("'%s' waited longer than %g s for a lock, held by: %s" % (shown, seconds, who))


def _describe(pid: int, named: dict[int, Session]) -> str:
    return str(named[pid]) if pid in named else "pid %d" % pid
