# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server that is there for one question: from an image of PostgreSQL, on a network without a route to anywhere, and gone at the end."""

from __future__ import annotations

import contextlib
import time
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container, Image
from ansible_collections.dbops.postgres.plugins.module_utils.engine._one_shot import OneShot
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox import _server_image
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import (
    Address,
    attempt,
    execute,
    rows,
    session,
    sql,
    wait_until_ready,
)
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import EngineError, ServerError

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: Seconds that the server may take to start.
START_SECONDS = 60

#: Seconds that sessions there may take to end.
_END_SECONDS = 30.0

#: Terminates what it finds.
_END_SESSIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = %s AND application_name <> %s AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""

#: Where databases lie: with the server's own files, or where those lie on a disk, in memory.
IN_DATA_FOLDER = "pg_default"
_IN_MEMORY = "dbops_memory"

#: Bytes that a server's own files need, its log of changes among them, where they lie in memory too.
_SERVER_FILES = 2**30

#: What the official image runs at first start; a derived image may have something there.
_NO_SCRIPTS = "/docker-entrypoint-initdb.d"

#: Nothing in a throwaway server has to survive a crash (https://www.postgresql.org/docs/current/non-durability.html).
_NOT_DURABLE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off", "max_wal_senders=0", "wal_level=minimal")

#: One in which times are measured writes as a real server does; what would disturb the measure is off all the same.
_DURABLE = ("autovacuum=off", "max_wal_senders=0", "wal_level=replica")

#: What it may do without until the measure begins; an option of its command line could not be changed then.
_UNTIL_THEN = ("fsync", "synchronous_commit", "full_page_writes")

#: A schema is loaded, and may be migrated, in one transaction, which holds a lock on every table and index at the same time
#: (https://www.postgresql.org/docs/current/runtime-config-locks.html#GUC-MAX-LOCKS-PER-TRANSACTION).
_MANY_LOCKS = ("max_locks_per_transaction=2048",)


@dataclass(frozen=True)
class Machine:
    """What a throwaway server is made of.

    :param preload: its ``shared_preload_libraries``; ``options``: further settings, ``name=value``.
    :param aliases: the names that it answers to on its network.
    :param in_memory: whether databases lie in memory, at most ``room`` bytes of it (0: what the engine gives).
    :param memory: bytes that the container may use, ``cpus`` the processors; 0 is without limit.
    :param durable: whether it writes as a real server does, which is what takes the time there.
    :param shared_memory: size of ``/dev/shm``, which parallel workers need.
    """

    image: Image
    superuser: str
    initdb_options: str = ""
    preload: str = ""
    options: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    in_memory: bool = True
    room: int = 0
    memory: int = 0
    cpus: float = 0
    durable: bool = False
    shared_memory: str = "256m"


@dataclass(frozen=True)
class Sandbox:
    """A running throwaway server; ``address`` is its superuser's, ``database`` the one that it is about."""

    container: Container
    network: str
    address: Address
    database: str
    application: str
    tablespace: str = IN_DATA_FOLDER

    @contextlib.contextmanager
    def session(self, database: str = "") -> t.Iterator[Connection]:
        """Past what the target has for its applications: a setting that allows no change, event triggers that forbid one."""
        with session(self.address, database or self.database, self.application) as connection:
            execute(connection, "SET session_replication_role = replica")
            execute(connection, "SET default_transaction_read_only = off")
            yield connection

    def write_carelessly(self) -> None:
        """For a restore into a durable server, which nobody measures."""
        with self.session("postgres") as connection:
            for name in _UNTIL_THEN:
                execute(connection, sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(name)))
            execute(connection, "SELECT pg_reload_conf()")

    def write_durably(self) -> None:
        """From now on, as a real server: what is changed first after the checkpoint goes into the log as a whole page."""
        with self.session("postgres") as connection:
            execute(connection, "ALTER SYSTEM RESET ALL")
            execute(connection, "SELECT pg_reload_conf()")
            deadline = time.monotonic() + _END_SECONDS
            while rows(connection, "SELECT 1 FROM pg_settings WHERE name = ANY(%s) AND setting = 'off'", (list(_UNTIL_THEN),)):
                if time.monotonic() > deadline:
                    raise ServerError("The throwaway server does not take its settings back.")
                time.sleep(0.05)
            execute(connection, "CHECKPOINT")

    def end_sessions(self) -> None:
        """Whoever was connected is gone, but what he has begun goes on: it would hold locks, and disturb what comes next. Our own sessions stay."""
        deadline = time.monotonic() + _END_SECONDS
        with self.session("postgres") as connection:
            while rows(connection, _END_SESSIONS, (self.database, self.application)) and time.monotonic() < deadline:
                time.sleep(0.05)


