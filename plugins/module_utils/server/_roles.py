# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The roles of a server, to make them anew elsewhere; of their passwords, where that is asked for, only what checks them."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from ansible_collections.dbops.postgres.plugins.module_utils.server._database import Setting, assignment
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import execute, rows, sql, value

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

_ATTRIBUTES = (
    ("rolsuper", "SUPERUSER"),
    ("rolinherit", "INHERIT"),
    ("rolcreaterole", "CREATEROLE"),
    ("rolcreatedb", "CREATEDB"),
    ("rolcanlogin", "LOGIN"),
    ("rolreplication", "REPLICATION"),
    ("rolbypassrls", "BYPASSRLS"),
)

#: Roles of the same family: those that the given ones are members of, and their members. PostgreSQL's own are on every server.
_FAMILY = """
WITH RECURSIVE above AS (
    SELECT oid FROM pg_roles WHERE rolname = ANY(%s)
    UNION SELECT m.roleid FROM pg_auth_members m JOIN above ON above.oid = m.member
), below AS (
    SELECT oid FROM pg_roles WHERE rolname = ANY(%s) AND rolname NOT LIKE 'pg\\_%%'
    UNION SELECT m.member FROM pg_auth_members m JOIN below ON below.oid = m.roleid
)
SELECT rolname FROM pg_roles WHERE oid IN (SELECT oid FROM above UNION SELECT oid FROM below) AND rolname NOT LIKE 'pg\\_%%' ORDER BY 1
"""


@dataclass(frozen=True)
class Membership:
    """Of a role in another; ``admin``: it may let others in."""

    role: str
    admin: bool


@dataclass(frozen=True)
class Role:
    """``attributes``: the words of ``CREATE ROLE`` that it has (``LOGIN``); ``settings``: those of ``ALTER ROLE ... SET``. ``verifier``: checks its
    password, and does not tell it."""

    name: str
    attributes: tuple[str, ...]
    connection_limit: int = -1
    memberships: tuple[Membership, ...] = ()
    settings: tuple[Setting, ...] = ()
    verifier: str = ""

    @classmethod
    def from_json(cls, data: dict[str, t.Any]) -> Role:
        return cls(
            data["name"],
            tuple(data["attributes"]),
            data["connection_limit"],
            tuple(Membership(**membership) for membership in data["memberships"]),
            tuple(Setting(**setting) for setting in data["settings"]),
            data.get("verifier", ""),
        )


def read_roles(connection: Connection) -> tuple[Role, ...]:
    """Every role of a server but PostgreSQL's own, by name."""
    columns = ", ".join(name for name, _word in _ATTRIBUTES)
    memberships = _read_memberships(connection)
    settings = _read_settings(connection)
    found = rows(connection, "SELECT rolname, rolconnlimit, " + columns + " FROM pg_roles WHERE rolname NOT LIKE 'pg\\_%' ORDER BY rolname")
    return tuple(
        Role(
            name,
            tuple(word for (_column, word), given in zip(_ATTRIBUTES, has) if given),
            limit,
            tuple(memberships.get(name, ())),
            tuple(settings.get(name, ())),
        )
        for name, limit, *has in found
    )


def family(connection: Connection, names: t.Iterable[str]) -> tuple[Role, ...]:
    """These roles, those that they are members of, and their members: who may work with what the roles own or are granted."""
    wanted = list(names)
    related = {name for (name,) in rows(connection, _FAMILY, (wanted, wanted))}
    return tuple(role for role in read_roles(connection) if role.name in related)


def with_verifiers(connection: Connection, roles: t.Sequence[Role]) -> tuple[Role, ...] | None:
    """The same, with what checks their passwords, as far as it is SCRAM: an MD5 hash is as good as the password itself
    (https://www.postgresql.org/docs/current/auth-password.html). None where this role may not read them."""
    if not value(connection, "SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT')"):
        return None
    query = "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = ANY(%s) AND rolpassword LIKE 'SCRAM-SHA-256$%%'"
    found = dict(rows(connection, query, ([role.name for role in roles],)))
    return tuple(replace(role, verifier=found.get(role.name, "")) for role in roles)


def make_roles(connection: Connection, roles: t.Sequence[Role], without_settings: t.Callable[[str], bool]) -> None:
    """Make those roles that a server lacks, with attributes and memberships, and a password where what checks it is known.

    Settings go along, also those of roles that it has, except for those whose name ``without_settings`` picks out.
    """
    present = {name for (name,) in rows(connection, "SELECT rolname FROM pg_roles")}
    new = [role for role in roles if role.name not in present]
    for role in new:
        execute(connection, create_statement(role))
    known = present | {role.name for role in new}  # a family is not all of a server, and another version has other roles of its own
    for role in new:
        for membership in role.memberships:
            if membership.role not in known:
                continue
            option = sql.SQL(" WITH ADMIN OPTION" if membership.admin else "")
            execute(connection, sql.SQL("GRANT {} TO {}{}").format(sql.Identifier(membership.role), sql.Identifier(role.name), option))
    for role in roles:
        for setting in role.settings:
            if not without_settings(setting.name):
                execute(connection, sql.SQL("ALTER ROLE {} SET {}").format(sql.Identifier(role.name), assignment(setting)))


def create_statement(role: Role) -> sql.Composed:
    words = [word if word in role.attributes else "NO" + word for _column, word in _ATTRIBUTES]
    statement = sql.SQL("CREATE ROLE {} WITH " + " ".join(words) + " CONNECTION LIMIT {}").format(
        sql.Identifier(role.name), sql.Literal(role.connection_limit)
    )
    return statement + sql.SQL(" PASSWORD {}").format(sql.Literal(role.verifier)) if role.verifier else statement


def _read_memberships(connection: Connection) -> dict[str, list[Membership]]:
    found: dict[str, list[Membership]] = {}
    for role, member, admin in rows(
        connection,
        "SELECT pg_get_userbyid(m.roleid), pg_get_userbyid(m.member), bool_or(m.admin_option) FROM pg_auth_members m GROUP BY 1, 2 ORDER BY 1, 2",
    ):
        found.setdefault(member, []).append(Membership(role, admin))
    return found


def _read_settings(connection: Connection) -> dict[str, list[Setting]]:
    found: dict[str, list[Setting]] = {}
    for columns in rows(
        connection,
        "SELECT r.rolname, split_part(c, '=', 1), substr(c, strpos(c, '=') + 1) FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole,"
        " unnest(s.setconfig) c WHERE s.setdatabase = 0",
    ):
        setting = Setting(*columns)
        found.setdefault(setting.role, []).append(setting)
    return found
