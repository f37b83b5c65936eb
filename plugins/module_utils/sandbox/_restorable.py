# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a dump can be restored, found out when it is made: its definitions are loaded into a sandbox as pg_restore would, and what fails is named.

pg_restore works with an empty ``search_path``, so a function that names no schema does not find its tables then. Materialized views are
refreshed there too, and what a CHECK, a default or an index computes is planned. What a function does only when it meets a row is not seen.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.archive._archive_file import as_text
from ansible_collections.dbops.postgres.plugins.module_utils.archive._files import write_file
from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import DUMP, Failure, Restorable
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._sandbox import open_sandbox
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._throwaway_server import Sandbox
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import attempt, execute, rows
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, Interrupted

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: The folder in the backup folder: which schemas an image is known to restore.
FOLDER = "restorable"

_SESSION = "-c session_replication_role=replica -c default_transaction_read_only=off -c log_statement=none -c lc_messages=C"
_HEADING = re.compile(r"^-- (?:Data for )?Name: (.+); Type: ([A-Z ]+); Schema: ([^;]+);")
_ERROR = re.compile(r"^psql:<stdin>:(\d+): ERROR:\s+(.+)$")
_FUNCTION = re.compile(r'function "?(?:[^".( ]+\.)?([^".( ]+)')

#: What is computed for each row, with the table: planned on an empty one, PostgreSQL looks into the SQL functions in it.
_COMPUTED = (
    "SELECT c.conrelid::regclass::text, 'CHECK ' || c.conname, pg_get_expr(c.conbin, c.conrelid) FROM pg_constraint c WHERE c.contype = 'c'"
    " AND c.conrelid <> 0 AND c.connamespace <> 'pg_catalog'::regnamespace AND c.connamespace <> 'information_schema'::regnamespace UNION ALL"
    " SELECT d.adrelid::regclass::text, 'DEFAULT of ' || a.attname, pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d JOIN pg_attribute a"
    " ON (a.attrelid, a.attnum) = (d.adrelid, d.adnum) JOIN pg_class t ON t.oid = d.adrelid WHERE t.relkind IN ('r', 'p') ORDER BY 1, 2"
)
_MEND = (
    "SELECT 'ALTER FUNCTION ' || p.oid::regprocedure || ' SET search_path = ' || quote_ident(n.nspname) || CASE n.nspname WHEN 'public' THEN ''"
    " ELSE ', public' END || ', pg_temp;' FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.proname = %s AND p.prokind = 'f'"
    " AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND p.proconfig IS NULL ORDER BY 1"
)
_MOST = 20


def check_restorable(operation: Operation, folder: str, fingerprint: str, look: bool) -> Restorable:
    """Never fails a backup: what could not be checked says why. ``look``: open a sandbox where nothing is known of this schema yet."""
    if _is_known(operation, fingerprint):
        return Restorable("yes", "")
    if not look:
        return Restorable()
    try:
        found = _try(operation, folder)
    except Interrupted:
        raise
    except (DbopsError, OSError) as error:
        return Restorable("unknown", "the check could not run: %s" % getattr(error, "message", error))
    if found.state == "yes":
        _remember(operation, fingerprint)
    return found


def _try(operation: Operation, folder: str) -> Restorable:
    operation.enter("backup: try to restore")
    work = operation.work_folder("restorable")
    options = ["--schema-only", "--no-tablespaces", "--no-subscriptions"]
    path = as_text(operation.tools(), os.path.join(folder, DUMP), work, "definitions.sql", options=options)
    with open_sandbox(operation) as sandbox:
        said = _run(operation, sandbox, path)
        with sandbox.session() as connection:
            execute(connection, "SET search_path = ''")
            failures = _failures(path, said, connection)
            failures += _planned(connection)
    if not failures:
        return Restorable("yes", "")
    return Restorable("no", "", tuple(failures[:_MOST]))


def _run(operation: Operation, sandbox: Sandbox, path: str) -> str:
    env = {"PGUSER": sandbox.address.user, "PGHOST": "127.0.0.1", "PGDATABASE": operation.database, "PGOPTIONS": _SESSION}
    argv = ["psql", "--no-psqlrc", "--quiet", "--output=/dev/null", "--file=-"]
    outcome = operation.docker.exec(sandbox.container.id, argv, env=env, stdin_path=path)
    if outcome.rc != 0:
        raise DbopsError("The definitions of the dump could not be loaded into the sandbox: %s" % outcome.stderr.strip()[-500:])
    return outcome.stderr


def _failures(path: str, said: str, connection: Connection) -> list[Failure]:
    errors = errors_in(said)
    names = _objects(path, [line for line, _sentence, _function in errors])
    return [
        Failure(names.get(line, "line %d" % line), sentence, _mend(connection, function))
        for line, sentence, function in errors
        if 'schema "public" already exists' not in sentence
    ]


def errors_in(said: str) -> list[tuple[int, str, str]]:
    """``(line, sentence, function in which it happened)`` of each error that psql has told."""
    found: list[tuple[int, str, str]] = []
    for line in said.splitlines():
        error = _ERROR.match(line)
        if error:
            found.append((int(error.group(1)), error.group(2), ""))
        elif found and line.startswith("CONTEXT:") and not found[-1][2]:
            function = _FUNCTION.search(line)
            found[-1] = (*found[-1][:2], function.group(1) if function else "")
    return found


def _objects(path: str, lines: list[int]) -> dict[int, str]:
    """Which object a line of the text is about: what the heading above it says."""
    found: dict[int, str] = {}
    name = ""
    wanted = set(lines)
    with open(path, encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream, 1):
            heading = _HEADING.match(line)
            if heading:
                name = object_name(*heading.groups())
            if number in wanted:
                found[number] = name
    return found


def object_name(name: str, kind: str, schema: str) -> str:
    return "%s %s%s" % (kind.replace(" VIEW DATA", " VIEW"), "" if schema == "-" else schema + ".", name)


def _planned(connection: Connection) -> list[Failure]:
    failures = []
    for table, name, expression in rows(connection, _COMPUTED):
        said = attempt(connection, "EXPLAIN SELECT %s FROM %s" % (expression, table))  # noqa: S608 - PostgreSQL itself has written both
        if said:
            function = _FUNCTION.search(said.partition("CONTEXT:")[2])
            mend = _mend(connection, function.group(1) if function else "")
            failures.append(Failure("%s on %s" % (name, table), said.splitlines()[0], mend))
    return failures


def _mend(connection: Connection, function: str) -> str:
    return " ".join(text for (text,) in rows(connection, _MEND, (function,))) if function else ""


# --- what is known from earlier looks -------------------------------------------------------------------------------------


def _path(operation: Operation, fingerprint: str) -> str:
    facts = [fingerprint, operation.target.container.image_id]
    return os.path.join(operation.archive.folder, FOLDER, hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16])


def _is_known(operation: Operation, fingerprint: str) -> bool:
    return os.path.exists(_path(operation, fingerprint))


def _remember(operation: Operation, fingerprint: str) -> None:
    path = _path(operation, fingerprint)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    if not os.path.exists(path):
        write_file(path, "")
