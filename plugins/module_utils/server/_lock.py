# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One operation at a time per database, by an advisory lock in the server.

The lock lives in the maintenance database (advisory locks belong to the database they are taken in) and is keyed by the
target database's name, so it survives a swap. The server frees it when the holder's session ends, however it ends.
https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS

Who holds it, and in which phase, is a comment in the session's last statement, which ``pg_stat_activity`` shows to everybody
who may see the session.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import typing as t
from dataclasses import asdict, dataclass, fields, replace

from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import execute, rows, value
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import Busy

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: First key of the two-key advisory locks: "dbop" for a database's lock, "dbor" for a run's sign of life.
_DATABASE_CLASS = 0x64626F70
_RUN_CLASS = 0x64626F72

#: ``track_activity_query_size`` is 1,024 by default; a longer comment would be cut and unreadable.
_CARD_BYTES = 900

_CARD = re.compile(r"/\* dbops (\{.*\}) \*/", re.DOTALL)


@dataclass(frozen=True)
class Holder:
    """Who holds a database's lock. ``since`` is UTC, RFC 3339; ``pid`` is the server's process."""

    operation: str
    run_id: str
    host: str = ""
    operator: str = ""
    controller: str = ""
    since: str = ""
    phase: str = ""
    pid: int = 0

    def __str__(self) -> str:
        return "%s by %s from %s, since %s, phase '%s' (run %s, server process %d)" % (
            self.operation,
            self.operator or "an unknown user",
            self.controller or "an unknown machine",
            self.since,
            self.phase or "starting",
            self.run_id,
            self.pid,
        )


#: The locks of those that only work on backups that are there: one at a time of each, and nobody else has to wait for them but who removes backups.
ASIDE = {
    "verify_backups": "\nproofs",
    "copy_backups": "\ncopies",
    "schedule": "\nschedule",
    "plan": "\nplan",
    "rehearse": "\nrehearsal",
}


class OperationLock:
    """The lock of one database, held by one session of its own in the maintenance database."""

    def __init__(self, connection: Connection, database: str, holder: Holder, aside: str = "") -> None:
        """``aside``: a lock of its own, beside the database's, for what others need not wait for."""
        self._connection = connection
        self._database = database
        self._holder = holder
        self._key = _key(database + aside)

    def announce(self) -> None:
        """Show this run as alive, without taking the database's lock: its leftovers are not for others to remove."""
        execute(self._connection, "SELECT pg_advisory_lock(%d, %d) %s" % (_RUN_CLASS, _key(self._holder.run_id), card(self._holder)))

    def take(self, wait: float, aside: str = "") -> None:
        """Take the lock, or the one ``aside`` besides, waiting at most ``wait`` seconds.

        :raises Busy: naming the holder.
        """
        key = _key(self._database + aside) if aside else self._key
        deadline = time.monotonic() + wait
        while not value(self._connection, "SELECT pg_try_advisory_lock(%d, %d) %s" % (_DATABASE_CLASS, key, card(self._holder))):
            if time.monotonic() >= deadline:
                holder = _read_holder(self._connection, key)
                waited = " after waiting %d s" % wait if wait else ""
                raise Busy(
                    "Database '%s' is busy%s: %s. Wait for it to end, or give this run time with dbops_lock_wait (seconds)."
                    % (self._database, waited, holder or "its lock is held by another session"),
                    holder=asdict(holder) if holder else None,
                )
            time.sleep(0.2)

    def set_phase(self, phase: str) -> None:
        """Say what this run does now. Fails where the session, and so the lock, is gone."""
        self._holder = replace(self._holder, phase=phase)
        execute(self._connection, "SELECT 1 " + card(self._holder))


def card(holder: Holder) -> str:
    """The comment that shows the holder; never longer than the server keeps."""
    facts = {name: str(item) for name, item in asdict(holder).items() if item}
    for length in (200, 60, 20, 5):
        cut = {name: item[:length] if name in ("host", "operator", "controller") else item for name, item in facts.items()}
        text = json.dumps(cut).replace("*/", "*\\/").replace("/*", "/\\u002a")
        if len(text) < _CARD_BYTES:
            break
    return "/* dbops %s */" % text


def read_holder(connection: Connection, database: str) -> Holder | None:
    """Who holds a database's lock now; ``None`` where nobody does."""
    return _read_holder(connection, _key(database))


def _read_holder(connection: Connection, key: int) -> Holder | None:
    found = rows(
        connection,
        "SELECT a.pid, a.query FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.granted AND l.database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.classid = %s AND l.objid = %s AND l.objsubid = 2",
        (_DATABASE_CLASS, key & 0xFFFFFFFF),
    )
    if not found:
        return None
    pid, query = found[0]
    match = _CARD.search(query or "")
    facts = json.loads(match.group(1)) if match else {"operation": "another session", "run_id": "unknown"}
    known = {field.name for field in fields(Holder)}
    return Holder(**dict({name: item for name, item in facts.items() if name in known}, pid=pid))


def is_alive(connection: Connection, run_id: str) -> bool:
    """Whether the run's session still exists."""
    return bool(
        value(
            connection,
            "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = %s AND objid = %s AND objsubid = 2",
            (_RUN_CLASS, _key(run_id) & 0xFFFFFFFF),
        )
    )


def _key(text: str) -> int:
    """A signed 32-bit number, as the second key of an advisory lock wants it."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big", signed=True)
