# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The user's own event triggers, which must not act on what we do while a database is built: their rows would be no part of the backup.

A server of 17 and later can be told so for a session (https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-EVENT-TRIGGERS);
in an older one they are disabled in the new database, and get back what they had.
"""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import execute, rows, sql

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: The first version that has the setting.
SINCE = 170000

#: The setting, as an option of a session.
OFF = "-c event_triggers=off"

_STATES = {"O": "ENABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}


@contextlib.contextmanager
def silenced(connection: Connection) -> t.Iterator[None]:
    """No event trigger of the session's database fires inside; needs a superuser. Not for a database that others use."""
    if connection.server_version >= SINCE:
        execute(connection, "SET event_triggers = off")
        yield
        execute(connection, "RESET event_triggers")
        return
    enabled = rows(connection, "SELECT evtname, evtenabled::text FROM pg_event_trigger WHERE evtenabled <> 'D'")
    for name, _state in enabled:
        execute(connection, sql.SQL("ALTER EVENT TRIGGER {} DISABLE").format(sql.Identifier(name)))
    yield
    for name, state in enabled:
        execute(connection, sql.SQL("ALTER EVENT TRIGGER {} " + _STATES[state]).format(sql.Identifier(name)))
