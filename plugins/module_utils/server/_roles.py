# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The roles of a server, to make them anew elsewhere, without their passwords."""

from __future__ import annotations

import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.server._database import Setting, assignment
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import execute, rows, sql

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


def copy_roles(source: Connection, destination: Connection, without_settings: t.Callable[[str], bool]) -> None:
    """Make every role of ``source`` that ``destination`` lacks, with attributes and memberships, but no password.

    Settings go along, also those of roles that both have, except for those whose name ``without_settings`` picks out.
    """
    present = {name for (name,) in rows(destination, "SELECT rolname FROM pg_roles")}
    columns = ", ".join(name for name, _word in _ATTRIBUTES)
    for role in rows(
        source, "SELECT rolname, rolconnlimit, " + columns + " FROM pg_roles WHERE rolname NOT LIKE 'pg\\_%' ORDER BY rolname"
    ):
        if role[0] in present:
            continue
        words = [word if given else "NO" + word for (_name, word), given in zip(_ATTRIBUTES, role[2:])]
        statement = sql.SQL("CREATE ROLE {} WITH " + " ".join(words) + " CONNECTION LIMIT {}").format(
            sql.Identifier(role[0]), sql.Literal(role[1])
        )
        execute(destination, statement)
    _copy_memberships(source, destination, present)
    _copy_settings(source, destination, without_settings)


def _copy_memberships(source: Connection, destination: Connection, present: set[str]) -> None:
    memberships = rows(
        source,
        "SELECT DISTINCT pg_get_userbyid(m.roleid), pg_get_userbyid(m.member), bool_or(m.admin_option) FROM pg_auth_members m GROUP BY 1, 2 ORDER BY 1, 2",
    )
    for role, member, admin in memberships:
        if member not in present:
            option = sql.SQL(" WITH ADMIN OPTION" if admin else "")
            execute(destination, sql.SQL("GRANT {} TO {}{}").format(sql.Identifier(role), sql.Identifier(member), option))


def _copy_settings(source: Connection, destination: Connection, without_settings: t.Callable[[str], bool]) -> None:
    settings = rows(
        source,
        "SELECT r.rolname, split_part(c, '=', 1), substr(c, strpos(c, '=') + 1) FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole,"
        " unnest(s.setconfig) c WHERE s.setdatabase = 0",
    )
    for setting in (Setting(*columns) for columns in settings):
        if not without_settings(setting.name):
            execute(destination, sql.SQL("ALTER ROLE {} SET {}").format(sql.Identifier(setting.role), assignment(setting)))
