# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One backup restored into a throwaway server and compared with its manifest: the proof that it comes back, or that it does not."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field, fields

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _proof
from ansible_collections.dbops.postgres.plugins.module_utils.archive._load import NewDatabase
from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import Backup, Manifest, verify_files
from ansible_collections.dbops.postgres.plugins.module_utils.archive._proof import Proof
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.operations._comparison import (
    differs_from_backup,
    differs_in_contents,
    differs_in_schema,
    told,
    written_otherwise,
)
from ansible_collections.dbops.postgres.plugins.module_utils.operations._encrypted import require_key
from ansible_collections.dbops.postgres.plugins.module_utils.operations._proof_options import ProofOptions, Query, value_text
from ansible_collections.dbops.postgres.plugins.module_utils.operations._throwaway_restore import measured, open_restored
from ansible_collections.dbops.postgres.plugins.module_utils.progress._progress import Progress
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._proof_server import Plan, plan_server
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._throwaway_server import Sandbox
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database, _indexes
from ansible_collections.dbops.postgres.plugins.module_utils.server._collation import collation_version
from ansible_collections.dbops.postgres.plugins.module_utils.server._contents import Contents, read_contents
from ansible_collections.dbops.postgres.plugins.module_utils.server._function_paths import in_force
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import ask, execute
from ansible_collections.dbops.postgres.plugins.module_utils.server._row_counts import TableRows, count_rows
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import FORMAT as SCHEMA_FORMAT
from ansible_collections.dbops.postgres.plugins.module_utils.server._sequences import read_sequences
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import count_text
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import timestamp, utc_now

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: How long one of the user's own queries may take.
_QUERY_TIMEOUT = "10min"

#: What PostgreSQL adds to a sentence: values of rows.
_DETAIL = re.compile(r"\s*(?:\w+: )?\bDETAIL:.*", re.IGNORECASE | re.DOTALL)

#: Kinds of definitions that may be the same in other words, beyond what ``server._wording`` knows; of columns and domains, those with one.
_EXPRESSIONS = ("constraint", "index", "view", "policy", "rule", "trigger", "statistics")
_COMPUTED = re.compile(r"\b(?:default|generated|check)\b", re.IGNORECASE)


@dataclass
class Findings:
    """What a comparison has found so far."""

    failures: list[str] = field(default_factory=list)
    unmet: list[str] = field(default_factory=list)
    compared: list[str] = field(default_factory=list)
    not_compared: list[str] = field(default_factory=list)


def prove(operation: Operation, backup: Backup, options: ProofOptions) -> Proof:
    """Restore and compare; the result says which it is, ``proved`` or ``failed``.

    :raises DbopsError: where it could not be tried, which says nothing about the backup.
    """
    found = Findings()
    manifest_sha256 = _proof.manifest_sha256(backup)
    plan = plan_server(operation, backup.manifest, options.limits)
    found.not_compared += [plan.note] if plan.note else []
    seconds: dict[str, float] = {}
    require_key(operation, backup)
    operation.enter("verify: checksums")
    with measured(seconds, "checksums"):
        found.failures += _damage(backup)
    version = ""
    if not found.failures:
        found.compared.append("the checksum of %s" % count_text(len(backup.manifest.files), "file"))
        version = _restore_and_compare(operation, backup, plan, options, found, seconds)
    return Proof(
        state=_proof.FAILED if found.failures else _proof.PROVED,
        backup=backup.manifest.id,
        manifest_sha256=manifest_sha256,
        at=timestamp(utc_now()),
        run_id=operation.run_id,
        image=plan.image,
        image_id=plan.machine.image.id,
        server_version=version,
        compared=tuple(found.compared),
        not_compared=tuple(_shown(operation, text) for text in found.not_compared),
        failures=tuple(_shown(operation, text) for text in found.failures),
        unmet=tuple(_shown(operation, text) for text in found.unmet),
        seconds=seconds,
    )


