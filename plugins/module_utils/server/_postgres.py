# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A connection to a server, and what the server is."""

from __future__ import annotations

import contextlib
import os
import socket
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, ServerError

try:
    import psycopg2
    import psycopg2.extensions
    import psycopg2.extras
    from psycopg2 import sql
except ImportError:  # reported by require_psycopg2, so that the documentation can be read without it
    psycopg2 = None  # type: ignore[assignment]
    sql = None  # type: ignore[assignment]

if t.TYPE_CHECKING:
    Connection = psycopg2.extensions.connection

__all__ = [
    "Address",
    "Connection",
    "Server",
    "ask",
    "attempt",
    "connect",
    "execute",
    "give_up",
    "read_server",
    "require_psycopg2",
    "row",
    "rows",
    "session",
    "sql",
    "told_refusals",
    "transaction",
    "value",
    "wait_until_ready",
]

#: Oldest server that is tested (https://www.postgresql.org/support/versioning/).
OLDEST_VERSION = 140000

#: How a session notices within half a minute that its server's address is gone: a killed container does not say goodbye
#: (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-KEEPALIVES). A server that is only slow answers all the same.
KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}

#: The same for the server's side, which would hold a lock for two hours for a client that it cannot reach any more
#: (https://www.postgresql.org/docs/current/runtime-config-connection.html#GUC-TCP-KEEPALIVES-IDLE).
SERVER_KEEPALIVES = " ".join("-c tcp_%s=%d" % item for item in KEEPALIVES.items())

#: Roles and databases have time limits for the applications' sake; a backup counts the rows of a large table for as long as that takes
#: (https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-STATEMENT-TIMEOUT).
NO_TIMEOUTS = " ".join(
    "-c %s=0" % name for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout")
)

#: The same for what was sent and not received, in milliseconds. Not for programs that send much: a slow server may let them wait longer.
_UNANSWERED = 30000

#: SQLSTATE insufficient_privilege (https://www.postgresql.org/docs/current/errcodes-appendix.html).
_NO_RIGHT = "42501"


@dataclass(frozen=True)
class Address:
    """Where a server listens, and who asks."""

    host: str
    port: int
    user: str
    password: str = ""


@dataclass(frozen=True)
class Server:
    """What a server is. ``identifier`` is the system identifier that initdb gave it, in decimal digits."""

    identifier: str
    version: str
    version_number: int
    in_recovery: bool
    superuser: bool

    @property
    def major(self) -> int:
        return self.version_number // 10000


def require_psycopg2() -> None:
    if psycopg2 is None:
        raise DbopsError(
            "Python on this host has no psycopg2: install the package 'python3-psycopg2' (or set ansible_python_interpreter to a Python that has it)."
        )


def connect(address: Address, database: str, application: str, read_only: bool = False, lock_timeout: str = "") -> Connection:
    """An autocommit session.

    :param application: ``application_name``, at most 63 bytes of it are shown.
    :param read_only: sets ``default_transaction_read_only``; nothing in this session can write.
    :param lock_timeout: how long a statement may wait for a lock, such as ``2s``; empty, without limit.
    :raises ServerError: with PostgreSQL's own sentence.
    """
    require_psycopg2()
    options = (
        "-c search_path=pg_catalog " + SERVER_KEEPALIVES + " " + NO_TIMEOUTS + (" -c default_transaction_read_only=on" if read_only else "")
    )
    options += " -c lock_timeout=" + lock_timeout if lock_timeout else ""
    psycopg2.extensions.set_wait_callback(None)  # else connect_timeout would not count
    patience: dict[str, t.Any] = dict(KEEPALIVES, tcp_user_timeout=_UNANSWERED)
    if psycopg2.extensions.libpq_version() < 120000:
        patience.pop("tcp_user_timeout")
    try:
        connection: Connection = psycopg2.connect(
            host=address.host,
            port=address.port,
            user=address.user,
            password=address.password,
            dbname=database,
            application_name=application,
            connect_timeout=10,
            options=options,
            **patience,
        )
        psycopg2.extensions.set_wait_callback(psycopg2.extras.wait_select)  # else a signal could not end a wait for the server
        connection.autocommit = True
        connection.set_client_encoding("UTF8")
        if connection.server_version >= 170000:
            execute(connection, "SET transaction_timeout = 0")  # older servers refuse it as an option
    except psycopg2.Error as error:  # a server that is just stopping lets in and then ends the session
        raise ServerError(_connect_sentence(str(error), address, database), postgresql=str(error).strip()) from None
    return connection


@contextlib.contextmanager
def session(address: Address, database: str, application: str, read_only: bool = False, lock_timeout: str = "") -> t.Iterator[Connection]:
    """Like ``connect``, closed at the end; an error inside becomes a ServerError with PostgreSQL's own sentence."""
    connection = connect(address, database, application, read_only, lock_timeout)
    try:
        yield connection
    except psycopg2.Error as error:
        advice = (
            " Role '%s' (dbops_user) lacks a right: restore and reset need a superuser." % address.user if error.pgcode == _NO_RIGHT else ""
        )
        raise ServerError(
            "PostgreSQL refused in database '%s': %s%s" % (database, " ".join(str(error).split()), advice), sqlstate=error.pgcode
        ) from None
    finally:
        connection.close()


