# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of each gate, right before a migration. Reads only."""

from __future__ import annotations

import datetime
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _journal
from ansible_collections.dbops.postgres.plugins.module_utils.archive._proof import FAILED as NOT_AS_MADE
from ansible_collections.dbops.postgres.plugins.module_utils.archive._proof import PROVED, read_proof
from ansible_collections.dbops.postgres.plugins.module_utils.gates._gates import (
    FAILED,
    NOT_APPLICABLE,
    PASSED,
    Gate,
    GateOptions,
    asks_its_checklist,
    overrule,
    wanted,
)
from ansible_collections.dbops.postgres.plugins.module_utils.gates._window import parse_window
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.rehearsal._record import PASSED as REHEARSAL_PASSED
from ansible_collections.dbops.postgres.plugins.module_utils.rehearsal._record import Rehearsal, read_rehearsal
from ansible_collections.dbops.postgres.plugins.module_utils.rehearsal._versions import FAILS, UNKNOWN, WORKS
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import Plan
from ansible_collections.dbops.postgres.plugins.module_utils.server import _swap, _vitals
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import row, rows
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import fingerprint, shape, tables
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import duration_text
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import moment, utc_now

#: Hours, where the inventory does not say: a backup every night, a proof and a rehearsal every week.
_BACKUP_HOURS, _PROOF_HOURS, _REHEARSAL_HOURS = 26.0, 7 * 24.0, 7 * 24.0

#: How a version was found, in words.
_STATES = {WORKS: "works", FAILS: "does not work", UNKNOWN: "may or may not work"}

#: Operations that leave a database in a state of their own where they fail. A migration shows by itself what it left.
_LEAVES_SOMETHING = ("restore", "reset", "seed")

#: A window is looked for so far ahead, and in such steps.
_AHEAD, _STEP = "60 days", "5 minutes"


@dataclass(frozen=True)
class Asked:
    """What a gate is answered from. ``approved``: ``None`` where that is not asked yet; ``told``: what the inventory tells this gate."""

    operation: Operation
    plan: Plan
    approved: bool | None
    options: GateOptions
    told: t.Mapping[str, t.Any]


def evaluate(operation: Operation, plan: Plan, approved: bool | None, options: GateOptions) -> list[Gate]:
    """Every gate that holds, each with its evidence; nothing is touched.

    :raises DbopsError: where the inventory's gates, or what overrules them, make no sense.
    """
    told = wanted(options, asks_its_checklist(operation.request.environment, operation.is_production))
    found = [_EVALUATED[name](Asked(operation, plan, approved, options, given)) for name, given in told.items()]
    return overrule(found, options)


def _host(operation: Operation) -> str:
    return operation.evidence.host


def _nothing_to_lose(plan: Plan) -> bool:
    return not tables(plan.before)


def _backup(asked: Asked) -> Gate:
    if _nothing_to_lose(asked.plan):
        return Gate("backup", NOT_APPLICABLE, "The database has no table yet.")
    hours = float(asked.told.get("hours", _BACKUP_HOURS))
    line = "Type: ansible-playbook backup.yml -l %s" % _host(asked.operation)
    own = [backup for backup in _own_backups(asked.operation) if read_proof(backup).state != NOT_AS_MADE]
    if not own:
        return Gate("backup", FAILED, "There is no backup of it at all.", line)
    age = (utc_now() - moment(own[0].manifest.created)).total_seconds()
    evidence = "The newest, '%s', is %s old; %g h are allowed." % (own[0].manifest.id, duration_text(age), hours)
    return Gate("backup", PASSED, evidence) if age <= hours * 3600 else Gate("backup", FAILED, evidence, line)


def _own_backups(operation: Operation) -> list[t.Any]:
    backups, _unreadable = operation.archive.catalogue(operation.database)
    return [backup for backup in backups if backup.manifest.server_identifier == operation.server.identifier]


def _proved(asked: Asked) -> Gate:
    if _nothing_to_lose(asked.plan):
        return Gate("proved", NOT_APPLICABLE, "The database has no table yet.")
    hours = float(asked.told.get("hours", _PROOF_HOURS))
    line = "Type: ansible-playbook verify_backups.yml -l %s" % _host(asked.operation)
    for backup in _own_backups(asked.operation):
        proof = read_proof(backup)
        if proof.state == PROVED:
            age = (utc_now() - moment(backup.manifest.created)).total_seconds()
            evidence = "The newest backup that was restored and compared, '%s', is %s old; %g h are allowed." % (
                backup.manifest.id,
                duration_text(age),
                hours,
            )
            return Gate("proved", PASSED, evidence) if age <= hours * 3600 else Gate("proved", FAILED, evidence, line)
    return Gate("proved", FAILED, "No backup of it was restored and compared yet.", line)


