# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prove backups by restoring them into throwaway servers. What came of it stands beside each; one that does not come back is no 'latest' any more."""

from __future__ import annotations

import random
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.archive._catalogue import BEFORE_RESTORE
from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import Backup
from ansible_collections.dbops.postgres.plugins.module_utils.archive._proof import (
    FAILED,
    INVALID,
    NONE,
    PROVED,
    Proof,
    read_proof,
    write_proof,
)
from ansible_collections.dbops.postgres.plugins.module_utils.archive._retention import lies_ahead
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations._proof_options import ProofOptions
from ansible_collections.dbops.postgres.plugins.module_utils.operations._proof_restore import prove
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._proof_server import plan_server
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, Interrupted
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import count_text, duration_text, size_text
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import moment, utc_now

#: Which backups are verified; anything else is an id.
NEWEST, UNVERIFIED, ALL, RANDOM = "newest", "unverified", "all", "random"

_KNOWN = {PROVED: "proved before", FAILED: "did not come back before", NONE: "not proved", INVALID: "not proved"}


@dataclass(frozen=True)
class Verdict:
    """``trouble``: why it could not be tried; empty where it could."""

    backup: Backup
    proof: Proof
    trouble: str = ""


def verify_backups(operation: Operation, select: str, options: ProofOptions) -> Result:
    """The module's work.

    :raises DbopsError: at the end, where one did not come back or could not be tried; what was found of the others is in its details.
    """
    backups, unreadable = operation.archive.catalogue(operation.database)
    operation.warnings += ["Unreadable, do not rely on it: '%s'." % name for name in unreadable]
    chosen = choose(_own(operation, backups), select, backups)
    if not chosen:
        return _nothing_to_do(operation, _own(operation, backups))
    if operation.check_mode:
        lines = [_announcement(operation, backup, options) for backup in chosen]
        return Result(True, lines, {"verified": [], "failed_backups": [], "unmet": {}, "not_tried": {}}, _diff(chosen))
    diff = _diff(chosen)
    verdicts = []
    for number, backup in enumerate(chosen, 1):
        operation.progress.part("backup %d of %d" % (number, len(chosen)) if len(chosen) > 1 else "")
        verdicts.append(_verdict(operation, backup, options))
    facts = {
        "verified": [_facts(verdict.proof) for verdict in verdicts if not verdict.trouble],
        "failed_backups": [verdict.backup.manifest.id for verdict in verdicts if verdict.proof.state == FAILED],
        "unmet": {verdict.backup.manifest.id: list(verdict.proof.unmet) for verdict in verdicts if verdict.proof.unmet},
        "not_tried": {verdict.backup.manifest.id: verdict.trouble for verdict in verdicts if verdict.trouble},
    }
    lines = [line for verdict in verdicts for line in _told(operation, verdict)]
    if facts["failed_backups"] or facts["unmet"] or facts["not_tried"]:
        raise DbopsError("\n".join(lines), **facts)
    return Result(True, lines, facts, diff, {"verified": [backup.manifest.id for backup in chosen]})


def _own(operation: Operation, backups: t.Sequence[Backup]) -> list[Backup]:
    """Those of this server whose time is not in the future: what another one made, or a clock that was ahead, is meant by its id only."""
    return [
        backup
        for backup in backups
        if backup.manifest.server_identifier == operation.server.identifier and not lies_ahead(moment(backup.manifest.created), utc_now())
    ]


def choose(
    backups: t.Sequence[Backup],
    select: str,
    others: t.Sequence[Backup] = (),
    draw: t.Callable[[t.Sequence[Backup]], Backup] = random.choice,
) -> list[Backup]:
    """Of the backups, newest first, those that are meant; ``others`` by their id only.

    :raises DbopsError: where an id means none.
    """
    if select == ALL:
        return list(backups)
    if select == UNVERIFIED:
        return [backup for backup in backups if read_proof(backup).state not in (PROVED, FAILED)]
    if select == NEWEST:  # not the state that a restore has replaced, as with 'latest'
        return [backup for backup in backups if backup.manifest.reason != BEFORE_RESTORE][:1] or list(backups[:1])
    if select == RANDOM:
        return [draw(backups)] if backups else []
    named = [backup for backup in others or backups if backup.name == select]
    if not named:
        listed = ", ".join(backup.manifest.id for backup in list(others or backups)[:5]) or "none"
        raise DbopsError(
            "There is no backup '%s' (dbops_verify_select: newest, unverified, all, random, or an id). The newest: %s." % (select, listed)
        )
    return named


