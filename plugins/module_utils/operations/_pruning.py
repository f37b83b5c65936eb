# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Remove the backups that the policy keeps for no reason, and the replaced databases of which a proved backup exists."""

from __future__ import annotations

import datetime
import os
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.archive._catalogue import BEFORE_RESTORE
from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import Backup, verify_files, verify_shape
from ansible_collections.dbops.postgres.plugins.module_utils.archive._proof import FAILED, INVALID, NONE, PROVED, Proof, read_proof
from ansible_collections.dbops.postgres.plugins.module_utils.archive._retention import Candidate, Policy, held_by, what_stops, why_kept
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations._retention_options import EXAMPLE
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database, _swap
from ansible_collections.dbops.postgres.plugins.module_utils.server._lock import ASIDE
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import rows
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import aligned, count_text, size_text
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import moment, utc_now

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


def prune(operation: Operation, policy: Policy | None) -> Result:
    """The module's work."""
    if policy is None:
        raise DbopsError("Nothing says which backups are kept, so nothing was removed. Say it in the inventory, for example %s" % EXAMPLE)
    backups, unreadable = operation.archive.catalogue(operation.database)
    operation.warnings += ["Unreadable, and left alone: '%s'." % name for name in unreadable]
    if not operation.check_mode:
        # What is decided by proofs must not change meanwhile, nor go what is being sent or restored.
        for aside in (ASIDE["verify_backups"], ASIDE["copy_backups"], ASIDE["rehearse"]):
            operation.lock.take(operation.request.lock_wait, aside)
    operation.enter("prune: decide")
    databases = _kept_databases(operation, backups, policy.kept_database_days)
    candidates = candidates_of(operation, backups, policy)
    reasons = reasons_to_keep(backups, candidates, policy)
    gone = [backup for backup in reversed(backups) if not reasons[backup.name]]
    dropped = [item.kept.name for item in databases if not item.why]
    facts = {
        "removed": [backup.name for backup in gone],
        "removed_size": sum(backup.manifest.size for backup in gone),
        "kept_because": {name: list(phrases) for name, phrases in reasons.items() if phrases},
        "dropped_databases": dropped,
        "kept_databases": {item.kept.name: item.why for item in databases if item.why},
    }
    lines = _told(operation, backups, candidates, reasons, databases)
    stops = what_stops(candidates, policy, utc_now())
    lines += _way_on(operation, stops) if stops and any(phrases == (held_by(stops),) for phrases in reasons.values()) else []
    diff = _diff(operation, backups, gone, databases)
    if not operation.check_mode:
        _remove(operation, dropped, gone)
    return Result(bool(gone or dropped), lines, facts, diff, {"removed": facts["removed"], "dropped_databases": dropped})


def _remove(operation: Operation, databases: t.Sequence[str], backups: t.Sequence[Backup]) -> None:
    """:raises DbopsError: at the first that cannot be removed, with what was by then."""
    operation.enter("prune: remove")
    done: list[str] = []
    try:
        for backup in backups:
            operation.archive.remove(backup, operation.run_id, operation.server.identifier)
            done.append(backup.name)
        for name in databases:
            _database.drop(operation.maintenance, name)
            done.append(name)
    except (DbopsError, OSError) as error:
        said = getattr(error, "message", "") or "The host's file system refused: %s." % error
        raise DbopsError(
            "%s By then these were removed: %s. The others are as they were; mend that, then run it again."
            % (said, ", ".join(done) or "none"),
            removed=done,
        ) from None


def candidates_of(operation: Operation, backups: t.Sequence[Backup], policy: Policy) -> list[Candidate]:
    """The backups as the policy sees them, without somebody's copies.

    :raises DbopsError: where there is no such time zone.
    """
    own_names = [backup for backup in backups if backup.name == backup.manifest.id and not os.path.islink(backup.path)]
    moments = _local_times(operation, policy, own_names)
    of_kept = {kept.run_id: kept.name for kept in _swap.kept_databases(operation.maintenance, operation.database)}
    return [
        Candidate(
            id=backup.name,
            own=backup.manifest.server_identifier == operation.server.identifier,
            created=moment(backup.manifest.created),
            local=local,
            reason=backup.manifest.reason,
            proof=_proof_state(backup),
            transaction=backup.manifest.next_transaction,
            kept_database=of_kept.get(backup.manifest.run_id, "") if backup.manifest.reason == BEFORE_RESTORE else "",
        )
        for backup, local in zip(own_names, moments)
    ]


def reasons_to_keep(backups: t.Sequence[Backup], candidates: t.Sequence[Candidate], policy: Policy) -> dict[str, tuple[str, ...]]:
    """Of each backup, by the name of its folder, why it is kept; nothing where it may go."""
    reasons = why_kept(candidates, policy, utc_now())
    return {backup.name: reasons.get(backup.name, ("somebody's copy of '%s'" % backup.manifest.id,)) for backup in backups}