def _shown(operation: Operation, text: str) -> str:
    """Without values of rows, which PostgreSQL adds as DETAIL, and without secrets: it is written down."""
    return operation.redactor.text(_DETAIL.sub("", text))


def _damage(backup: Backup) -> list[str]:
    try:
        verify_files(backup)
    except DbopsError as error:
        return [error.message]
    return []


def _restore_and_compare(
    operation: Operation, backup: Backup, plan: Plan, options: ProofOptions, found: Findings, seconds: dict[str, float]
) -> str:
    """Returns the version of the server that it was restored with."""
    with open_restored(operation, backup, plan, options.jobs, "verify", seconds) as restored:
        found.failures += restored.failures
        found.not_compared += [restored.remark] if restored.remark else []
        operation.enter("verify: compare")
        with measured(seconds, "compare"):
            operation.progress.expect(len(backup.manifest.tables))
            _compare(backup, restored.sandbox, restored.new, options, found, operation.progress)
        return restored.version


# --- what is compared -----------------------------------------------------------------------------------------------------


def _compare(backup: Backup, sandbox: Sandbox, new: NewDatabase, options: ProofOptions, found: Findings, progress: Progress) -> None:
    manifest = backup.manifest
    if found.failures and not _anything_there(new):
        return
    held = read_contents(new.session, options.jobs, new.search_path, progress.table_done) if manifest.contents else None
    with new.session() as connection:
        counted = held.tables if held else count_rows(connection, new.search_path)
        _compare_contents(backup, counted, held, connection, found)
        _compare_schema(backup, connection, found)
        _compare_collation(manifest, sandbox, new.name, found)
        _check_indexes(connection, found)
    with sandbox.session("postgres") as connection:
        _compare_properties(manifest, connection, new.name, found)
    _ask(new, options.queries, found)


def _anything_there(new: NewDatabase) -> bool:
    with new.session() as connection:
        return bool(count_rows(connection, new.search_path))


def _compare_contents(
    backup: Backup, counted: tuple[TableRows, ...], held: Contents | None, connection: Connection, found: Findings
) -> None:
    manifest = backup.manifest
    found.failures += differs_from_backup(backup, counted, connection)
    found.compared.append("%s in %s" % (count_text(manifest.rows, "row"), count_text(len(manifest.tables), "table")))
    if manifest.large_objects:
        found.compared.append("%s by number" % count_text(manifest.large_objects, "large object"))
    if manifest.sequences:
        found.compared.append(count_text(len(manifest.sequences), "sequence"))
    in_use = set(read_sequences(connection) or {}) - set(manifest.sequences)
    if in_use:
        found.not_compared.append(
            "where %s stood, which were in use, or not looked at, when the backup was made" % count_text(len(in_use), "sequence")
        )
    if held is None:
        why = manifest.contents_unknown or "it was made by an earlier version"
        found.not_compared.append("what the tables hold, which was not digested when it was made: %s" % why)
        return
    wrong = differs_in_contents(backup, held, connection)
    doubt = written_otherwise(backup, connection) if wrong else ""
    if doubt:
        found.not_compared.append("what the tables hold, since %s (%s)" % (doubt, told(wrong)))
        return
    found.failures += wrong
    found.compared.append("what every table holds")
    if manifest.large_objects:
        known = bool(manifest.large_objects_digest)
        (found.compared if known else found.not_compared).append("what the large objects hold")


def _compare_schema(backup: Backup, connection: Connection, found: Findings) -> None:
    """Definitions, owners, grants, validity of indexes. What a restore makes otherwise on purpose, or in other words, is told, not held against it."""
    if backup.manifest.schema_format != SCHEMA_FORMAT:
        found.not_compared.append("the schema, which another version of this collection wrote down by other rules")
        return
    for line in differs_in_schema(backup, connection):
        why = _as_it_should_be(line, connection.server_version)
        if why:
            found.not_compared.append("%s: %s" % (why, line[2:]))
        else:
            found.failures.append("the schema differs: " + line)
    found.compared.append("schema, owners and grants")
    if backup.manifest.extensions:
        found.compared.append(count_text(len(backup.manifest.extensions), "extension"))


