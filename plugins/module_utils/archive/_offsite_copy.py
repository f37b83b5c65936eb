# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of a backup's copy elsewhere: a file beside its manifest, for those who look without asking the repository."""

from __future__ import annotations

import json
import os
import typing as t
from dataclasses import asdict, dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.archive._files import put_beside
from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import OFFSITE, Backup
from ansible_collections.dbops.postgres.plugins.module_utils.archive._proof import manifest_sha256


@dataclass(frozen=True)
class OffsiteCopy:
    """``at``: when it was seen there, RFC 3339 in UTC; ``repository``: its address without a password; ``snapshot``: its name there."""

    repository: str
    snapshot: str
    at: str
    manifest_sha256: str


def write_offsite_copy(backup: Backup, copy: OffsiteCopy, work: str) -> None:
    """:param work: a folder of this run's own on the same file system."""
    put_beside(backup.path, OFFSITE, json.dumps(asdict(copy), indent=1, sort_keys=True) + "\n", work)


def read_offsite_copy(backup: Backup) -> OffsiteCopy | None:
    """None where nothing is known, or what is known is about another manifest."""
    try:
        with open(os.path.join(backup.path, OFFSITE), encoding="utf-8") as stream:
            data: dict[str, t.Any] = json.load(stream)
        copy = OffsiteCopy(**{name: str(data[name]) for name in ("repository", "snapshot", "at", "manifest_sha256")})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return copy if copy.manifest_sha256 == manifest_sha256(backup) else None