def give_up(connection: Connection) -> None:
    """End what another thread waits for in this session, also where the server is gone and cannot be asked to cancel it."""
    try:
        connection.cancel()
    except psycopg2.Error:
        with contextlib.suppress(OSError, psycopg2.Error), socket.socket(fileno=os.dup(connection.fileno())) as wire:
            wire.shutdown(socket.SHUT_RDWR)


def _connect_sentence(error: str, address: Address, database: str) -> str:
    text = " ".join(error.split())
    advice = "check that the container runs and dbops_port is right"
    for sign, words in (
        (
            "password authentication failed",
            "dbops_user or dbops_password (or the container's POSTGRES_PASSWORD, which only counts when the data folder is made) does not fit",
        ),
        ("no password supplied", "give dbops_password"),
        ("too many clients", "free connections first: another session must end"),
        ("remaining connection slots", "free connections first: another session must end"),
        ("too many connections", "the database's or role's connection limit is reached: another session must end"),
        (
            "not currently accepting connections",
            "the database takes no connections (what an interrupted swap has closed, the next operation opens; else: ALTER DATABASE ..."
            " ALLOW_CONNECTIONS true)",
        ),
        ("does not exist", "check dbops_database and dbops_user"),
        ("no pg_hba.conf entry", "allow this host's address in pg_hba.conf"),
        ("starting up", "the server is starting up: wait and run this again"),
    ):
        if sign in text:
            advice = words
            break
    return "Cannot connect to database '%s' as user '%s' at %s:%d: %s. PostgreSQL says: %s" % (
        database,
        address.user,
        address.host,
        address.port,
        advice,
        text,
    )


def rows(connection: Connection, query: t.Any, parameters: t.Any = None) -> list[tuple[t.Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchall()


def ask(connection: Connection, query: t.Any, parameters: t.Any = None) -> tuple[list[tuple[t.Any, ...]], str]:
    """Like ``rows`` for what the server may refuse: the rows, and its sentence where it did."""
    try:
        return rows(connection, query, parameters), ""
    except psycopg2.Error as error:
        return [], " ".join(str(error).split())


def row(connection: Connection, query: t.Any, parameters: t.Any = None) -> tuple[t.Any, ...]:
    """The first row; there must be one."""
    return rows(connection, query, parameters)[0]


def value(connection: Connection, query: t.Any, parameters: t.Any = None) -> t.Any:
    """The first column of the first row, ``None`` where there is no row."""
    found = rows(connection, query, parameters)
    return found[0][0] if found else None


def execute(connection: Connection, statement: t.Any, parameters: t.Any = None) -> int:
    """Execute and return the number of rows touched."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.rowcount


@contextlib.contextmanager
def told_refusals(connection: Connection) -> t.Iterator[None]:
    """Outside a transaction: what the server refuses inside is a ``ServerError`` with its sentence, and the session can be used further."""
    try:
        yield
    except psycopg2.Error as error:
        if connection.closed:
            raise
        raise ServerError(" ".join(str(error).split()) or "the server refused it") from None


@contextlib.contextmanager
def transaction(connection: Connection) -> t.Iterator[None]:
    """All of what an autocommit session does inside, or nothing of it, also where a signal comes while it begins."""
    try:
        execute(connection, "BEGIN")
        yield
        execute(connection, "COMMIT")
    except BaseException:
        if not connection.closed:
            execute(connection, "ROLLBACK")
        raise


def attempt(connection: Connection, statement: t.Any) -> str:
    """Execute outside a transaction what may fail; returns the server's sentence where it did."""
    return attempt_with_code(connection, statement)[0]


def attempt_with_code(connection: Connection, statement: t.Any) -> tuple[str, str]:
    """The same, and the SQLSTATE; both are empty where it succeeded."""
    try:
        execute(connection, statement)
    except psycopg2.Error as error:
        return str(error).strip(), error.pgcode or ""
    return "", ""


def wait_until_ready(address: Address, database: str, application: str, seconds: float, alive: t.Callable[[], str]) -> None:
    """Wait until a server that is starting takes connections.

    :param alive: returns an empty text while the server's container runs, else why there is no use in waiting.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            connect(address, database, application).close()
            return
        except ServerError as error:
            trouble = alive()
            if trouble or time.monotonic() > deadline:
                raise ServerError("The server did not start within %.0f s: %s" % (seconds, trouble or error.message)) from None
        time.sleep(0.03)


def read_server(connection: Connection) -> Server:
    """:raises ServerError: where the server is older than the oldest that is tested."""
    number = connection.server_version
    if number < OLDEST_VERSION:
        raise ServerError(
            "The server runs PostgreSQL %d, the oldest that works here is %d: upgrade it first."
            % (number // 10000, OLDEST_VERSION // 10000)
        )
    identifier, version, in_recovery, superuser = row(
        connection,
        "SELECT system_identifier::text, current_setting('server_version'), pg_is_in_recovery(), (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
        " FROM pg_control_system()",
    )
    return Server(identifier, version, number, in_recovery, superuser)