def _nothing_to_do(operation: Operation, backups: t.Sequence[Backup]) -> Result:
    """:raises DbopsError: where there is no backup at all, which nobody must take for a success."""
    if not backups:
        raise DbopsError(
            "There is no backup of database '%s' in '%s' to verify. Make one: ansible-playbook backup.yml -l %s"
            % (operation.database, operation.archive.folder, operation.evidence.host)
        )
    return Result(
        False,
        ["Every one of the %s of database '%s' was verified before." % (count_text(len(backups), "backup"), operation.database)],
        {"verified": [], "failed_backups": [], "unmet": {}, "not_tried": {}},
    )


def _verdict(operation: Operation, backup: Backup, options: ProofOptions) -> Verdict:
    try:
        proof = prove(operation, backup, options)
        write_proof(backup, proof, operation.work_folder("proof"))
    except Interrupted:
        raise
    except (DbopsError, OSError) as error:
        return Verdict(backup, Proof(), getattr(error, "message", "") or "The host's file system refused: %s." % error)
    return Verdict(backup, proof)


def _announcement(operation: Operation, backup: Backup, options: ProofOptions) -> str:
    """:raises DbopsError: where it could not be tried."""
    machine = plan_server(operation, backup.manifest, options.limits)
    return "Would restore backup '%s' (%s of database) into a throwaway server of '%s', %s, and compare it.%s" % (
        backup.manifest.id,
        size_text(backup.manifest.database_size),
        machine.image,
        "in memory" if machine.machine.in_memory else "on the engine's disk",
        " Not the same as then: %s." % machine.note if machine.note else "",
    )


def _told(operation: Operation, verdict: Verdict) -> list[str]:
    proof, name = verdict.proof, verdict.backup.manifest.id
    if verdict.trouble:
        return ["Backup '%s' could not be tried: %s" % (name, verdict.trouble)]
    if proof.state == FAILED:
        return [
            "Backup '%s' does NOT come back as it was made: %s. It is marked, and 'latest' does not mean it any more."
            % (name, "; ".join(text.rstrip(".") for text in proof.failures[:10])),
            "Make another: ansible-playbook backup.yml -l %s" % operation.evidence.host,
            "To try it again: ansible-playbook verify_backups.yml -l %s -e dbops_verify_select=%s" % (operation.evidence.host, name),
            "To restore what can be had of it (counts and contents that differ are shown, and consented to): %s"
            % operation.restore_command(name),
        ]
    lines = [
        "Backup '%s' is proved: restored into '%s' in %s and compared in %s: %s."
        % (
            name,
            proof.image,
            duration_text(proof.seconds["server"] + proof.seconds["restore"]),
            duration_text(proof.seconds["compare"]),
            ", ".join(proof.compared),
        )
    ]
    lines += [
        "What is expected of every copy does not hold of this one, which says nothing about the backup: %s." % text for text in proof.unmet
    ]
    return lines + ["Not compared: %s." % text.rstrip(".") for text in proof.not_compared]


def _facts(proof: Proof) -> dict[str, t.Any]:
    return {name: item for name, item in proof.to_json().items() if name not in ("format", "manifest_sha256", "run_id")}


def _diff(chosen: t.Sequence[Backup]) -> dict[str, str]:
    """By check mode's measure: what a run writes, if they come back."""
    return {
        "before": "".join("%s: %s\n" % (backup.manifest.id, _KNOWN[read_proof(backup).state]) for backup in chosen),
        "after": "".join("%s: proved\n" % backup.manifest.id for backup in chosen),
    }
