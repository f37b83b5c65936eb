# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The target's schema, and the rows of the runner's own tables: read from it, and given to a sandbox.

Definitions and a few rows, so a file between pg_dump in the database's container and psql in the sandbox is fast enough.
"""

from __future__ import annotations

import contextlib
import os
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.archive._dump import table_option
from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import is_state_table
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._sandbox import open_sandbox, properties_in_sandbox
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._throwaway_server import Sandbox
from ansible_collections.dbops.postgres.plugins.module_utils.server import _function_paths
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import (
    execute,
    rows,
    sql,
)
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import Snapshot, difference, read_snapshot, render
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: Bytes of a table of the catalogue up to which any plan of a query is a good one; those of an empty database are below it.
_SMALL_CATALOGUE = 1024 * 1024


#: What a sandbox has not, or must not do.
_OPTIONS = ("--no-tablespaces", "--no-subscriptions")

#: The load's own statements, six for each table, stay out of the log, which is read in full for what the runner does.
_UNLOGGED = "-c log_statement=none -c default_transaction_read_only=off"


@dataclass(frozen=True)
class LiveSchema:
    """What was read from the target: its schema as data, and what pg_dump writes of it, as paths of files; ``rows`` is empty without state."""

    snapshot: Snapshot
    definitions: str
    rows: str


@contextlib.contextmanager
def open_with_live_schema(
    operation: Operation, phase: str, state_names: t.Sequence[str], server_options: t.Sequence[str] = ()
) -> t.Iterator[tuple[Sandbox, Snapshot]]:
    """A sandbox that has the target's schema, and that schema.

    It starts beside, in bounded time, while this thread reads the schema: that may wait for somebody's lock, and whoever ends the run
    meanwhile must not have to wait for that.
    """
    operation.enter(phase + ": sandbox")
    with ThreadPoolExecutor(1) as beside, contextlib.ExitStack() as opened:
        starting = beside.submit(opened.enter_context, open_sandbox(operation, server_options))
        try:
            schema = read_live_schema(operation, state_names)
        finally:
            sandbox = starting.result()  # also where reading failed: what was opened has to be closed
        operation.enter(phase + ": schema")
        yield sandbox, load_schema(operation, sandbox, schema)


def read_live_schema(operation: Operation, state_names: t.Sequence[str]) -> LiveSchema:
    with operation.session(read_only=True) as connection:
        snapshot = read_snapshot(connection)
        state = state_tables(connection, state_names)
    definitions = _dump(operation, "schema", ["--schema-only", *_OPTIONS])
    tables = [table_option(*table) for table in state]
    return LiveSchema(snapshot, definitions, _dump(operation, "state", ["--data-only", "--disable-triggers", *tables]) if state else "")


def load_schema(operation: Operation, sandbox: Sandbox, schema: LiveSchema) -> Snapshot:
    """Give the sandbox the target's schema and the contents of the runner's state tables; returns the schema, which both now have.

    :raises DbopsError: where the two differ, since a plan made on another schema would be worth nothing.
    """
    live = schema.snapshot
    try:
        _load(operation, sandbox, schema.definitions)
    except DbopsError:
        _load_in_sections(operation, sandbox)
    if schema.rows:
        _load(operation, sandbox, schema.rows)
    with sandbox.session() as connection:
        _analyze_catalogue(connection)
        change = difference(live, read_snapshot(connection))
    invalid = [key.partition(" ")[2] for key, definition in change.removed.items() if key.startswith("index ") and " INVALID" in definition]
    if invalid:
        raise DbopsError(
            "Database '%s' has an invalid index, left by a CREATE INDEX CONCURRENTLY that failed: %s. Drop it first, for example: DROP INDEX CONCURRENTLY %s;"
            % (operation.database, ", ".join(invalid), invalid[0])
        )
    if change:
        lines = render(change)
        raise DbopsError(
            "The sandbox could not be given the same schema as database '%s'; it differs in: %s"
            % (operation.database, "; ".join(lines[:5])),
            differences=lines,
        )
    return live


def _analyze_catalogue(connection: Connection) -> None:
    """What a server does in the background, and this one does not: without it, a runner's look at 3,000 tables takes 13 s instead of 1."""
    grown = rows(
        connection,
        "SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' AND pg_relation_size(oid) > %s",
        (_SMALL_CATALOGUE,),
    )
    for (name,) in grown:
        execute(connection, sql.SQL("ANALYZE {}").format(sql.Identifier("pg_catalog", name)))


def _load_in_sections(operation: Operation, sandbox: Sandbox) -> None:
    """The second way of ``archive._load``: functions know where to look while what calls them is made."""
    _load(operation, sandbox, _dump(operation, "pre-data", ["--section=pre-data", *_OPTIONS]))
    with sandbox.session() as connection:
        given = _function_paths.give(connection, _function_paths.search_path_of(properties_in_sandbox(operation)))
    _load(operation, sandbox, _dump(operation, "post-data", ["--section=post-data", *_OPTIONS]))
    with sandbox.session() as connection:
        _function_paths.take_back(connection, given)


def state_tables(connection: Connection, names: t.Sequence[str]) -> list[tuple[str, str]]:
    """``(schema, table)`` of each table in which a migration runner keeps its state."""
    found = rows(
        connection,
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND c.relname = ANY(%s)"
        " AND n.nspname NOT LIKE 'pg\\_%%' ORDER BY 1, 2",
        (list(names),),
    )
    return [(schema, table) for schema, table in found if is_state_table(schema, table, names)]


def _dump(operation: Operation, name: str, options: t.Sequence[str]) -> str:
    """The path of what pg_dump writes with these options."""
    address = operation.target.address
    env = {
        "PGHOST": address.host,
        "PGPORT": str(address.port),
        "PGUSER": address.user,
        "PGPASSWORD": address.password,
        "PGDATABASE": operation.database,
    }
    patience = ["--lock-wait-timeout=" + operation.lock_timeout] if operation.lock_timeout else []
    path = os.path.join(operation.work_folder("sandbox"), name + ".sql")
    argv = ["pg_dump", "--no-password", *patience, *options]
    outcome = operation.docker.exec(operation.target.container.id, argv, env=env, stdout_path=path)
    if outcome.rc != 0:
        raise DbopsError("The schema of database '%s' could not be dumped: %s" % (operation.database, outcome.stderr.strip()))
    return path


def _load(operation: Operation, sandbox: Sandbox, path: str) -> None:
    env = {"PGUSER": sandbox.address.user, "PGHOST": "127.0.0.1", "PGDATABASE": operation.database, "PGOPTIONS": _UNLOGGED}
    argv = ["psql", "--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", "--output=/dev/null"]
    outcome = operation.docker.exec(sandbox.container.id, argv, env=env, stdin_path=path)
    if outcome.rc != 0:
        raise DbopsError(
            "The schema of database '%s' could not be loaded into the sandbox: %s" % (operation.database, outcome.stderr.strip()[:2000])
        )
