# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a backup is asked to be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BackupOptions:
    """``reason`` becomes part of the name; ``jobs`` is pg_dump's number of parallel workers. ``check_restorable``: try its definitions in a
    sandbox, unless they are known to be restorable. ``of``: the database that holds the contents, where it has another name.
    ``content_hash``: whether what each table holds is digested: ``always``, ``never``, or ``auto`` by the size. ``role_passwords``: whether the
    verifiers of the roles' passwords are kept. ``compression``: ``auto``, the best that the image has, or ``none``."""

    reason: str = ""
    jobs: int = 2
    check_restorable: bool = False
    of: str = ""
    content_hash: str = "auto"
    role_passwords: bool = False
    compression: str = "auto"
