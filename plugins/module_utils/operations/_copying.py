# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Send backups that are not elsewhere yet to the offsite repository, and what has become known of those that are."""

from __future__ import annotations

import os
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import OFFSITE, Backup, verify_files
from ansible_collections.dbops.postgres.plugins.module_utils.archive._offsite_copy import (
    OffsiteCopy,
    read_offsite_copy,
    write_offsite_copy,
)
from ansible_collections.dbops.postgres.plugins.module_utils.archive._proof import FAILED, manifest_sha256, read_proof
from ansible_collections.dbops.postgres.plugins.module_utils.offsite._copies import (
    Copy,
    is_there,
    next_copy_of,
    read_copies,
    tags_of_database,
)
from ansible_collections.dbops.postgres.plugins.module_utils.offsite._restic import Restic
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import extra_variable
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, Interrupted
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import count_text, duration_text, size_text
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import moment, timestamp, utc_now

#: Which backups are sent; anything else is an id.
MISSING, NEWEST = "missing", "newest"


@dataclass(frozen=True)
class CopyOptions:
    """``check``: how much of the repository is read afterwards, such as ``5%``; empty, none. ``init``: make the repository where there is none;
    ``unlock``: remove what restic takes for locks of dead runs."""

    select: str = MISSING
    check: str = ""
    init: bool = False
    unlock: bool = False


@dataclass(frozen=True)
class Sent:
    """``added``: bytes that the repository did not have yet."""

    backup: Backup
    snapshot: str
    added: int
    seconds: float

    def to_json(self) -> dict[str, t.Any]:
        return {
            "backup": self.backup.manifest.id,
            "snapshot": self.snapshot,
            "added": self.added,
            "size": self.backup.manifest.size,
            "seconds": round(self.seconds, 3),
        }


def copy_backups(operation: Operation, restic: Restic, options: CopyOptions) -> Result:
    """The module's work.

    :raises DbopsError: also at the end, where one could not be sent.
    """
    operation.enter("copy: look")
    backups, unreadable = operation.archive.catalogue(operation.database)
    operation.warnings += ["Unreadable, so it is not sent: '%s'." % name for name in unreadable]
    backups = [backup for backup in backups if backup.name == backup.manifest.id and not os.path.islink(backup.path)]
    made = _require_repository(operation, restic, options.init)
    copies = [] if made else read_copies(restic.snapshots(tags_of_database(operation.database)))
    chosen = _choose(operation, restic, backups, copies, options.select)
    diff = _diff(copies, chosen)
    facts = _facts(restic, copies, chosen)
    if operation.check_mode:
        return Result(bool(chosen) or made, _announced(restic, chosen, copies, made), dict(facts, copied=[]), diff)
    if options.unlock:
        restic.unlock()
    sent, troubles = _send(operation, restic, chosen, copies)
    if not troubles and options.check:
        operation.enter("copy: check")
        restic.check(options.check)
    facts = dict(facts, copied=[item.to_json() for item in sent])
    lines = _told(restic, sent, copies, made, options.check)
    if troubles:
        raise DbopsError("\n".join([*troubles, *(lines if sent else [])]), **facts)
    return Result(bool(sent) or made, lines, facts, diff, {"copied": [item.backup.manifest.id for item in sent]})


def _require_repository(operation: Operation, restic: Restic, init: bool) -> bool:
    """Whether it had to be made.

    :raises DbopsError: where there is none, since a wrong address must not become a new, empty repository.
    """
    if restic.exists():
        return False
    if not init:
        raise DbopsError(
            "There is no restic repository at '%s': the address (dbops_offsite_repository) is wrong, or it was never made. To make it:"
            " ansible-playbook copy_backups.yml -l %s %s"
            % (restic.repository, operation.evidence.host, extra_variable("dbops_copy_init", "true"))
        )
    if not operation.check_mode:
        operation.enter("copy: make the repository")
        restic.create()
    return True


def _choose(operation: Operation, restic: Restic, backups: t.Sequence[Backup], copies: t.Sequence[Copy], select: str) -> list[Backup]:
    """Newest first: if only one gets through, let it be that one. One that does not come back is sent by its id only, or to mark its copy.

    :raises DbopsError: where an id means none, or there is nothing to send at all, which nobody must take for a success.
    """
    if not backups:
        raise DbopsError(
            "There is no backup of database '%s' in '%s' to send. Make one: ansible-playbook backup.yml -l %s"
            % (operation.database, operation.archive.folder, operation.evidence.host)
        )
    if select not in (MISSING, NEWEST):
        named = [backup for backup in backups if backup.manifest.id == select]
        if not named:
            raise DbopsError(
                "There is no backup '%s' (dbops_copy_select: missing, newest, or an id). The newest: %s."
                % (select, ", ".join(backup.manifest.id for backup in backups[:5]))
            )
        return [backup for backup in named if not is_there(backup, copies, _noted(restic, backup))]
    sent = {copy.backup for copy in copies}
    wanted = [backup for backup in backups if read_proof(backup).state != FAILED or backup.manifest.id in sent]
    return [backup for backup in (wanted[:1] if select == NEWEST else wanted) if not is_there(backup, copies, _noted(restic, backup))]


