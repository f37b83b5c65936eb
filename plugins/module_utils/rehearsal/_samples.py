# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes on in a throwaway server while a migration works there, seen every tenth of a second: which table is locked how strongly, which
statement is at work, and how much room is left."""

from __future__ import annotations

import contextlib
import threading
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._observation import STRONG_LOCKS
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._throwaway_server import Sandbox
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import row, rows
from ansible_collections.dbops.postgres.plugins.module_utils.server._spans import Span, Spans

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: Seconds between two looks.
INTERVAL = 0.1

#: Looks between two at the room that is left.
_ROOM_EVERY = 10

#: Bytes of room on the engine's disk below which a rehearsal is ended: the real server lives there too.
LEAST_ROOM = 2**30

#: What others hold, seen from another database: a migration may end all sessions in its own.
_LOCKS = """
SELECT l.relation::bigint, l.mode, a.xact_start
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.granted AND l.locktype = 'relation' AND l.relation >= 16384 AND l.mode = ANY(%s)
  AND l.database = (SELECT oid FROM pg_database WHERE datname = %s)
"""

_STATEMENTS = """
SELECT query, query_start FROM pg_stat_activity
WHERE datname = %s AND backend_type = 'client backend' AND state = 'active' AND application_name <> %s
ORDER BY pid
"""

#: A statement goes on after its client was killed.
_END = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = %s AND backend_type = 'client backend' AND application_name <> %s
"""

_TOTALS = """
SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn, pg_database_size(datname), temp_bytes
FROM pg_stat_database WHERE datname = %s
"""


@dataclass
class Samples:
    """What was seen, and what it came to.

    ``locks``, ``statements``: in seconds since the runner began; ``wal``, ``temporary``: bytes that were written; ``size_before``,
    ``size_after``: of the database; ``stopped``: why it was ended, empty where it was not; ``trouble``: why nothing more was seen.
    """

    seconds: float = 0.0
    locks: list[Span] = field(default_factory=list)
    statements: list[Span] = field(default_factory=list)
    looks: int = 0
    wal: int = 0
    temporary: int = 0
    size_before: int = 0
    size_after: int = 0
    stopped: str = ""
    trouble: str = ""


@contextlib.contextmanager
def sampled(sandbox: Sandbox, samples: Samples, room: t.Callable[[], int | None], stop: t.Callable[[], None]) -> t.Iterator[None]:
    """Fill ``samples`` while somebody works in the sandbox.

    :param room: bytes that are left where its files lie, ``None`` where nobody knows.
    :param stop: ends whoever works there, where less than ``LEAST_ROOM`` is left.
    """
    with sandbox.session("postgres") as connection:
        wal, samples.size_before, temporary = row(connection, _TOTALS, (sandbox.database,))
        ended = threading.Event()
        thread = threading.Thread(target=_look_until, args=(connection, sandbox, samples, ended, room, stop), daemon=True)
        begun = time.monotonic()
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(timeout=30)
            samples.seconds = time.monotonic() - begun
    with sandbox.session("postgres") as connection:
        wal_after, samples.size_after, temporary_after = row(connection, _TOTALS, (sandbox.database,))
    samples.wal, samples.temporary = int(wal_after - wal), int(temporary_after - temporary)


def _look_until(
    connection: Connection,
    sandbox: Sandbox,
    samples: Samples,
    ended: threading.Event,
    room: t.Callable[[], int | None],
    stop: t.Callable[[], None],
) -> None:
    others = (sandbox.database, sandbox.application)
    start = time.monotonic()
    locks, statements = Spans(INTERVAL), Spans(INTERVAL)
    while not ended.wait(INTERVAL):
        try:
            now = time.monotonic() - start
            locks.look(now, [(mode, oid, begun) for oid, mode, begun in rows(connection, _LOCKS, (list(STRONG_LOCKS), sandbox.database))])
            statements.look(now, [(text.strip(), 0, begun) for text, begun in rows(connection, _STATEMENTS, others)])
            samples.looks += 1
            if samples.looks % _ROOM_EVERY == 0 and not samples.stopped:
                left = room()
                if left is not None and left < LEAST_ROOM:
                    samples.stopped = "less than 1 GB is left on the engine's disk"
                    rows(connection, _END, others)
                    stop()
        except Exception as error:  # what is not seen any more is told, and ends nothing
            samples.trouble = " ".join(str(error).split())
            break
    samples.locks, samples.statements = locks.all(), statements.all()
