# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which copy in the repository is which backup: told by tags, so that nothing has to be fetched to know."""

from __future__ import annotations

import datetime
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.dbops.postgres.plugins.module_utils.archive._catalogue import BEFORE_RESTORE, folder_name
from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import Backup
from ansible_collections.dbops.postgres.plugins.module_utils.archive._proof import FAILED, manifest_sha256, read_proof
from ansible_collections.dbops.postgres.plugins.module_utils.offsite._restic import Snapshot
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import moment, parse_time

#: Every snapshot of ours has it: a repository may hold other things as well.
_OURS = "dbops"


@dataclass(frozen=True)
class Copy:
    """A backup elsewhere. ``created``: RFC 3339 in UTC; ``size``: bytes; ``proof``: its state when it was sent, and ``proof_at`` when that was found
    out; ``transaction``: the server's count when it was made; ``sequence``: one more than that of the snapshot of the same backup before, whatever the
    clock says; ``snapshot``: restic's name of it; ``earlier``: those of the same backup before, newest first."""

    backup: str
    database: str
    server: str
    created: str
    reason: str
    size: int
    manifest: str
    proof: str
    proof_at: str
    transaction: int = 0
    sequence: int = 0
    snapshot: str = ""
    earlier: tuple[str, ...] = ()

    @property
    def tags(self) -> list[str]:
        """``_OURS`` and one for each fact; what is empty is left out."""
        facts = [(name, str(getattr(self, name))) for name in _FACTS]
        return [_OURS, *("%s=%s" % (name, text) for name, text in facts if text)]

    @property
    def is_good(self) -> bool:
        return self.proof != FAILED


_FACTS = ("backup", "database", "server", "created", "reason", "size", "manifest", "proof", "proof_at", "transaction", "sequence")
_NUMBERS = ("size", "transaction", "sequence")


def tags_of_database(database: str) -> list[str]:
    return [_OURS, "database=" + folder_name(database)]


def copy_of(backup: Backup) -> Copy:
    """What a copy of this backup would be, as it is now."""
    manifest, proof = backup.manifest, read_proof(backup)
    return Copy(
        backup=manifest.id,
        database=folder_name(manifest.database),
        server=manifest.server_identifier,
        created=manifest.created,
        reason=manifest.reason,
        size=manifest.size,
        manifest=manifest_sha256(backup),
        proof=proof.state,
        proof_at=proof.at,
        transaction=manifest.next_transaction,
    )


def read_copies(snapshots: t.Iterable[Snapshot]) -> list[Copy]:
    """The copies, newest backup first; of a backup that was sent more than once, the last one. Others' snapshots are left out."""
    found: dict[tuple[str, str], list[Copy]] = {}
    for snapshot in snapshots:
        copy = _read(dict(tag.split("=", 1) for tag in snapshot.tags if "=" in tag), snapshot.id)
        if copy:
            found.setdefault((copy.server, copy.backup), []).append(copy)
    copies = []
    for same in found.values():
        last, *before = sorted(same, key=lambda copy: (copy.sequence, copy.proof_at), reverse=True)
        copies.append(replace(last, earlier=tuple(copy.snapshot for copy in before if copy.manifest == last.manifest)))
    return sorted(copies, key=lambda copy: (copy.created, copy.backup), reverse=True)


def _read(facts: t.Mapping[str, str], snapshot: str) -> Copy | None:
    try:
        moment(facts["created"])
        if not facts["backup"] or "/" in facts["backup"] or facts["backup"].startswith("."):
            return None  # it becomes the name of a folder
        numbers = {name: int(facts.get(name) or 0) for name in _NUMBERS}
        return Copy(**{**{name: facts.get(name, "") for name in _FACTS}, **numbers, "snapshot": snapshot})  # type: ignore[arg-type]
    except (KeyError, ValueError):
        return None


def is_there(backup: Backup, copies: t.Iterable[Copy], noted: str) -> bool:
    """Whether this very backup is elsewhere already, with what is known of it now.

    :param noted: the snapshot that this host has seen complete. Of any other one only restic's tags are known, which it gives to half of a backup as well.
    """
    wanted = copy_of(backup)
    return bool(noted) and any(
        copy.snapshot.startswith(noted)  # older versions of restic tell the beginning of an id
        and (copy.server, copy.backup, copy.manifest, copy.proof, copy.proof_at)
        == (wanted.server, wanted.backup, wanted.manifest, wanted.proof, wanted.proof_at)
        for copy in copies
    )


def next_copy_of(backup: Backup, copies: t.Iterable[Copy]) -> Copy:
    """What is sent: it counts before those of the same backup that are there."""
    wanted = copy_of(backup)
    same = [copy.sequence for copy in copies if (copy.server, copy.backup) == (wanted.server, wanted.backup)]
    return replace(wanted, sequence=max(same, default=0) + 1)


def select_copy(copies: t.Sequence[Copy], wanted: str, server: str, where: str) -> Copy:
    """The copy that ``wanted`` means: ``latest``, an id, or a UTC time (the newest made at or before it).

    ``latest`` and a time mean copies of this server; where there is none, as on a new server, those of the one that made the newest. They pass
    over what did not come back when it was restored to prove it, and ``latest`` over what was saved before a restore.

    :param copies: of one database, newest first; ``where``: they are, for the message.
    :raises DbopsError: naming what there is.
    """
    named = [copy for copy in copies if copy.backup == wanted]
    if named:
        return named[0]
    at = parse_time(wanted)
    if wanted == "latest" or at is not None:
        own = [copy for copy in copies if copy.server == server] or [copy for copy in copies if copy.server == copies[0].server]
        meant = [copy for copy in own if copy.is_good and _is_meant(copy, at)]
        if not at:
            _require_one_latest(meant)
        if meant:
            return meant[0]
        failed = [copy.backup for copy in own if not copy.is_good and _is_meant(copy, at)]
        if failed:
            raise DbopsError(
                "Every copy for '%s' in the offsite repository '%s' is of a backup that did not come back in a test restore: %s. Name one by its id"
                " to restore what can be had of it." % (wanted, where, ", ".join(failed[:5]))
            )
    listed = ", ".join(copy.backup for copy in copies[:5]) or "none"
    raise DbopsError("There is no copy '%s' of this database in the offsite repository '%s'. The newest: %s." % (wanted, where, listed))


def _require_one_latest(meant: t.Sequence[Copy]) -> None:
    """As with backups on the host: a server counts its transactions whatever the clock says."""
    last = max(meant, key=lambda copy: copy.transaction, default=None)
    if last and last.transaction > meant[0].transaction:
        raise DbopsError(
            "Which copy is the latest cannot be told: by the clock it is '%s', by the server's count of transactions '%s', so the clock of its"
            " host was set back. Name the right one by its id." % (meant[0].backup, last.backup)
        )


def _is_meant(copy: Copy, at: datetime.datetime | None) -> bool:
    return moment(copy.created) <= at if at else copy.reason != BEFORE_RESTORE
