# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a restore, or its undoing, is wanted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RestoreOptions:
    """``backup``: ``latest``, an id, a UTC time, ``undo``, or an absolute path. Times in seconds.

    ``keep``: how many replaced databases are kept, all where that is negative.
    """

    backup: str
    backup_first: bool = True
    jobs: int = 2
    restart: str = "auto"
    health_timeout: float = 60
    session_timeout: float = 10
    keep: int = -1
    from_other_environment: bool = False
    accept_differences: str = ""
    missing_roles: str = "refuse"
    tools_image: str = ""
