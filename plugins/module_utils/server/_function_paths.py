# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Functions that find their tables by the session's ``search_path``, and what that means for a restore.

``pg_restore`` works with an empty one, so whatever calls such a function while it is made (an index, a CHECK, a generated column, a
materialized view) fails (https://www.postgresql.org/docs/current/app-pgdump.html, and CVE-2018-1058, which is why).
"""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.server._database import Properties, Setting, assignment
from ansible_collections.dbops.postgres.plugins.module_utils.server._event_triggers import silenced
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import execute, rows, sql, transaction, value

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: What a session has where nothing is set.
DEFAULT = '"$user", public'

#: Named as ``regprocedure`` writes them, with schema and quotes: sessions of ours have no other schema on their path than pg_catalog.
_WITHOUT_PATH = """
SELECT p.oid::regprocedure::text
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' AND p.prokind <> 'a' AND l.lanname NOT IN ('c', 'internal')
  AND NOT EXISTS (SELECT 1 FROM unnest(p.proconfig) c WHERE c LIKE 'search\\_path=%')
  AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
ORDER BY 1
"""


#: What the session's database sets for all its sessions.
_OWN_PATH = """
SELECT substr(c, strpos(c, '=') + 1) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c
WHERE d.datname = current_database() AND s.setrole = 0 AND c LIKE 'search\\_path=%%'
"""


def search_path_of(properties: Properties) -> str:
    """The path that sessions in a database have, as far as the database says it: its own setting, else its owner's there."""
    for role in ("", properties.owner):
        for setting in properties.settings:
            if setting.role == role and setting.name == "search_path":
                return setting.value
    return DEFAULT


@contextlib.contextmanager
def in_force(connection: Connection, search_path: str = "") -> t.Iterator[None]:
    """Inside, a session has the path that an application's would have: planning a query of a table with an index on such a function
    looks into the function. Without ``search_path``, the database's own."""
    own = search_path or value(connection, _OWN_PATH) or DEFAULT
    before = value(connection, "SELECT current_setting('search_path')")
    execute(connection, "SELECT set_config('search_path', %s, false)", (own,))
    yield
    execute(connection, "SELECT set_config('search_path', %s, false)", (before,))


def give(connection: Connection, search_path: str) -> list[str]:
    """Give every function without a path of its own this one; returns their names, for ``take_back``."""
    names = [name for (name,) in rows(connection, _WITHOUT_PATH)]
    _alter(connection, names, sql.SQL("SET ") + assignment(Setting("", "search_path", search_path)))
    return names


def take_back(connection: Connection, names: t.Sequence[str]) -> None:
    _alter(connection, names, sql.SQL("RESET search_path"))


def mend(name: str, search_path: str) -> str:
    """The line that makes a function independent of the session."""
    return "ALTER ROUTINE %s SET search_path = %s, pg_temp;" % (name, search_path.replace('"$user", ', ""))


def _alter(connection: Connection, names: t.Sequence[str], action: t.Any) -> None:
    with silenced(connection), transaction(connection):
        for name in names:
            execute(connection, sql.SQL("ALTER ROUTINE {} {}").format(sql.SQL(name), action))
