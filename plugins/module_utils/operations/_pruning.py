# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Remove the backups that the policy keeps for no reason, and the replaced databases of which a proved backup exists."""

from __future__ import annotations

import datetime
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.archive._catalogue import BEFORE_RESTORE
from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import Backup
from ansible_collections.dbops.postgres.plugins.module_utils.archive._proof import FAILED, INVALID, PROVED, Proof, read_proof
from ansible_collections.dbops.postgres.plugins.module_utils.archive._retention import Candidate, Policy, why_kept
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations._retention_options import EXAMPLE
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database, _swap
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import ask
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import aligned, count_text, size_text
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import moment

#: The moments of the backups on the clock of a time zone; the server knows them all, also where the host does not.
_LOCAL = (
    "SELECT (made::timestamptz AT TIME ZONE %s)::timestamp FROM unnest(%s::text[]) WITH ORDINALITY AS made(made, number) ORDER BY number"
)


@dataclass(frozen=True)
class KeptDatabase:
    """A replaced database; ``backup``: the one that was made of it, where it is proved; ``why``: why it stays, empty where it may go."""

    kept: _swap.Kept
    backup: str
    why: str


def prune(operation: Operation, policy: Policy | None, kept_days: int) -> Result:
    """The module's work. ``kept_days``: days that replaced databases are kept, -1 for ever."""
    if policy is None:
        raise DbopsError("Nothing says which backups are kept, so nothing was removed. Say it in the inventory, for example %s" % EXAMPLE)
    backups, unreadable = operation.archive.catalogue(operation.database)
    operation.warnings += ["Unreadable, and left alone: '%s'." % name for name in unreadable]
    operation.enter("prune: decide")
    databases = _kept_databases(operation, backups, kept_days)
    reasons = reasons_to_keep(operation, backups, policy)
    gone = [backup for backup in reversed(backups) if not reasons[backup.manifest.id]]
    dropped = [item.kept.name for item in databases if not item.why]
    facts = {
        "removed": [backup.manifest.id for backup in gone],
        "removed_size": sum(backup.manifest.size for backup in gone),
        "kept_because": {name: list(phrases) for name, phrases in reasons.items() if phrases},
        "dropped_databases": dropped,
        "kept_databases": {item.kept.name: item.why for item in databases if item.why},
    }
    lines = _told(operation, backups, reasons, databases)
    diff = _diff(operation, backups, gone, databases)
    if not operation.check_mode:
        operation.enter("prune: remove")
        for name in dropped:
            _database.drop(operation.maintenance, name)
        for backup in gone:
            operation.archive.remove(backup, operation.run_id, operation.server.identifier)
    return Result(bool(gone or dropped), lines, facts, diff, {"removed": facts["removed"], "dropped_databases": dropped})


def reasons_to_keep(operation: Operation, backups: t.Sequence[Backup], policy: Policy) -> dict[str, tuple[str, ...]]:
    """Of each backup, by id, why it is kept; nothing where it may go.

    :raises DbopsError: where there is no such time zone.
    """
    moments, refused = ask(operation.maintenance, _LOCAL, (policy.time_zone, [backup.manifest.created for backup in backups]))
    if refused:
        raise DbopsError(
            "The server knows no time zone '%s' (time_zone in dbops_retention): %s Such names are UTC, Europe/Berlin, Asia/Tokyo."
            % (policy.time_zone, refused)
        )
    of_kept = {
        _database.identity(operation.maintenance, kept.name): kept.name
        for kept in _swap.kept_databases(operation.maintenance, operation.database)
    }
    candidates = [
        Candidate(
            id=backup.manifest.id,
            server=backup.manifest.server_identifier,
            created=moment(backup.manifest.created),
            local=local,
            reason=backup.manifest.reason,
            proof=read_proof(backup).state,
            transaction=backup.manifest.next_transaction,
            kept_database=of_kept.get(backup.manifest.database_oid, "") if _is_of_replaced(operation, backup) else "",
        )
        for backup, (local,) in zip(backups, moments)
    ]
    return why_kept(candidates, policy, operation.started_at)