def _send(operation: Operation, restic: Restic, chosen: t.Sequence[Backup], copies: t.Sequence[Copy]) -> tuple[list[Sent], list[str]]:
    """What was sent, and a sentence on each that was not: a damaged one must not keep the others from being carried away."""
    sent: list[Sent] = []
    troubles: list[str] = []
    for number, backup in enumerate(chosen, 1):
        operation.enter("copy: send")
        operation.progress.part("backup %d of %d" % (number, len(chosen)) if len(chosen) > 1 else "")
        try:
            operation.warnings += _files_as_made(backup)
        except (DbopsError, OSError) as error:
            troubles.append(_not_sent(backup, error))
            continue
        try:
            sent.append(_send_one(operation, restic, backup, next_copy_of(backup, copies).tags))
        except Interrupted:
            raise
        except (DbopsError, OSError) as error:
            troubles.append(_not_sent(backup, error))
            break  # the repository's trouble is the next one's as well
    return sent, troubles


def _send_one(operation: Operation, restic: Restic, backup: Backup, tags: t.Sequence[str]) -> Sent:
    began = time.monotonic()
    at = moment(backup.manifest.created).strftime("%Y-%m-%d %H:%M:%S")
    operation.progress.expect(total=backup.manifest.size)
    sent = operation.progress.reach_bytes
    snapshot, added = restic.send(operation.archive.folder, backup.manifest.id, tags, at, OFFSITE, sent)
    copy = OffsiteCopy(str(restic.repository), snapshot, timestamp(utc_now()), manifest_sha256(backup))
    write_offsite_copy(backup, copy, operation.work_folder("copy"))
    return Sent(backup, snapshot, added, time.monotonic() - began)


def _not_sent(backup: Backup, error: DbopsError | OSError) -> str:
    said = getattr(error, "message", "") or "The host's file system refused: %s." % error
    return "Backup '%s' was not sent. %s" % (backup.manifest.id, said)


def _files_as_made(backup: Backup) -> list[str]:
    """A damaged one is no copy worth having: restic would keep the damage."""
    verify_files(backup)
    proof = read_proof(backup)
    return (
        ["Backup '%s' was sent although it did not come back when it was restored: 'latest' passes over it there too." % backup.manifest.id]
        if proof.state == FAILED
        else []
    )


def _noted(restic: Restic, backup: Backup) -> str:
    """The snapshot that was seen complete when it was sent; empty where none was, or to another repository."""
    known = read_offsite_copy(backup)
    return known.snapshot if known and known.repository == str(restic.repository) else ""


def _facts(restic: Restic, copies: t.Sequence[Copy], chosen: t.Sequence[Backup]) -> dict[str, t.Any]:
    return {
        "repository": str(restic.repository),
        "to_copy": [backup.manifest.id for backup in chosen],
        "there_before": [copy.backup for copy in copies],
    }


def _announced(restic: Restic, chosen: t.Sequence[Backup], copies: t.Sequence[Copy], made: bool) -> list[str]:
    lines = ["Would make the repository '%s'." % restic.repository] if made else []
    if chosen:
        names = ", ".join("'%s' (%s)" % (backup.manifest.id, size_text(backup.manifest.size)) for backup in chosen)
        return lines + ["Would send %s to '%s': %s." % (count_text(len(chosen), "backup"), restic.repository, names)]
    return lines + [_all_there(restic, copies)]


def _told(restic: Restic, sent: t.Sequence[Sent], copies: t.Sequence[Copy], made: bool, check: str) -> list[str]:
    lines = ["Made the repository '%s'." % restic.repository] if made else []
    lines += [
        "Backup '%s' is in '%s' now: snapshot %s, %s of %s were new there, in %s."
        % (
            item.backup.manifest.id,
            restic.repository,
            item.snapshot[:8],
            size_text(item.added),
            size_text(item.backup.manifest.size),
            duration_text(item.seconds),
        )
        for item in sent
    ]
    lines += [] if sent else [_all_there(restic, copies)]
    return lines + (["The repository is in order; %s of it was read for that." % check] if check else [])


def _all_there(restic: Restic, copies: t.Sequence[Copy]) -> str:
    return "Every backup that is meant is in '%s' already; it holds %s of this database." % (
        restic.repository,
        "%d %s" % (len(copies), "copy" if len(copies) == 1 else "copies"),
    )


def _diff(copies: t.Sequence[Copy], chosen: t.Sequence[Backup]) -> dict[str, str]:
    before = {"%s, %s" % (copy.backup, copy.proof) for copy in copies}
    sent = {backup.manifest.id for backup in chosen}
    after = {"%s, %s" % (copy.backup, copy.proof) for copy in copies if copy.backup not in sent}
    after |= {"%s, %s" % (backup.manifest.id, read_proof(backup).state) for backup in chosen}
    return {"before": "".join(line + "\n" for line in sorted(before)), "after": "".join(line + "\n" for line in sorted(after))}
