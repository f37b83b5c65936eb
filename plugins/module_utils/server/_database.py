# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What belongs to a database itself, which a dump of its contents does not carry.

Owner, encoding and locale, tablespace, connection limit, comment, grants, and the settings of ``ALTER DATABASE ... SET`` and
``ALTER ROLE ... IN DATABASE ... SET`` (https://www.postgresql.org/docs/current/app-pgdump.html, Notes).
"""

from __future__ import annotations

import typing as t
from dataclasses import asdict, dataclass, replace

from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import attempt, execute, row, rows, sql, value
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import ServerError

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: Our own settings inside a database start with this; they are never carried over, each has its own rule.
OWN_SETTING = "dbops."

#: The own setting that holds the environment marker.
MARKER = "environment"

#: The own setting that lists the seeds whose rows a database holds. It belongs to the contents: a restore takes it from the backup.
SEEDS = "seeds"

#: The own setting that a database has while a seed runs on it; it stays where the seed's end was not seen, or left rows behind.
SEEDING = "seeding"

#: Settings whose value is a list of quoted names (GUC_LIST_QUOTE in PostgreSQL's source; pg_dump keeps the same list).
_LISTS = {
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
}

_PROVIDERS = {"b": "builtin", "c": "libc", "i": "icu"}

#: A name in PostgreSQL has at most 63 bytes (https://www.postgresql.org/docs/current/sql-syntax-lexical.html).
NAME_BYTES = 63

#: Seconds that dropping a database may take: the server makes a checkpoint for it.
_DROP_SECONDS = 300


@dataclass(frozen=True)
class Grant:
    """One privilege on the database; an empty ``grantee`` is PUBLIC."""

    grantee: str
    privilege: str
    grantable: bool


@dataclass(frozen=True)
class Setting:
    """One setting; an empty ``role`` is ``ALTER DATABASE ... SET``."""

    role: str
    name: str
    value: str


@dataclass(frozen=True)
class Properties:
    """A database without its contents. ``grants`` is ``None`` where nothing was ever granted or revoked."""

    owner: str
    encoding: str
    collate: str
    ctype: str
    provider: str
    locale: str
    collation_version: str
    tablespace: str
    connection_limit: int
    comment: str
    grants: tuple[Grant, ...] | None
    settings: tuple[Setting, ...]

    def to_json(self) -> dict[str, t.Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, t.Any]) -> Properties:
        grants = data["grants"]
        return cls(
            **dict(
                data,
                grants=None if grants is None else tuple(Grant(**grant) for grant in grants),
                settings=tuple(Setting(**setting) for setting in data["settings"]),
            )
        )

    def own_setting(self, name: str) -> str:
        """The value of one of our own settings, empty where it is not set."""
        return next((setting.value for setting in self.settings if not setting.role and setting.name == OWN_SETTING + name), "")

    def without_own_settings(self) -> Properties:
        return replace(self, settings=tuple(setting for setting in self.settings if not setting.name.startswith(OWN_SETTING)))


def exists(connection: Connection, database: str) -> bool:
    return bool(value(connection, "SELECT 1 FROM pg_database WHERE datname = %s", (database,)))


def identity(connection: Connection, database: str) -> int:
    """A database's OID, 0 where there is none: a name can change hands, this cannot."""
    return int(value(connection, "SELECT oid::bigint FROM pg_database WHERE datname = %s", (database,)) or 0)


def name_of(connection: Connection, oid: int) -> str:
    """The inverse of ``identity``; empty where there is no such database."""
    return str(value(connection, "SELECT datname FROM pg_database WHERE oid = %s", (oid,)) or "")


def size(connection: Connection, database: str) -> int:
    """Bytes on disk."""
    return int(value(connection, "SELECT pg_database_size(%s::name)", (database,)))


def preload_libraries(connection: Connection) -> str | None:
    """``shared_preload_libraries``, which some extensions cannot be restored without; none where this role may not read it."""
    found: str | None = value(connection, "SELECT setting FROM pg_settings WHERE name = 'shared_preload_libraries'")
    return found


def require(connection: Connection, database: str) -> None:
    """:raises ServerError: where there is no such database, naming those that there are."""
    if not exists(connection, database):
        names = [name for (name,) in rows(connection, "SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1")]
        raise ServerError(
            "There is no database '%s' on this server. Databases here: %s. Check dbops_database." % (database, ", ".join(names))
        )


def read_properties(connection: Connection, database: str) -> Properties:
    """Read from any database of the same server."""
    number = connection.server_version
    provider = "d.datlocprovider" if number >= 150000 else "'c'"
    locale = "d.datlocale" if number >= 170000 else "d.daticulocale" if number >= 150000 else "NULL"
    version = "d.datcollversion" if number >= 150000 else "NULL"
    columns = row(
        connection,
        f"SELECT d.oid, d.datacl IS NULL, {provider}, pg_get_userbyid(d.datdba), pg_encoding_to_char(d.encoding), d.datcollate, d.datctype,"
        f" coalesce({locale}, ''), coalesce({version}, ''), t.spcname, d.datconnlimit, coalesce(shobj_description(d.oid, 'pg_database'), '')"
        " FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace WHERE d.datname = %s",
        (database,),
    )
    oid, untouched, provider_letter, owner, encoding, collate, ctype, locale_name, collation_version, tablespace, limit, comment = columns
    return Properties(
        owner=owner,
        encoding=encoding,
        collate=collate,
        ctype=ctype,
        provider=_PROVIDERS[provider_letter],
        locale=locale_name,
        collation_version=collation_version,
        tablespace=tablespace,
        connection_limit=limit,
        comment=comment,
        grants=None if untouched else _read_grants(connection, oid),
        settings=_read_settings(connection, oid),
    )


def _read_grants(connection: Connection, oid: int) -> tuple[Grant, ...]:
    found = rows(
        connection,
        "SELECT CASE WHEN a.grantee = 0 THEN '' ELSE pg_get_userbyid(a.grantee) END, a.privilege_type, bool_or(a.is_grantable)"
        " FROM pg_database d, aclexplode(d.datacl) a WHERE d.oid = %s GROUP BY 1, 2 ORDER BY 1, 2",
        (oid,),
    )
    return tuple(Grant(*columns) for columns in found)


def _read_settings(connection: Connection, oid: int) -> tuple[Setting, ...]:
    found = rows(
        connection,
        "SELECT coalesce(r.rolname, ''), split_part(c, '=', 1), substr(c, strpos(c, '=') + 1)"
        " FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) c"
        " WHERE s.setdatabase = %s AND (s.setrole = 0 OR r.oid IS NOT NULL) ORDER BY 1, 2",
        (oid,),
    )
    return tuple(Setting(*columns) for columns in found)


def create(connection: Connection, database: str, properties: Properties, file_copy: bool = False) -> None:
    """An empty database with the encoding, locale, owner and tablespace of ``properties``; the rest is for ``apply_properties``.

    :param file_copy: with two checkpoints instead of a log of each page, which suits a server that nobody else works on
        (https://www.postgresql.org/docs/current/sql-createdatabase.html#CREATE-DATABASE-STRATEGY).
    """
    clauses = [
        sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(database)),
        sql.SQL("OWNER {}").format(sql.Identifier(properties.owner)),
        sql.SQL("ENCODING {}").format(sql.Literal(properties.encoding)),
        sql.SQL("LC_COLLATE {} LC_CTYPE {}").format(sql.Literal(properties.collate), sql.Literal(properties.ctype)),
        sql.SQL("TABLESPACE {}").format(sql.Identifier(properties.tablespace)),
    ]
    if connection.server_version >= 150000 and properties.provider != "libc":
        clauses.append(sql.SQL("LOCALE_PROVIDER {}").format(sql.Identifier(properties.provider)))
        if properties.locale:
            clauses.append(
                sql.SQL("{} {}").format(
                    sql.SQL("ICU_LOCALE" if properties.provider == "icu" else "BUILTIN_LOCALE"), sql.Literal(properties.locale)
                )
            )
    if file_copy and connection.server_version >= 150000:  # before, there was no other way
        clauses.append(sql.SQL("STRATEGY {}").format(sql.Identifier("file_copy")))
    execute(connection, sql.SQL(" ").join(clauses))