def _local_times(operation: Operation, policy: Policy, backups: t.Sequence[Backup]) -> list[datetime.datetime]:
    if not rows(operation.maintenance, "SELECT 1 FROM pg_timezone_names WHERE lower(name) = lower(%s)", (policy.time_zone,)):
        raise DbopsError(
            "The server knows no time zone '%s' (time_zone in dbops_retention). Such names are UTC, Europe/Berlin, Asia/Tokyo."
            % policy.time_zone
        )
    made = [backup.manifest.created for backup in backups]
    return [local for (local,) in rows(operation.maintenance, _LOCAL, (policy.time_zone, made))]


def _proof_state(backup: Backup) -> str:
    """What is known of it; a proof of files that are not there any more in their full size is worth nothing."""
    state = read_proof(backup).state
    if state != PROVED:
        return state
    try:
        verify_shape(backup)
    except DbopsError:
        return FAILED
    return PROVED


def proof_text(proof: Proof) -> str:
    """For a table's column."""
    return {PROVED: proof.at, FAILED: "FAILED " + proof.at, INVALID: "proof changed"}.get(proof.state, "no")


def _kept_databases(operation: Operation, backups: t.Sequence[Backup], days: int) -> list[KeptDatabase]:
    """A backup of a replaced database is the one that the very run made which replaced it: nobody has written there since."""
    found = []
    for kept in _swap.kept_databases(operation.maintenance, operation.database):
        saved = [
            backup
            for backup in backups
            if (backup.manifest.reason, backup.manifest.run_id, backup.manifest.server_identifier)
            == (BEFORE_RESTORE, kept.run_id, operation.server.identifier)
        ]
        proved = next((backup.name for backup in saved if read_proof(backup).state == PROVED), "")
        found.append(KeptDatabase(kept, proved, _why_kept(operation, kept, saved, days)))
    return found


def _why_kept(operation: Operation, kept: _swap.Kept, saved: t.Sequence[Backup], days: int) -> str:
    if days < 0:
        return "replaced databases are kept (kept_database_days in dbops_retention)"
    if kept.opened:
        return "it takes connections, so somebody may work with it"
    until = moment(kept.at) + datetime.timedelta(days=days)
    if until > utc_now():
        return "kept until %s" % until.strftime("%Y-%m-%d")
    if not saved:
        return 'there is no backup of it; to drop it by hand: DROP DATABASE "%s"' % kept.name.replace('"', '""')
    state = read_proof(saved[0]).state
    if state == FAILED:
        return "its backup '%s' did not come back, so it is the only one" % saved[0].name
    if state != PROVED:
        return "its backup is not proved: ansible-playbook verify_backups.yml -l %s -e dbops_verify_select=%s" % (
            operation.evidence.host,
            saved[0].name,
        )
    try:
        verify_files(saved[0])
    except DbopsError as error:
        return "its backup was proved, but is damaged now, so it is the only one (%s)" % error.message.rstrip(".")
    return ""


def _told(
    operation: Operation,
    backups: t.Sequence[Backup],
    candidates: t.Sequence[Candidate],
    reasons: t.Mapping[str, tuple[str, ...]],
    databases: t.Sequence[KeptDatabase],
) -> list[str]:
    proofs = {candidate.id: candidate.proof for candidate in candidates}
    gone = [backup for backup in backups if not reasons[backup.name]]
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
    table = [
        (
            backup.name,
            size_text(backup.manifest.size),
            _PROOF_WORDS[proofs.get(backup.name, NONE)],
            ", ".join(reasons[backup.name]) or ("would be removed" if operation.check_mode else "removed"),
        )
        for backup in backups
    ]
    lines += aligned(table) if table else []
    verb = "Would drop" if operation.check_mode else "Dropped"
    for item in databases:
        what = "the replaced database '%s' (%s)" % (item.kept.name, size_text(item.kept.size))
        lines.append(
            "%s is kept: %s." % (what[0].upper() + what[1:], item.why)
            if item.why
            else "%s %s, of which '%s' is a proved backup." % (verb, what, item.backup)
        )
    return lines


_PROOF_WORDS = {PROVED: "proved", FAILED: "did not come back", NONE: "not proved", INVALID: "not proved"}


def _way_on(operation: Operation, newest: Candidate) -> list[str]:
    """Where nothing goes because of the newest: what to type."""
    host = operation.evidence.host
    if newest.proof == FAILED:
        return ["Nothing goes before there is one that comes back. Make another: ansible-playbook backup.yml -l %s" % host]
    line = "Nothing goes before the newest is proved: ansible-playbook verify_backups.yml -l %s -e dbops_verify_select=%s"
    return [line % (host, newest.id)]


def _diff(
    operation: Operation, backups: t.Sequence[Backup], gone: t.Sequence[Backup], databases: t.Sequence[KeptDatabase]
) -> dict[str, str]:
    removed = {backup.name for backup in gone}
    names = [backup.name for backup in reversed(backups)]
    before = names + [item.kept.name for item in databases]
    after = [name for name in names if name not in removed] + [item.kept.name for item in databases if item.why]
    return {
        "before_header": operation.archive.folder,
        "after_header": operation.archive.folder,
        "before": "".join(name + "\n" for name in before),
        "after": "".join(name + "\n" for name in after),
    }