@contextlib.contextmanager
def open_server(operation: Operation, machine: Machine, purpose: str = "sandbox") -> t.Iterator[Sandbox]:
    """Start a server without a database of its own, and remove it and its network at the end."""
    docker = operation.docker
    name = "dbops-%s-%s" % (operation.run_id, purpose)
    docker.create_internal_network(name, operation.labels)
    try:
        sandbox = _start(operation, name, machine)
        try:
            if machine.in_memory:
                with sandbox.session("postgres") as connection:
                    sandbox = replace(sandbox, tablespace=_tablespace(connection))
            yield sandbox
        finally:
            docker.remove("container", sandbox.container.id)
    finally:
        docker.remove("network", name)


def _start(operation: Operation, name: str, machine: Machine) -> Sandbox:
    """Start the server on a data folder that was made before; where there is none, or it does not start on it, on one made now."""
    server = _server(operation, name, machine)
    prepared = _server_image.with_data_folder(operation, machine.image, machine.superuser, machine.initdb_options)
    if prepared:
        argv = ("postgres", "-D", _server_image.DATA_FOLDER, *server.argv[1:])
        tmpfs = server.tmpfs
        if machine.in_memory:
            tmpfs += (_server_image.DATA_FOLDER + "/pg_tblspc:mode=1777" + _limit(machine, ",size=%d"),)
        job = replace(server, image=prepared, argv=argv, user=_server_image.SERVER_USER, tmpfs=tmpfs)
        try:
            return _connect(operation, job, machine.superuser)
        except (EngineError, ServerError):
            _server_image.forget(operation.docker, prepared)
    env = {
        "POSTGRES_USER": machine.superuser,
        "POSTGRES_DB": "postgres",
        "POSTGRES_HOST_AUTH_METHOD": "trust",
        "POSTGRES_INITDB_ARGS": (machine.initdb_options + " --no-sync").strip(),
    }
    if not machine.in_memory:  # then the image's own volume, which goes with the container
        server = replace(server, tmpfs=server.tmpfs[-1:])
    return _connect(operation, replace(server, env=env, keep_entrypoint=True), machine.superuser)


def _server(operation: Operation, name: str, machine: Machine) -> OneShot:
    options = [*(_DURABLE if machine.durable else _NOT_DURABLE), *_MANY_LOCKS, "listen_addresses=*", *machine.options]
    options += ["shared_preload_libraries=" + machine.preload] if machine.preload else []
    return OneShot(
        name=name,
        image=machine.image.id,
        argv=("postgres", *(word for option in options for word in ("-c", option))),
        labels=operation.labels,
        network=name,
        aliases=machine.aliases,
        tmpfs=(*(folder + _limit(machine, ":size=%d", _SERVER_FILES) for folder in _server_image.data_folders(machine.image)), _NO_SCRIPTS),
        shm_size=machine.shared_memory,
        memory=machine.memory,
        cpus=machine.cpus,
    )


def _limit(machine: Machine, form: str, besides: int = 0) -> str:
    return form % (machine.room + besides) if machine.room else ""


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
    return IN_DATA_FOLDER if refused else _IN_MEMORY