def _as_it_should_be(line: str, version_number: int) -> str:
    """Why a line of the difference is none of the backup's fault; empty where it is."""
    kind = line[2:].partition(" ")[0]
    if line.startswith("~ extension "):
        return "an extension, which comes back in the version that the image has"
    if line.startswith("- index ") and " INVALID" in line:
        return "an index that was invalid when the backup was made, which pg_dump leaves out (drop it, and make it anew)"
    if line.startswith("~ schema public") and version_number < 150000:
        return "the owner and the grants of the schema 'public', which pg_dump leaves out before PostgreSQL 15"
    expression = kind in _EXPRESSIONS or line.startswith("~ materialized view ") or (kind in ("column", "type") and _COMPUTED.search(line))
    if line.startswith("~ ") and expression:
        return "whether a definition that was written anew means the same"
    return ""


def _compare_collation(manifest: Manifest, sandbox: Sandbox, database: str, found: Findings) -> None:
    with sandbox.session("postgres") as connection:
        now = collation_version(connection, database).actual
    before = manifest.properties.collation_version
    if before and now and before != now:
        found.not_compared.append(
            "the order of text: the database was made with version %s of its collation, the image has %s; a restore builds its indexes anew,"
            " but the live database's may be silently wrong (see 'diagnose.yml')" % (before, now)
        )


def _compare_properties(manifest: Manifest, connection: Connection, database: str, found: Findings) -> None:
    """Owner, encoding, locale, grants, settings and comment of the database itself; of settings, which may hold secrets, the names are told."""
    expected, there = _comparable(manifest.properties), _comparable(_database.read_properties(connection, database))
    found.failures += [
        "the database's %s is not what it was" % name.replace("_", " ")
        for name, item in expected.items()
        if name != "settings" and there[name] != item
    ]
    changed = {setting.name for setting in set(expected["settings"]) ^ set(there["settings"])}
    found.failures += ["the database's setting %s is not what it was" % name for name in sorted(changed)]
    found.compared.append("the database's own settings")


def _comparable(properties: _database.Properties) -> dict[str, t.Any]:
    """In no order: servers sort names otherwise."""
    found = {each.name: getattr(properties.without_own_settings(), each.name) for each in fields(properties)}
    grants = found["grants"]
    return dict(found, tablespace="", collation_version="", grants=None if grants is None else frozenset(grants))


def _check_indexes(connection: Connection, found: Findings) -> None:
    checked = _indexes.check_indexes(connection)
    found.failures += checked.failures
    found.not_compared += ["the inside of an index: %s" % text for text in checked.troubles]
    if checked.unavailable:
        found.not_compared.append("the inside of indexes: %s" % checked.unavailable)
    elif checked.number:
        found.compared.append("the inside of %s (amcheck)" % ("1 index" if checked.number == 1 else "%d indexes" % checked.number))


def _ask(new: NewDatabase, queries: t.Sequence[Query], found: Findings) -> None:
    """The user's own expectations, each by itself: what one does is not there for the next. One that is not met says nothing of the backup."""
    for asked in queries:
        with new.session() as connection:
            execute(connection, "SET statement_timeout = '%s'" % _QUERY_TIMEOUT)
            with in_force(connection, new.search_path):
                execute(connection, "BEGIN READ ONLY")
                answer, refused = ask(connection, asked.query)
                execute(connection, "ROLLBACK")
        if refused:
            found.unmet.append("the query '%s' failed: %s" % (asked.name, refused))
        elif len(answer) != 1 or len(answer[0]) != 1:
            found.unmet.append("the query '%s' has to give one value, not %s" % (asked.name, count_text(len(answer), "row")))
        elif value_text(answer[0][0]) != asked.expected:
            found.unmet.append("the query '%s' gave '%s' instead of '%s'" % (asked.name, value_text(answer[0][0]), asked.expected))
    if queries:
        found.compared.append("%s of the operator's own" % count_text(len(queries), "question"))
