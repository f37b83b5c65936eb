# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of a backup from restoring it: a file beside its manifest, written each time that this was tried.

A proof belongs to one manifest, byte by byte: where either was changed afterwards, it proves nothing.
"""

from __future__ import annotations

import json
import os
import typing as t
from dataclasses import asdict, dataclass, field

from ansible_collections.dbops.postgres.plugins.module_utils.archive._files import put_beside, sha256
from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import MANIFEST, PROOF, Backup, seal

#: Version of the file's format. Of a newer one it is only known that it is there.
FORMAT = 1

#: It was restored, and is what the manifest says; it was not; nobody has tried; what was written proves nothing.
PROVED, FAILED, NONE, INVALID = "proved", "failed", "none", "invalid"

_PHRASES = ("compared", "not_compared", "failures", "unmet")


@dataclass(frozen=True)
class Proof:
    """A try to restore a backup. ``at``: its end, RFC 3339 in UTC; ``image``: what it was restored with; ``seconds``: of each part.

    ``compared`` and ``not_compared``: phrases for a person; ``failures``: sentences on what was not as it should be; ``unmet``: what the operator
    expects of every copy and does not hold, which is no fault of the backup's.
    """

    state: str = NONE
    backup: str = ""
    manifest_sha256: str = ""
    at: str = ""
    run_id: str = ""
    image: str = ""
    image_id: str = ""
    server_version: str = ""
    compared: tuple[str, ...] = ()
    not_compared: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    unmet: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    format: int = FORMAT

    def to_json(self) -> dict[str, t.Any]:
        return dict(asdict(self), **{name: list(getattr(self, name)) for name in _PHRASES})

    @classmethod
    def from_json(cls, data: dict[str, t.Any]) -> Proof:
        return cls(**dict(data, **{name: tuple(data[name]) for name in _PHRASES}))


def write_proof(backup: Backup, proof: Proof, work: str) -> None:
    """Put it beside the manifest, in the place of an earlier one, whole or not at all.

    :param work: a folder of this run's own on the same file system.
    """
    data = proof.to_json()
    put_beside(backup.path, PROOF, json.dumps(dict(data, seal=seal(data)), indent=1, sort_keys=True) + "\n", work)


def read_proof(backup: Backup) -> Proof:
    """What is known; a file that was changed, or belongs to another manifest, is ``INVALID``."""
    path = os.path.join(backup.path, PROOF)
    try:
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
        sealed = data.pop("seal", None)
        if sealed != seal(data):
            return _invalid("the proof '%s' was changed after it was written" % path)
        if data["format"] > FORMAT:
            return _invalid("the proof '%s' was written by a newer version of this collection" % path)
        proof = Proof.from_json(data)
    except FileNotFoundError:
        return Proof()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return _invalid("the proof '%s' cannot be read" % path)
    if (proof.backup, proof.manifest_sha256) != (backup.manifest.id, manifest_sha256(backup)):
        return _invalid("the proof '%s' is about another manifest: it was copied, or the manifest was changed" % path)
    return proof


def manifest_sha256(backup: Backup) -> str:
    return sha256(os.path.join(backup.path, MANIFEST))


def _invalid(why: str) -> Proof:
    return Proof(INVALID, failures=(why,))
