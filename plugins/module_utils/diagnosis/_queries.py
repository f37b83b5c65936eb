# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a diagnosis asks a server. Every session is read-only, and no question waits for long, whatever is locked.

A question that the server refuses leaves its facts unseen and a sentence that says so; the others go on.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import STATE_TABLES, is_state_table
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._facts import (
    Contents,
    Database,
    ServerFacts,
    Table,
    Tried,
    View,
    Wait,
)
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database, _swap
from ansible_collections.dbops.postgres.plugins.module_utils.server._database import MARKER, SEEDING
from ansible_collections.dbops.postgres.plugins.module_utils.server._lock import read_holder
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Address, ask, execute, session, sql
from ansible_collections.dbops.postgres.plugins.module_utils.server._vitals import INVALID_INDEXES, SLOTS, Slot
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import ServerError

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: Of so many tables it is looked whether they hold rows; more would take its time and say no more.
_MOST_TABLES = 300

#: Other databases that are searched for the rows that are missing here.
_MOST_DATABASES = 10

_TRUE = ("on", "true", "yes", "1")

_SESSIONS = """
SELECT format('%s of role %s from %s', coalesce(nullif(application_name, ''), 'a program without a name'), coalesce(usename, '?'),
    coalesce(host(client_addr), 'a local socket')), count(*)
FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() GROUP BY 1 ORDER BY 2 DESC, 1
"""
#: Who waits for a lock, since when, and for whom (https://www.postgresql.org/docs/current/view-pg-locks.html).
_WAITING = """
SELECT a.pid, max(extract(epoch FROM clock_timestamp() - coalesce(l.waitstart, a.query_start)))::float8, a.query, pg_blocking_pids(a.pid)
FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid AND NOT l.granted GROUP BY a.pid, a.query ORDER BY 2 DESC NULLS LAST
"""
_ACTIVITY = """
SELECT pid, format('role %s, application ''%s'' from %s', coalesce(usename, '?'), coalesce(application_name, ''),
    coalesce(host(client_addr), 'a local socket')),
    coalesce(state, ''), coalesce(extract(epoch FROM clock_timestamp() - xact_start), 0)::float8,
    coalesce(extract(epoch FROM clock_timestamp() - state_change), 0)::float8, left(coalesce(query, ''), 300)
FROM pg_stat_activity WHERE pid <> pg_backend_pid()
"""
_READ_ONLY = """
SELECT CASE WHEN s.setrole = 0 THEN format('database ''%%s''', d.datname)
        WHEN s.setdatabase = 0 THEN format('role ''%%s''', r.rolname) ELSE format('role ''%%s'' in database ''%%s''', r.rolname, d.datname) END,
    CASE WHEN s.setrole = 0 THEN format('ALTER DATABASE %%I RESET default_transaction_read_only', d.datname)
        WHEN s.setdatabase = 0 THEN format('ALTER ROLE %%I RESET default_transaction_read_only', r.rolname)
        ELSE format('ALTER ROLE %%I IN DATABASE %%I RESET default_transaction_read_only', r.rolname, d.datname) END,
    split_part(c, '=', 2)
FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) c
WHERE split_part(c, '=', 1) = 'default_transaction_read_only' AND (s.setdatabase = 0 OR d.datname = %s)
"""
_TABLES = """
SELECT n.nspname, c.relname, c.relrowsecurity, (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid)::int
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
    AND NOT EXISTS (SELECT 1 FROM pg_depend x WHERE x.classid = 'pg_class'::regclass AND x.objid = c.oid AND x.deptype = 'e')
ORDER BY 1, 2
"""
_SEARCH_PATH = """
SELECT substr(c, strpos(c, '=') + 1)
FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) c
WHERE split_part(c, '=', 1) = 'search_path' AND (s.setrole = 0 OR r.rolname = %s)
    AND (s.setdatabase = 0 OR s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()))
ORDER BY (s.setrole <> 0) DESC, (s.setdatabase <> 0) DESC LIMIT 1
"""


class Questions:
    """Asks one session; what is refused goes into ``unseen``, with what it was about."""

    def __init__(self, connection: Connection, unseen: list[str]) -> None:
        self.connection = connection
        self._unseen = unseen
        execute(connection, "SET lock_timeout = '200ms'")
        execute(connection, "SET statement_timeout = '20s'")

    def rows(self, what: str, query: t.Any, parameters: t.Any = None) -> list[tuple[t.Any, ...]]:
        found, refused = ask(self.connection, query, parameters)
        if refused:
            self._unseen.append("%s: %s" % (what, refused[:200]))
        return found

    def first(self, what: str, query: t.Any, default: tuple[t.Any, ...]) -> tuple[t.Any, ...]:
        return next(iter(self.rows(what, query)), default)


def try_address(address: Address, database: str, application: str) -> Tried:
    """Connect once, and see which database answers."""
    try:
        with session(address, database, application, read_only=True) as connection:
            identifier, _refused = ask(connection, "SELECT system_identifier::text FROM pg_control_system()")
            return Tried("", _database.read_own(connection, MARKER).get(database, ""), identifier[0][0] if identifier else "")
    except ServerError as error:
        return Tried(error.details.get("postgresql") or error.message)


