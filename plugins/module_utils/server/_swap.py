# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How one database takes another's name; restore and reset both stand on it.

Everything after the block happens in one transaction, so a crash leaves one of three states: before, blocked, or after.
The blocked one carries a mark (the run's id) and the next operation opens it again.
"""

from __future__ import annotations

import contextlib
import json
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.server import _database
from ansible_collections.dbops.postgres.plugins.module_utils.server._lock import is_alive
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import execute, rows, sql, transaction
from ansible_collections.dbops.postgres.plugins.module_utils.server._sessions import end_sessions
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, ServerError

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: Names of our own settings: the run that blocks a database for a swap; what a replaced database was.
_SWAPPING = "swapping"
_KEPT = "kept"

#: Seconds that a drop may take on the way out of a failure, which somebody waits to read.
_HURRY_SECONDS = 10

_BUILDING = re.compile(r"_next_([0-9]{8}T[0-9]{6}_[0-9a-f]{6})$")


@dataclass(frozen=True)
class Kept:
    """A database that was replaced and is kept, closed to connections: one that is ``opened`` may be in use. ``at`` is UTC, RFC 3339."""

    name: str
    of: str
    at: str
    by: str
    run_id: str
    size: int
    opened: bool = False


def building_name(database: str, run_id: str) -> str:
    """The name of the database that a run builds beside the live one; the run's id in it tells the next run what is a leftover."""
    return _database.derived_name(database, "_next_" + run_id)


def kept_name(connection: Connection, database: str, operation: str, run_id: str) -> str:
    name = _database.derived_name(database, "_before_%s_%s" % (operation, run_id.split("_")[0]))
    if _database.exists(connection, name):
        name = _database.derived_name(database, "_before_%s_%s" % (operation, run_id))
    return name


def require_swappable(connection: Connection, database: str) -> None:
    """:raises DbopsError: where something in the server would stop the rename, before anything is built."""
    prepared = rows(connection, "SELECT gid FROM pg_prepared_xacts WHERE database = %s", (database,))
    if prepared:
        raise DbopsError(
            "Database '%s' has prepared transactions (%s), which would stop the swap: COMMIT PREPARED or ROLLBACK PREPARED them first."
            % (database, ", ".join(gid for (gid,) in prepared))
        )
    subscriptions = rows(
        connection, "SELECT s.subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = %s", (database,)
    )
    slots = rows(connection, "SELECT slot_name FROM pg_replication_slots WHERE database = %s", (database,))
    if subscriptions or slots:
        names = [name for (name,) in subscriptions + slots]
        raise DbopsError(
            "Database '%s' takes part in logical replication (%s), which would stay with the replaced database: remove it first."
            % (database, ", ".join(names))
        )


def swap(connection: Connection, live: str, replacement: str, operation: str, run_id: str, at: str, seconds: float) -> str:
    """``replacement`` becomes ``live``; returns the name under which the old one is kept, empty where there was none.

    :param connection: an autocommit session in the maintenance database.
    :param seconds: how long sessions may take to end.
    """
    if not _database.exists(connection, live):
        _rename(connection, replacement, live, opened=True)
        return ""
    kept = kept_name(connection, live, operation, run_id)
    number = 1 + max((facts.get("number", 0) for facts in _descriptions(connection, live).values()), default=0)
    description = json.dumps({"of": live, "at": at, "by": operation, "run_id": run_id, "number": number})
    _block(connection, live, run_id)
    try:
        end_sessions(connection, live, seconds)
        end_sessions(connection, replacement, seconds)
        with transaction(connection):
            _rename(connection, live, kept, opened=False)
            _database.set_own(connection, kept, _SWAPPING, "")
            _database.set_own(connection, kept, _KEPT, description)
            _rename(connection, replacement, live, opened=True)
            _database.set_own(connection, live, _KEPT, "")
    except BaseException:
        if not connection.closed:
            _unblock(connection, live)
        raise
    return kept


def _rename(connection: Connection, old: str, new: str, opened: bool) -> None:
    execute(connection, sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new)))
    execute(connection, sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(sql.Identifier(new), sql.Literal(opened)))


