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
from dataclasses import dataclass, replace

from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container, Image
from ansible_collections.dbops.postgres.plugins.module_utils.engine._one_shot import OneShot
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox import _server_image
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import (
    Address,
    attempt,
    execute,
    session,
    sql,
    value,
    wait_until_ready,
)
from ansible_collections.dbops.postgres.plugins.module_utils.server._roles import copy_roles
from ansible_collections.dbops.postgres.plugins.module_utils.server._statements import governs_the_log
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import EngineError, ServerError

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: Seconds that the sandbox's server may take to start.
START_SECONDS = 60

#: Where databases lie: with the server's own files, or where those lie on a disk, in memory.
_IN_DATA_FOLDER = "pg_default"
_IN_MEMORY = "dbops_memory"

#: The database in a sandbox that holds what others begin with.
_TEMPLATE = "dbops_template"

#: Nothing in a sandbox has to survive a crash (https://www.postgresql.org/docs/current/non-durability.html).
_NOT_DURABLE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off", "max_wal_senders=0", "wal_level=minimal")

#: The schema is loaded, and may be migrated, in one transaction, which holds a lock on every table and index at the same time
#: (https://www.postgresql.org/docs/current/runtime-config-locks.html#GUC-MAX-LOCKS-PER-TRANSACTION).
_MANY_LOCKS = ("max_locks_per_transaction=2048",)


@dataclass(frozen=True)
class Sandbox:
    """A running sandbox; ``address`` is its superuser's."""

    container: Container
    network: str
    address: Address
    database: str
    application: str
    tablespace: str = _IN_DATA_FOLDER

    @contextlib.contextmanager
    def session(self, database: str = "") -> t.Iterator[Connection]:
        """Past what the target has for its applications: a setting that allows no change, event triggers that forbid one."""
        with session(self.address, database or self.database, self.application) as connection:
            execute(connection, "SET session_replication_role = replica")
            execute(connection, "SET default_transaction_read_only = off")
            yield connection


@contextlib.contextmanager
def open_sandbox(operation: Operation, server_options: t.Sequence[str] = ()) -> t.Iterator[Sandbox]:
    """Start a server with an empty database like the target's, and remove it and its network at the end."""
    docker = operation.docker
    name = "dbops-%s-sandbox" % operation.run_id
    docker.create_internal_network(name, operation.labels)
    try:
        sandbox = _start(operation, name, server_options)
        try:
            with sandbox.session("postgres") as connection:
                sandbox = replace(sandbox, tablespace=_tablespace(connection))
                copy_roles(operation.maintenance, connection, without_settings=governs_the_log)
                _create_database(operation, sandbox, connection)
            yield sandbox
        finally:
            docker.remove("container", sandbox.container.id)
    finally:
        docker.remove("network", name)


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
    return replace(properties, tablespace=_IN_DATA_FOLDER, collation_version="", settings=settings)


def _start(operation: Operation, name: str, server_options: t.Sequence[str]) -> Sandbox:
    """Start the server on a data folder that was made before; where there is none, or it does not start on it, on one made now."""
    database_container = operation.target.container
    image = operation.docker.image(database_container.image_id)
    user = database_container.env.get("POSTGRES_USER", "postgres")
    initdb_options = database_container.env.get("POSTGRES_INITDB_ARGS", "")
    server = _server(operation, name, image, server_options)
    prepared = _server_image.with_data_folder(operation, image, user, initdb_options)
    if prepared:
        argv = ("postgres", "-D", _server_image.DATA_FOLDER, *server.argv[1:])
        tmpfs = (*server.tmpfs, _server_image.DATA_FOLDER + "/pg_tblspc:mode=1777")
        job = replace(server, image=prepared, argv=argv, user=_server_image.SERVER_USER, tmpfs=tmpfs)
        try:
            return _connect(operation, job, user)
        except (EngineError, ServerError):
            _server_image.forget(operation.docker, prepared)
    env = {
        "POSTGRES_USER": user,
        "POSTGRES_DB": "postgres",
        "POSTGRES_HOST_AUTH_METHOD": "trust",
        "POSTGRES_INITDB_ARGS": (initdb_options + " --no-sync").strip(),
    }
    return _connect(operation, replace(server, env=env, keep_entrypoint=True), user)


def _server(operation: Operation, name: str, image: Image, server_options: t.Sequence[str]) -> OneShot:
    preload = value(operation.maintenance, "SELECT current_setting('shared_preload_libraries')")
    options = [*_NOT_DURABLE, *_MANY_LOCKS, "listen_addresses=*", *server_options] + (
        ["shared_preload_libraries=" + preload] if preload else []
    )
    return OneShot(
        name=name,
        image=image.id,
        argv=("postgres", *(word for option in options for word in ("-c", option))),
        labels=operation.labels,
        network=name,
        aliases=operation.target.container.hostnames,
        tmpfs=_server_image.data_folders(image) + ("/docker-entrypoint-initdb.d",),
        shm_size="256m",
    )


def _connect(operation: Operation, server: OneShot, user: str) -> Sandbox:
    """Start the container and wait until its server takes connections; a container that does not get there is removed."""
    docker = operation.docker
    container = docker.start(server)
    host = next((endpoint.address for endpoint in container.endpoints if endpoint.address), "")
    sandbox = Sandbox(container, server.network, Address(host, 5432, user), operation.database, operation.application)

    def trouble() -> str:
        seen = docker.container(container.id)
        return "" if seen.running else "its container stopped: %s" % docker.logs(container.id, tail=5).strip()

    try:
        wait_until_ready(sandbox.address, "postgres", sandbox.application, START_SECONDS, trouble)
    except BaseException:
        docker.remove("container", container.id)
        raise
    return sandbox


def _tablespace(connection: Connection) -> str:
    """A data folder that comes with an image lies on the disk: thousands of tables take half as long where ``pg_tblspc`` is in memory.

    A server that knows no tablespace inside its own folder (before 14.5) works as well without
    (https://www.postgresql.org/docs/current/runtime-config-developer.html#GUC-ALLOW-IN-PLACE-TABLESPACES).
    """
    create = sql.SQL("CREATE TABLESPACE {} LOCATION ''").format(sql.Identifier(_IN_MEMORY))
    refused = attempt(connection, "SET allow_in_place_tablespaces = on") or attempt(connection, create)
    return _IN_DATA_FOLDER if refused else _IN_MEMORY