def read_server_facts(connection: Connection, database: str, patience: float, unseen: list[str]) -> ServerFacts:
    """:param connection: a read-only session in the maintenance database. :param patience: seconds from which a wait counts."""
    questions = Questions(connection, unseen)
    version, recovery, ssl, folder, most, reserved, superuser, clock = questions.first(
        "the server's settings",
        "SELECT current_setting('server_version'), pg_is_in_recovery(), current_setting('ssl') = 'on', current_setting('data_directory', true),"
        " current_setting('max_connections')::int, current_setting('superuser_reserved_connections')::int,"
        " (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), extract(epoch FROM clock_timestamp())::float8",
        ("", False, False, "", 100, 3, False, 0.0),
    )
    sessions = questions.rows("the sessions", _SESSIONS)
    activity = {row[0]: row for row in questions.rows("what the sessions do", _ACTIVITY)}
    holder = read_holder(connection, database)
    (exclusive,) = questions.first("the locks", _exclusive(database), (0,))
    return ServerFacts(
        identifier=questions.first("the server's identity", "SELECT system_identifier::text FROM pg_control_system()", ("",))[0],
        version=version,
        in_recovery=recovery,
        ssl=ssl,
        superuser=bool(superuser),
        data_folder=folder or "",
        max_connections=most,
        reserved=reserved,
        connections=sum(number for _who, number in sessions),
        sessions_by=tuple(sessions[:8]),
        databases=_databases(questions),
        roles=dict(questions.rows("the roles", "SELECT rolname, rolcanlogin FROM pg_roles")),
        slots=tuple(Slot(*columns) for columns in questions.rows("the replication slots", SLOTS)),
        read_only=_read_only(questions, database, bool(superuser)),
        waits=_waits(questions.rows("the waits for locks", _WAITING), activity, patience),
        idle=tuple(
            (row[0], row[1], row[4])
            for row in sorted(activity.values(), key=lambda row: -float(row[4]))
            if row[2].startswith("idle in transaction") and row[4] >= patience
        ),
        prepared=tuple(
            questions.rows(
                "the prepared transactions",
                "SELECT gid, extract(epoch FROM clock_timestamp() - prepared)::float8 FROM pg_prepared_xacts WHERE database = %s",
                (database,),
            )
        ),
        markers=_database.read_own(connection, MARKER),
        swapping=_swap.blocked_by(connection, database),
        seeding=_database.read_own(connection, SEEDING).get(database, ""),
        running=str(holder) if holder else "",
        clock=clock,
        host_clock=time.time(),
        exclusive_locks=exclusive,
    )


def _exclusive(database: str) -> t.Any:
    """How many locks there are behind which even a reader waits."""
    return sql.SQL(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock' AND pid <> pg_backend_pid()"
        " AND database = (SELECT oid FROM pg_database WHERE datname = {})"
    ).format(sql.Literal(database))


def _databases(questions: Questions) -> tuple[Database, ...]:
    now = "pg_database_collation_actual_version(d.oid)" if questions.connection.server_version >= 150000 else "NULL"
    then = "d.datcollversion" if questions.connection.server_version >= 150000 else "NULL"
    found = questions.rows(
        "the databases",
        "SELECT d.datname, d.datallowconn, d.datistemplate, greatest(age(d.datfrozenxid), mxid_age(d.datminmxid)), coalesce(%s, ''), coalesce(%s, ''),"
        " d.datconnlimit, (SELECT count(*) FROM pg_stat_activity a WHERE a.datid = d.oid AND a.pid <> pg_backend_pid())::int"
        " FROM pg_database d ORDER BY 1" % (then, now),
    )
    return tuple(Database(*columns) for columns in found)


def _read_only(questions: Questions, database: str, superuser: bool) -> tuple[tuple[str, str], ...]:
    """Where new transactions are made read-only, and the statement that ends it. Our own session says nothing of it: it asked for it."""
    found = [
        (where, undo) for where, undo, text in questions.rows("the read-only settings", _READ_ONLY, (database,)) if text.lower() in _TRUE
    ]
    if superuser:
        query = "SELECT sourcefile, setting FROM pg_file_settings WHERE name = 'default_transaction_read_only' AND applied"
        for path, text in questions.rows("the configuration files", query):
            if (text or "").lower() in _TRUE:
                found.append(("the file '%s'" % path, "ALTER SYSTEM RESET default_transaction_read_only"))
    return tuple(found)


