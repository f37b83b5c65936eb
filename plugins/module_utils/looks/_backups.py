# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The backups of a database as a person reads them: age, size, whether they came back, and why each is kept."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import Backup, foreign_files, read_backup, verify_files
from ansible_collections.dbops.postgres.plugins.module_utils.archive._offsite_copy import OffsiteCopy, read_offsite_copy
from ansible_collections.dbops.postgres.plugins.module_utils.archive._proof import INVALID, Proof, read_proof
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations._backup import facts_of, not_restorable
from ansible_collections.dbops.postgres.plugins.module_utils.operations._pruning import candidates_of, proof_text, reasons_to_keep
from ansible_collections.dbops.postgres.plugins.module_utils.operations._retention_options import policy_from
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import aligned, count_text, duration_text, size_text
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import moment

_HEADINGS = ("backup", "age", "size", "rows", "proved", "offsite", "kept because")


@dataclass(frozen=True)
class FileCheck:
    """What reading every file of every backup has found, by id: damage, and files that are none of a backup's."""

    damaged: dict[str, str]
    foreign: dict[str, list[str]]


def list_backups(operation: Operation, verify: bool, retention: t.Mapping[str, t.Any] | None) -> Result:
    """The catalogue as a table and as data; with ``verify``, every file of every backup is read; with a policy, what it would keep."""
    archive = operation.archive
    backups, unreadable = archive.catalogue(operation.database)
    checked = _check_files(backups) if verify else FileCheck({}, {})
    reasons = _reasons(operation, backups, retention)
    proofs = {backup.name: read_proof(backup) for backup in backups}
    summary = ["%s of database '%s' in '%s'." % (count_text(len(backups), "backup"), operation.database, archive.folder)]
    copies = {backup.name: copy for backup, copy in ((backup, read_offsite_copy(backup)) for backup in backups) if copy}
    summary += _table(operation, backups, proofs, reasons, copies)
    summary += ["Unreadable, do not rely on it: '%s'." % name for name in unreadable]
    summary += list(checked.damaged.values())
    summary += [proof.failures[0] + "." for proof in proofs.values() if proof.state == INVALID]
    summary += [trouble for trouble in map(not_restorable, backups) if trouble]
    summary += [
        foreign_files(backup, checked.foreign.get(backup.manifest.id, ())) for backup in backups if backup.manifest.id in checked.foreign
    ]
    facts = {
        "backups": [facts_of(backup) for backup in backups],
        "proofs": {name: {"state": proof.state, "at": proof.at, "failures": list(proof.failures)} for name, proof in proofs.items()},
        "offsite": {name: {"repository": copy.repository, "snapshot": copy.snapshot, "at": copy.at} for name, copy in copies.items()},
        "kept_because": {name: list(phrases) for name, phrases in (reasons or {}).items()},
        "unreadable": unreadable,
        "damaged": checked.damaged,
        "foreign": checked.foreign,
        "verified": verify,
    }
    return Result(False, summary, facts)


def _reasons(
    operation: Operation, backups: t.Sequence[Backup], retention: t.Mapping[str, t.Any] | None
) -> dict[str, tuple[str, ...]] | None:
    """None without a policy, or with one that makes no sense: the table is needed all the same."""
    try:
        policy = policy_from(retention)
        return reasons_to_keep(backups, candidates_of(operation, backups, policy), policy) if policy else None
    except DbopsError as error:
        operation.warnings.append("Why each backup is kept cannot be told. %s" % error.message)
        return None


def _check_files(backups: t.Sequence[Backup]) -> FileCheck:
    found = FileCheck({}, {})
    for backup in backups:
        try:
            names = verify_files(read_backup(backup.path))
            found.foreign.update({backup.manifest.id: list(names)} if names else {})
        except DbopsError as error:
            found.damaged[backup.manifest.id] = error.message
    return found


def _table(
    operation: Operation,
    backups: t.Sequence[Backup],
    proofs: t.Mapping[str, Proof],
    reasons: t.Mapping[str, tuple[str, ...]] | None,
    copies: t.Mapping[str, OffsiteCopy],
) -> list[str]:
    if not backups:
        return []
    rows = [
        (
            backup.name,
            _age(operation, backup),
            size_text(backup.manifest.size),
            str(backup.manifest.rows),
            proof_text(proofs[backup.name]),
            copies[backup.name].at if backup.name in copies else "no",
            "" if reasons is None else ", ".join(reasons[backup.name]) or "nothing: prune_backups.yml removes it",
        )
        for backup in backups
    ]
    width = len(_HEADINGS) if reasons is not None else len(_HEADINGS) - 1
    return aligned([row[:width] for row in (_HEADINGS, *rows)])


def _age(operation: Operation, backup: Backup) -> str:
    seconds = (operation.started_at - moment(backup.manifest.created)).total_seconds()
    return duration_text(max(seconds, 10)) if seconds >= 0 else "in the future"
