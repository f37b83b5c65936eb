# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Roles that a restore needs and this server does not have: refused with the statements that make them, made, or left out."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import attempt, rows, sql
from ansible_collections.dbops.postgres.plugins.module_utils.server._roles import Role, make_roles
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

REFUSE, CREATE, SKIP = "refuse", "create", "skip"

#: How many statements that were left out are told one by one.
_TOLD = 20


def missing_roles(operation: Operation, needed: t.Iterable[str]) -> tuple[str, ...]:
    wanted = sorted(set(needed))
    present = {name for (name,) in rows(operation.maintenance, "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", (wanted,))}
    return tuple(name for name in wanted if name not in present)


def roles_to_make(operation: Operation, missing: tuple[str, ...], known: t.Sequence[Role]) -> tuple[Role, ...]:
    """What ``CREATE`` makes: the missing roles, and of those that the backup knows, who is of their family, as they were. One that only its
    name is known of cannot log in."""
    names = {role.name for role in known}
    absent = missing_roles(operation, names) if known and missing else ()
    return tuple(role for role in known if role.name in absent) + tuple(Role(name, ("INHERIT",)) for name in missing if name not in names)


def require_roles(operation: Operation, name: str, missing: tuple[str, ...], choice: str, made: t.Sequence[Role] = ()) -> None:
    """``made``: what ``CREATE`` would make.

    :raises DbopsError: where roles are missing and nothing was said about them, or they cannot be made.
    """
    reserved = [role for role in missing if role.startswith("pg_")]
    if reserved and choice != SKIP:
        raise DbopsError(
            "'%s' needs roles of another PostgreSQL version, which cannot be made here: %s. Nothing was begun. To leave out what they are"
            " granted, add: -e dbops_restore_missing_roles=skip" % (name, ", ".join(reserved))
        )
    if missing and choice == REFUSE:
        raise DbopsError(
            "'%s' needs roles that this server does not have: %s. Nothing was begun. Make them: %s Or add: -e dbops_restore_missing_roles=create"
            " (makes them, without passwords), or =skip (leaves out what they own and what they are granted)."
            % (name, ", ".join(missing), " ".join(_statement(role) for role in missing))
        )
    if made and choice == CREATE:
        operation.warnings.append(
            "Roles that '%s' needs and this server does not have are made: %s.%s"
            % (
                name,
                ", ".join(_described(role) for role in made),
                ""
                if all(role.verifier for role in made if "LOGIN" in role.attributes)
                else " Those without a password that an application uses need one: ALTER ROLE ... LOGIN PASSWORD ...",
            )
        )
    elif missing:
        operation.warnings.append(
            "Roles that '%s' needs and this server does not have are left out: what they own belongs to '%s', what they are granted is not: %s."
            % (name, operation.target.address.user, ", ".join(missing))
        )


def create_roles(operation: Operation, roles: t.Sequence[Role]) -> None:
    for role in roles:
        operation.redactor.add(role.verifier)
    if roles:
        make_roles(operation.maintenance, roles, without_settings=lambda _name: False)


def drop_roles(operation: Operation, roles: t.Iterable[Role]) -> None:
    """Roles that were made for a restore that failed; one that owns something by now stays, and harms nobody."""
    for role in roles:
        attempt(operation.maintenance, sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role.name)))


def tell_left_out(operation: Operation, statements: t.Sequence[str]) -> None:
    if statements:
        more = "; and %d more" % (len(statements) - _TOLD) if len(statements) > _TOLD else ""
        operation.warnings.append(
            "Left out or changed, since roles are missing: %s%s" % (" ".join(text[:200] for text in statements[:_TOLD]), more)
        )


def without(properties: _database.Properties, roles: t.Collection[str], user: str) -> _database.Properties:
    """What belongs to the database itself, without these roles."""
    return replace(
        properties,
        owner=user if properties.owner in roles else properties.owner,
        grants=None if properties.grants is None else tuple(grant for grant in properties.grants if grant.grantee not in roles),
        settings=tuple(setting for setting in properties.settings if setting.role not in roles),
    )


def _described(role: Role) -> str:
    rights = [word for word in role.attributes if word != "INHERIT"] + ["member of " + each.role for each in role.memberships]
    rights += ["with its password"] if role.verifier else []
    return "%s (%s)" % (role.name, ", ".join(rights) or "without login")


def _statement(role: str) -> str:
    return 'CREATE ROLE "%s";' % role.replace('"', '""')
