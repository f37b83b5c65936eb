# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A throwaway server from the database's own image, on a network without a route to anywhere.

It answers to the same names as the real server and takes the same user and database (any password), so a migration runner
finds "its" database there and cannot reach the real one: what runs here cannot change the target, by construction.
"""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import replace

from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._throwaway_server import IN_DATA_FOLDER, Machine, Sandbox, open_server
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import execute, sql
from ansible_collections.dbops.postgres.plugins.module_utils.server._roles import make_roles, read_roles
from ansible_collections.dbops.postgres.plugins.module_utils.server._statements import governs_the_log

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: The database in a sandbox that holds what others begin with.
_TEMPLATE = "dbops_template"


@contextlib.contextmanager
def open_sandbox(operation: Operation, server_options: t.Sequence[str] = ()) -> t.Iterator[Sandbox]:
    """Start a server with an empty database like the target's, and remove it and its network at the end."""
    with open_server(operation, _machine(operation, server_options)) as sandbox:
        with sandbox.session("postgres") as connection:
            make_roles(connection, read_roles(operation.maintenance), without_settings=governs_the_log)
            _create_database(operation, sandbox, connection)
        yield sandbox


def _machine(operation: Operation, server_options: t.Sequence[str]) -> Machine:
    container = operation.target.container
    return Machine(
        image=operation.docker.image(container.image_id),
        superuser=container.env.get("POSTGRES_USER", "postgres"),
        initdb_options=container.env.get("POSTGRES_INITDB_ARGS", ""),
        preload=_database.preload_libraries(operation.maintenance) or "",
        options=tuple(server_options),
        aliases=container.hostnames,
    )


def keep_as_template(sandbox: Sandbox) -> None:
    """Keep what the sandbox's database holds now, so that ``renew`` can begin with it again."""
    with sandbox.session("postgres") as connection:
        execute(connection, sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(sandbox.database), sql.Identifier(_TEMPLATE)))


def renew(operation: Operation, sandbox: Sandbox, from_template: bool) -> None:
    """Replace the sandbox's database: by an empty one, or by what ``keep_as_template`` has kept."""
    with sandbox.session("postgres") as connection:
        _database.drop(connection, operation.database)
        _create_database(operation, sandbox, connection, _TEMPLATE if from_template else "")


def _create_database(operation: Operation, sandbox: Sandbox, connection: Connection, template: str = "") -> None:
    properties = replace(properties_in_sandbox(operation), tablespace=sandbox.tablespace)
    if template:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}")
        names = (operation.database, template, properties.owner)
        execute(connection, statement.format(*map(sql.Identifier, names)))
    else:
        _database.create(connection, operation.database, properties, file_copy=True)
    _database.apply_properties(connection, operation.database, properties)


def properties_in_sandbox(operation: Operation) -> _database.Properties:
    """The target's, except for what cannot be here (tablespaces) or would hide from the log what the runner does."""
    properties = _database.read_properties(operation.maintenance, operation.database)
    settings = tuple(setting for setting in properties.settings if not governs_the_log(setting.name))
    return replace(properties, tablespace=IN_DATA_FOLDER, collation_version="", settings=settings)