def _preview(asked: Asked) -> Gate:
    if _nothing_to_lose(asked.plan):
        return Gate("preview", NOT_APPLICABLE, "The database has no table yet.")
    if asked.options.preview_unknown:
        line = "Mend that, or look yourself whether it ran there."
        return Gate(
            "preview",
            FAILED,
            "What has run on preview '%s' is not known: %s." % (asked.options.preview_host, asked.options.preview_unknown.rstrip(".")),
            line,
        )
    if asked.options.previewed is None and asked.options.gates is not None:
        return Gate("preview", FAILED, "The inventory has no preview to ask.", "Name its host: dbops_migrate_gates: {preview: {host: ...}}")
    if asked.options.previewed is None:
        return Gate("preview", NOT_APPLICABLE, "The inventory has no preview (host of the gate), so nothing was tried before.")
    at = asked.options.previewed.get(fingerprint(shape(asked.plan.after)))
    if at:
        return Gate(
            "preview", PASSED, "Preview '%s' has run the very schema that comes of it, since %s." % (asked.options.preview_host, at)
        )
    return Gate(
        "preview",
        FAILED,
        "The schema that comes of it has not run on preview '%s' yet." % asked.options.preview_host,
        "Type: ansible-playbook migrate.yml -l %s" % asked.options.preview_host,
    )


def _reviewed(asked: Asked) -> Gate:
    if asked.approved is None:
        return Gate("reviewed", NOT_APPLICABLE, "The migration asks for it.")
    if asked.approved:
        return Gate("reviewed", PASSED, "Exactly this plan was approved.")
    line = "Type: ansible-playbook plan.yml -l %s, and give its fingerprint with -e dbops_migrate_plan=" % _host(asked.operation)
    return Gate("reviewed", FAILED, "Nobody has approved this plan.", line)


def _rehearsed(asked: Asked) -> Gate:
    if _nothing_to_lose(asked.plan):
        return Gate("rehearsed", NOT_APPLICABLE, "The database has no table yet.")
    record, line = _last_rehearsal(asked), "Type: ansible-playbook rehearse.yml -l %s" % _host(asked.operation)
    if record is None:
        return Gate("rehearsed", FAILED, "This migration was not rehearsed: the last rehearsal, if any, was of another one.", line)
    if record.state != REHEARSAL_PASSED:
        return Gate("rehearsed", FAILED, "Its rehearsal at %s failed: %s" % (record.at, " ".join(record.exceeded)), line)
    if not _is_ours(asked, record):
        evidence = "It was rehearsed on backup '%s', which is not a proved one of this server." % record.backup
        return Gate("rehearsed", FAILED, evidence, line)
    hours = float(asked.told.get("hours", _REHEARSAL_HOURS))
    age = (utc_now() - moment(record.backup_created)).total_seconds()
    evidence = "Rehearsed at %s on the rows of backup '%s', which is %s old, it took %s; %g h are allowed." % (
        record.at,
        record.backup,
        duration_text(age),
        duration_text(record.seconds),
        hours,
    )
    if age <= hours * 3600:
        return Gate("rehearsed", PASSED, evidence)
    host = _host(asked.operation)
    return Gate("rehearsed", FAILED, evidence, "Type: ansible-playbook backup.yml -l %s, then verify_backups.yml, then rehearse.yml" % host)


def _is_ours(asked: Asked, record: Rehearsal) -> bool:
    return record.proved and record.server_identifier == asked.operation.server.identifier


def _last_rehearsal(asked: Asked) -> Rehearsal | None:
    """Where it was of this very migration."""
    record = read_rehearsal(asked.operation.archive.folder, asked.operation.database)
    return record if record and record.covers(asked.plan) else None


def _compatible(asked: Asked) -> Gate:
    """What runs now has to live with the new schema, for as long as it runs, and again where one goes back to it."""
    if _nothing_to_lose(asked.plan):
        return Gate("compatible", NOT_APPLICABLE, "The database has no table yet.")
    record, line = _last_rehearsal(asked), "Type: ansible-playbook rehearse.yml -l %s" % _host(asked.operation)
    if record is None or not _is_ours(asked, record):
        return Gate("compatible", FAILED, "Whether the version that runs now works with the new schema was not tried.", line)
    target = asked.operation.target
    running = {container.image_id for container in (*target.backends, target.backend()) if container.in_service}
    tried = [version for version in record.versions if version.image_id in running]
    if not tried or running - {version.image_id for version in tried}:
        return Gate("compatible", FAILED, "The rehearsal at %s has tried another version than the one that runs now." % record.at, line)
    evidence = " ".join("With the new schema '%s' %s. %s" % (item.image, _STATES[item.state], item.evidence) for item in tried)
    if all(version.state == WORKS for version in tried):
        return Gate("compatible", PASSED, evidence)
    line = "Deploy the new version at once after the migration and overrule this gate, or migrate in two steps: first what both versions can use."
    return Gate("compatible", FAILED, evidence, line)