def proof_text(proof: Proof) -> str:
    """For a table's column."""
    return {PROVED: proof.at, FAILED: "FAILED " + proof.at, INVALID: "proof changed"}.get(proof.state, "no")


def _is_of_replaced(operation: Operation, backup: Backup) -> bool:
    """Whether a backup was made of a database that had been replaced by then: nobody has written there since."""
    return backup.manifest.reason == BEFORE_RESTORE and backup.manifest.server_identifier == operation.server.identifier


def _kept_databases(operation: Operation, backups: t.Sequence[Backup], days: int) -> list[KeptDatabase]:
    found = []
    for kept in _swap.kept_databases(operation.maintenance, operation.database):
        oid = _database.identity(operation.maintenance, kept.name)
        saved = [backup for backup in backups if _is_of_replaced(operation, backup) and backup.manifest.database_oid == oid]
        proved = next((backup.manifest.id for backup in saved if read_proof(backup).state == PROVED), "")
        found.append(KeptDatabase(kept, proved, _why_kept(operation, kept, saved, proved, days)))
    return found


def _why_kept(operation: Operation, kept: _swap.Kept, saved: t.Sequence[Backup], proved: str, days: int) -> str:
    if days < 0:
        return "replaced databases are kept (dbops_prune_kept_database_days)"
    until = moment(kept.at) + datetime.timedelta(days=days)
    if until > operation.started_at:
        return "kept until %s" % until.strftime("%Y-%m-%d")
    if not saved:
        return 'there is no backup of it; to drop it by hand: DROP DATABASE "%s"' % kept.name
    if not proved:
        return "its backup is not proved: ansible-playbook verify_backups.yml -l %s -e dbops_verify_select=%s" % (
            operation.evidence.host,
            saved[0].manifest.id,
        )
    return ""


def _told(
    operation: Operation, backups: t.Sequence[Backup], reasons: t.Mapping[str, tuple[str, ...]], databases: t.Sequence[KeptDatabase]
) -> list[str]:
    gone = [backup for backup in backups if not reasons[backup.manifest.id]]
    would = "Would remove" if operation.check_mode else "Removed"
    lines = [
        "%s %s of %s of database '%s' (%s)."
        % (
            would,
            len(gone) or "none",
            count_text(len(backups), "backup"),
            operation.database,
            size_text(sum(backup.manifest.size for backup in gone)),
        )
    ]
    rows = [
        (
            backup.manifest.id,
            size_text(backup.manifest.size),
            "proved " + proof_text(read_proof(backup)) if read_proof(backup).state == PROVED else "not proved",
            ", ".join(reasons[backup.manifest.id]) or ("would be removed" if operation.check_mode else "removed"),
        )
        for backup in backups
    ]
    lines += aligned(rows) if rows else []
    verb = "Would drop" if operation.check_mode else "Dropped"
    for item in databases:
        what = "the replaced database '%s' (%s)" % (item.kept.name, size_text(item.kept.size))
        lines.append(
            "%s is kept: %s." % (what[0].upper() + what[1:], item.why)
            if item.why
            else "%s %s, of which '%s' is a proved backup." % (verb, what, item.backup)
        )
    return lines


def _diff(
    operation: Operation, backups: t.Sequence[Backup], gone: t.Sequence[Backup], databases: t.Sequence[KeptDatabase]
) -> dict[str, str]:
    removed = {backup.manifest.id for backup in gone}
    names = [backup.manifest.id for backup in reversed(backups)]
    before = names + [item.kept.name for item in databases]
    after = [name for name in names if name not in removed] + [item.kept.name for item in databases if item.why]
    return {
        "before_header": operation.archive.folder,
        "after_header": operation.archive.folder,
        "before": "".join(name + "\n" for name in before),
        "after": "".join(name + "\n" for name in after),
    }
