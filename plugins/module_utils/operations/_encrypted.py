# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An encrypted backup, opened for as long as an operation needs to read it."""

from __future__ import annotations

import os
import shutil

from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import SCHEMA, Backup
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import size_text

#: The archive, and what is unpacked from it, beside the backup itself.
_TIMES = 2


def require_key(operation: Operation, backup: Backup) -> None:
    """:raises DbopsError: where a backup is encrypted and there is nothing to open it with, or no room for it."""
    if not backup.manifest.recipients:
        return
    if not operation.request.encryption.opens:
        raise DbopsError(
            "Backup '%s' is encrypted: give the private key of one of its recipients (%s), as a file on that host with -e"
            " dbops_encryption_identity_file=<path>, or from a vault with dbops_encryption_identity. Nothing was touched."
            % (backup.manifest.id, ", ".join(_short(recipient) for recipient in backup.manifest.recipients))
        )
    free, needed = operation.archive.free_space(), backup.manifest.size * _TIMES
    if free < needed:
        raise DbopsError(
            "There is too little room in '%s' to open backup '%s': %s needed, %s free. Nothing was touched."
            % (operation.archive.folder, backup.manifest.id, size_text(needed), size_text(free))
        )


def opened(operation: Operation, backup: Backup) -> str:
    """The folder in which the backup lies as it was before it was encrypted: its own, where it is not.

    Its sums are those of the encrypted file, so they have to be compared before.
    """
    if not backup.manifest.recipients:
        return backup.path
    work = operation.work_folder("opened")
    shutil.rmtree(work)
    os.mkdir(work, 0o700)
    operation.age().decrypt(backup.path, work)
    shutil.copy(os.path.join(backup.path, SCHEMA), os.path.join(work, SCHEMA))
    return work


def _short(recipient: str) -> str:
    return recipient if len(recipient) <= 70 else recipient[:40] + "..."