def _window(asked: Asked) -> Gate:
    window = parse_window(asked.told)
    if not rows(asked.operation.maintenance, "SELECT 1 FROM pg_timezone_names WHERE lower(name) = lower(%s)", (window.time_zone,)):
        raise DbopsError(
            "The server knows no time zone '%s' (gate 'window' in dbops_migrate_gates). Such names are UTC, Europe/Berlin, Asia/Tokyo."
            % window.time_zone
        )
    moments = _moments(asked.operation, window.time_zone)
    now = "It is %s there; open is %s." % (moments[0].strftime("%a %H:%M"), window)
    if window.is_open(moments[0]):
        return Gate("window", PASSED, now)
    opens = next((local for local in moments if window.is_open(local)), None)
    line = "It opens at %s." % opens.strftime("%Y-%m-%d %H:%M") if opens else "It does not open within the next %s." % _AHEAD
    return Gate("window", FAILED, now, line)


def _moments(operation: Operation, time_zone: str) -> list[datetime.datetime]:
    """The clock on the wall, from now on."""
    found = rows(
        operation.maintenance,
        "SELECT g AT TIME ZONE %s FROM generate_series(clock_timestamp(), clock_timestamp() + %s::interval, %s::interval) g",
        (time_zone, _AHEAD, _STEP),
    )
    return [local for (local,) in found]


#: Transactions a second over this long are what goes on now.
_RATE_SECONDS = 1.0

_TRANSACTIONS = "SELECT xact_commit + xact_rollback, clock_timestamp() FROM pg_stat_database WHERE datname = %s"
_LAG = "SELECT coalesce(max(extract(epoch FROM replay_lag)), 0)::float8, count(*) FROM pg_stat_replication"


def _load(asked: Asked) -> Gate:
    measured = {"sessions": float(_active_sessions(asked.operation))}
    if "transactions" in asked.told:
        measured["transactions"] = _transactions(asked.operation)
    if "lag_seconds" in asked.told:
        measured["lag_seconds"] = float(row(asked.operation.maintenance, _LAG)[0])
    words = {"sessions": "%.0f sessions at work", "transactions": "%.1f transactions/s", "lag_seconds": "replicas %.1f s behind"}
    shown = ", ".join(
        words[name] % value + (" (at most %g)" % float(asked.told[name]) if name in asked.told else "") for name, value in measured.items()
    )
    over = any(value > float(asked.told[name]) for name, value in measured.items() if name in asked.told)
    return (
        Gate("load", FAILED, "There are %s." % shown, "Wait for a quieter moment.")
        if over
        else Gate("load", PASSED, "There are %s." % shown)
    )


def _active_sessions(operation: Operation) -> int:
    """Of others, in the database."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND state <> 'idle' AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend' AND application_name NOT LIKE 'dbops %%'"
    )
    return int(row(operation.maintenance, query, (operation.database,))[0])


def _transactions(operation: Operation) -> float:
    before, began = row(operation.maintenance, _TRANSACTIONS, (operation.database,))
    row(operation.maintenance, "SELECT pg_sleep(%s)", (_RATE_SECONDS,))
    after, ended = row(operation.maintenance, _TRANSACTIONS, (operation.database,))
    return float((after - before) / max(0.001, (ended - began).total_seconds()))


def _clean(asked: Asked) -> Gate:
    with asked.operation.session(read_only=True) as connection:
        invalid = _vitals.invalid_indexes(connection)
    if invalid:
        line = "Drop it first: DROP INDEX CONCURRENTLY %s;" % invalid[0]
        return Gate(
            "clean", FAILED, "An index is invalid, left by a CREATE INDEX CONCURRENTLY that failed: %s." % ", ".join(invalid[:3]), line
        )
    left = _swap.leftovers(asked.operation.maintenance, asked.operation.database)
    if left:
        return Gate("clean", FAILED, "A dead run has left %s." % ", ".join(left[:3]), "The next backup.yml removes it.")
    last = [
        entry
        for entry in _journal.read(asked.operation.archive.folder)
        if entry.get("database") == asked.operation.database and _ended(entry)
    ]
    if last and last[-1]["result"] == "failed":
        evidence = "The last %s failed at %s." % (last[-1].get("operation"), last[-1].get("finished"))
        return Gate("clean", FAILED, evidence, "Look what it has left, for example with status.yml, and finish or repeat it.")
    return Gate("clean", PASSED, "No invalid index, nothing left by a dead run, no failed operation that nobody has finished.")


def _ended(entry: t.Mapping[str, t.Any]) -> bool:
    """An operation that leaves something behind where it fails, and that did begin its work."""
    if entry.get("operation") not in _LEAVES_SOMETHING or entry.get("result") not in ("ok", "failed"):
        return False
    return entry["result"] == "ok" or not set(entry.get("phases") or ()) <= {"%s: check" % entry["operation"]}


_EVALUATED: dict[str, t.Callable[[Asked], Gate]] = {
    "backup": _backup,
    "proved": _proved,
    "preview": _preview,
    "reviewed": _reviewed,
    "rehearsed": _rehearsed,
    "compatible": _compatible,
    "window": _window,
    "load": _load,
    "clean": _clean,
}