def apply_properties(connection: Connection, database: str, properties: Properties) -> None:
    """Give a new database the grants, settings, comment and connection limit of ``properties``. Our own settings stay out."""
    name = sql.Identifier(database)
    execute(connection, sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(name, sql.Literal(properties.connection_limit)))
    if properties.comment:
        execute(connection, sql.SQL("COMMENT ON DATABASE {} IS {}").format(name, sql.Literal(properties.comment)))
    if properties.grants is not None:
        execute(connection, sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC, {}").format(name, sql.Identifier(properties.owner)))
        for grant in properties.grants:
            execute(connection, grant_statement(name, grant))
    for setting in properties.without_own_settings().settings:
        execute(connection, setting_statement(name, setting))


def grant_statement(name: sql.Identifier, grant: Grant) -> sql.Composed:
    return sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(
        sql.SQL(grant.privilege),
        name,
        sql.Identifier(grant.grantee) if grant.grantee else sql.SQL("PUBLIC"),
        sql.SQL(" WITH GRANT OPTION" if grant.grantable else ""),
    )


def setting_statement(name: sql.Identifier, setting: Setting) -> sql.Composed:
    whose = (
        sql.SQL("ROLE {} IN DATABASE {}").format(sql.Identifier(setting.role), name)
        if setting.role
        else sql.SQL("DATABASE {}").format(name)
    )
    return sql.SQL("ALTER {} SET {}").format(whose, assignment(setting))


def assignment(setting: Setting) -> sql.Composed:
    """``name TO value``, a list's values one by one."""
    values = split_names(setting.value) if setting.name in _LISTS else [setting.value]
    parts = [sql.Identifier(part) for part in setting.name.split(".")]
    return sql.SQL("{} TO {}").format(sql.SQL(".").join(parts), sql.SQL(", ").join(map(sql.Literal, values)))


def split_names(text: str) -> list[str]:
    """The names in a list setting's stored value, such as ``"$user", public``."""
    names = []
    position = 0
    while position < len(text):
        if text[position] in ", \t\n":
            position += 1
        elif text[position] == '"':
            name, position = _quoted(text, position + 1)
            names.append(name)
        else:
            end = next((at for at in range(position, len(text)) if text[at] in ", \t\n"), len(text))
            names.append(text[position:end])
            position = end
    return names or [""]


def _quoted(text: str, position: int) -> tuple[str, int]:
    name = ""
    while position < len(text):
        if text[position] != '"':
            name += text[position]
        elif text[position + 1 : position + 2] == '"':
            name += '"'
            position += 1
        else:
            return name, position + 1
        position += 1
    return name, position


def set_own(connection: Connection, database: str, name: str, text: str) -> None:
    """Set or, with an empty text, remove one of our own settings in a database."""
    identifier = sql.Identifier(database)
    if text:
        execute(connection, setting_statement(identifier, Setting("", OWN_SETTING + name, text)))
    else:
        execute(
            connection, sql.SQL("ALTER DATABASE {} RESET {}.{}").format(identifier, sql.Identifier(OWN_SETTING[:-1]), sql.Identifier(name))
        )


def read_own(connection: Connection, name: str) -> dict[str, str]:
    """One of our own settings in every database of the server that has it: ``{database: value}``."""
    found = rows(
        connection,
        "SELECT d.datname, substr(c, strpos(c, '=') + 1) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c"
        " WHERE s.setrole = 0 AND split_part(c, '=', 1) = %s",
        (OWN_SETTING + name,),
    )
    return dict(found)


def drop(connection: Connection, database: str, seconds: int = _DROP_SECONDS) -> None:
    """Drop a database, ending its sessions (https://www.postgresql.org/docs/current/sql-dropdatabase.html).

    :raises ServerError: where that takes too long: the server waits for each of its processes to take note, a hanging one too.
    """
    execute(connection, "SET statement_timeout = '%ds'" % seconds)
    refused = attempt(connection, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))
    execute(connection, "RESET statement_timeout")
    if refused:
        raise ServerError("Database '%s' could not be dropped: %s" % (database, refused))


def derived_name(database: str, suffix: str) -> str:
    """``database`` with ``suffix``, within PostgreSQL's limit: the database's part is cut, never inside a character."""
    room = NAME_BYTES - len(suffix.encode())
    return database.encode()[:room].decode("utf-8", "ignore") + suffix