@contextlib.contextmanager
def opened(connection: Connection, kept: str) -> t.Iterator[None]:
    """A kept database takes connections inside."""
    identifier = sql.Identifier(kept)
    execute(connection, sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(identifier))
    try:
        yield
    finally:
        if not connection.closed:
            execute(connection, sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(identifier))


def _block(connection: Connection, database: str, run_id: str) -> None:
    with transaction(connection):
        _database.set_own(connection, database, _SWAPPING, run_id)
        execute(connection, sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(database)))


def _unblock(connection: Connection, database: str) -> None:
    execute(connection, sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(database)))
    _database.set_own(connection, database, _SWAPPING, "")


def drop_building(connection: Connection, building: str) -> None:
    """On the way out of a failure; where even that fails, the next run drops it."""
    try:
        _database.drop(connection, building, _HURRY_SECONDS)
    except Exception:  # the failure that led here is the one to report
        return


def finish_interrupted(connection: Connection, database: str) -> list[str]:
    """Put right what a dead run left: open a database that it had blocked, drop what it was building. Returns what was done."""
    done = []
    run_id = blocked_by(connection, database)
    if run_id:
        _unblock(connection, database)
        done.append("opened database '%s', which the interrupted run %s had blocked" % (database, run_id))
    for name in leftovers(connection, database):
        try:
            _database.drop(connection, name)
            done.append("dropped database '%s', left half-built by an interrupted run" % name)
        except ServerError as error:  # the operation itself can do without
            done.append("nothing, for now, about what an interrupted run has left half-built. %s" % error.message)
    return done


def blocked_by(connection: Connection, database: str) -> str:
    """The dead run that has left a database closed to connections; empty where none has."""
    run_id = _database.read_own(connection, _SWAPPING).get(database, "")
    return run_id if run_id and not is_alive(connection, run_id) else ""


def leftovers(connection: Connection, database: str) -> list[str]:
    """Databases that dead runs were building for ``database``."""
    found = []
    for (name,) in rows(connection, "SELECT datname FROM pg_database ORDER BY 1"):
        match = _BUILDING.search(name)
        if match and name == building_name(database, match.group(1)) and not is_alive(connection, match.group(1)):
            found.append(name)
    return found


def _descriptions(connection: Connection, database: str) -> dict[str, dict[str, t.Any]]:
    """What is known of each database that ``database`` replaced. ``number`` counts them: a clock may jump back, and the one that was
    replaced last has to be the last one to be dropped."""
    found = {name: json.loads(description) for name, description in _database.read_own(connection, _KEPT).items()}
    # Somebody may have renamed one back by hand, and what is known of it went along.
    return {name: facts for name, facts in found.items() if facts["of"] == database and name != database}


def kept_databases(connection: Connection, database: str) -> list[Kept]:
    """The databases that ``database`` replaced, the one that was replaced last first."""
    described = sorted(
        _descriptions(connection, database).items(), key=lambda item: (item[1].get("number", 0), item[1]["at"], item[0]), reverse=True
    )
    opened = {name for (name,) in rows(connection, "SELECT datname FROM pg_database WHERE datallowconn")}
    return [
        Kept(name, facts["of"], facts["at"], facts["by"], facts["run_id"], _database.size(connection, name), name in opened)
        for name, facts in described
    ]


def drop_kept(connection: Connection, database: str, keep: int) -> list[str]:
    """Drop all but the ``keep`` newest databases that ``database`` replaced, none where that is negative, and none that takes connections;
    returns their names."""
    names = [item.name for item in kept_databases(connection, database)[keep:] if not item.opened] if keep >= 0 else []
    for name in names:
        _database.drop(connection, name)
    return names