def _waits(waiting: list[tuple[t.Any, ...]], activity: dict[int, tuple[t.Any, ...]], patience: float) -> tuple[Wait, ...]:
    """One for each session at the root of a queue: who waits for it the longest, and how many wait behind it."""
    blockers = {pid: pids for pid, _seconds, _query, pids in waiting}
    found: dict[int, Wait] = {}
    for pid, seconds, query, _pids in waiting:
        root = _root(pid, blockers)
        if root in found:
            found[root] = Wait(**dict(vars(found[root]), waiting=found[root].waiting + 1))
        elif seconds is not None and seconds >= patience:
            _pid, who, state, age, _idle, last = activity.get(root, (root, "", "", 0.0, 0.0, ""))
            blocker = "%s, whose last statement is: %s" % (who, " ".join(last.split())[:120]) if who else "a prepared transaction"
            found[root] = Wait(pid, seconds, " ".join((query or "").split())[:120], root, blocker, state, age)
    return tuple(sorted(found.values(), key=lambda wait: (-wait.waiting, -wait.seconds)))


def _root(pid: int, blockers: dict[int, list[int]]) -> int:
    """Who is at the head of the queue in which ``pid`` waits."""
    seen = {pid}
    while blockers.get(pid):
        further = [item for item in blockers[pid] if item not in seen]
        if not further:
            break
        pid = further[0]
        seen.add(pid)
    return pid


# --- the database itself --------------------------------------------------------------------------------------------------


def read_contents(connection: Connection, roles: t.Mapping[str, str], superuser: bool, unseen: list[str]) -> Contents:
    """What is in the database of a read-only session.

    :param roles: the applications' roles, and the search path that their address gives them, empty where it gives none.
    """
    questions = Questions(connection, unseen)
    execute(connection, "SET row_security = off")
    listed = questions.rows("the tables", _TABLES)
    tables = []
    for schema, name, secured, policies in listed[:_MOST_TABLES]:
        tables.append(Table(schema, name, _has_rows(questions, schema, name), policies, secured))
    if len(listed) > _MOST_TABLES:
        unseen.append("whether tables hold rows: of %d tables only the first %d" % (len(listed), _MOST_TABLES))
    execute(connection, "SET row_security = on")
    views = tuple(_view(questions, role, path, tables, superuser) for role, path in roles.items())
    invalid = tuple(name for (name,) in questions.rows("the indexes", INVALID_INDEXES))
    return Contents(tuple(tables), views, invalid)


def _has_rows(questions: Questions, schema: str, table: str) -> bool | None:
    query = sql.SQL("SELECT EXISTS (SELECT 1 FROM {})").format(sql.Identifier(schema, table))
    found = questions.rows("whether table %s.%s holds rows" % (schema, table), query)
    return bool(found[0][0]) if found else None


def _view(questions: Questions, role: str, given: str, tables: list[Table], superuser: bool) -> View:
    schemas, denied_schemas = _schemas_of(questions, role, given)
    denied, hidden = [], []
    for table in tables:
        if table.schema not in schemas or is_state_table(table.schema, table.name, STATE_TABLES):
            continue
        literal = sql.SQL("has_table_privilege({}, {}::regclass, 'SELECT')").format(
            sql.Literal(role), sql.Literal('"%s"."%s"' % (table.schema.replace('"', '""'), table.name.replace('"', '""')))
        )
        allowed = questions.rows("the rights of role '%s'" % role, sql.SQL("SELECT {}").format(literal))
        if allowed and not allowed[0][0]:
            denied.append(table.full_name)
        elif allowed and table.row_security and table.rows and superuser and _sees_none(questions, role, table):
            hidden.append(table.full_name)
    return View(role, schemas, tuple(denied), tuple(hidden), denied_schemas)


def _sees_none(questions: Questions, role: str, table: Table) -> bool:
    execute(questions.connection, sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
    try:
        return _has_rows(questions, table.schema, table.name) is False
    finally:
        execute(questions.connection, "RESET ROLE")


def _schemas_of(questions: Questions, role: str, given: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Where a role looks for tables: the existing schemas of its search path, and those of them that it may not use."""
    own = questions.rows("the search path of role '%s'" % role, _SEARCH_PATH, (role,))
    path = given or (own[0][0] if own else '"$user", public')
    names = [role if name == "$user" else name for name in _database.split_names(path)]
    query = "SELECT nspname, has_schema_privilege(%s, oid, 'USAGE') FROM pg_namespace WHERE nspname = ANY(%s)"
    known = dict(questions.rows("the schemas of role '%s'" % role, query, (role, names)))
    return tuple(name for name in names if name in known), tuple(name for name in names if known.get(name) is False)


def tables_with_rows(connection: Connection, names: t.Collection[str], unseen: list[str]) -> tuple[str, ...]:
    """Of the tables with one of these names (of all, where none is given), those that hold rows."""
    questions = Questions(connection, unseen)
    execute(connection, "SET row_security = off")
    found = []
    for schema, name, _secured, _policies in questions.rows("the tables", _TABLES)[:_MOST_TABLES]:
        if (not names or name in names) and not is_state_table(schema, name, STATE_TABLES) and _has_rows(questions, schema, name):
            found.append("%s.%s" % (schema, name))
    return tuple(found)


def other_databases(server: ServerFacts, database: str, maintenance: str) -> list[str]:
    """Where else the rows may be: databases that are open and no template."""
    names = [item.name for item in server.databases if item.open and not item.template and item.name not in (database, maintenance)]
    return names[:_MOST_DATABASES]
