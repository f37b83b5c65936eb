# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a migration is rehearsed: on whose rows, with how much of the host, and what it may not exceed."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.dbops.postgres.plugins.module_utils.backend._smoke import Smoke, smoke_commands
from ansible_collections.dbops.postgres.plugins.module_utils.operations._planning_options import PlanningOptions, planning_options
from ansible_collections.dbops.postgres.plugins.module_utils.operations._proof_options import LEAST_MEMORY
from ansible_collections.dbops.postgres.plugins.module_utils.rehearsal._samples import LEAST_ROOM
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._proof_server import AUTO, DISK, MEMORY, Limits
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import parse_size

#: The newest backup that was restored and compared; anything else is an id.
NEWEST_PROVED = "proved"

#: A copy of the database, its tables written anew, and the log of that; of the dumped database's size.
_ROOM = 3.0

#: The module options; documented in the module itself.
REHEARSAL_SPEC: dict[str, t.Any] = {
    "backup": {"type": "str", "default": NEWEST_PROVED},
    "jobs": {"type": "int", "default": 2},
    "place": {"type": "str", "choices": [AUTO, MEMORY, DISK], "default": DISK},
    "memory": {"type": "str"},
    "cpus": {"type": "float", "default": 0.0},
    "smoke": {"type": "list", "elements": "raw", "default": []},
    "health_timeout": {"type": "int", "default": 60},
    "max_seconds": {"type": "float", "default": 0.0},
    "max_lock_seconds": {"type": "float", "default": 0.0},
    "max_wal": {"type": "str"},
}


@dataclass(frozen=True)
class RehearsalOptions:
    """``backup``: ``proved``, or an id; ``jobs``: parallel workers of pg_restore. Limits that are passed fail it; 0 is none: seconds of the whole
    migration, seconds that one table is locked, bytes that it writes into the server's log."""

    planning: PlanningOptions
    backup: str = NEWEST_PROVED
    jobs: int = 2
    limits: Limits = field(default_factory=Limits)
    smoke: Smoke = field(default_factory=Smoke)
    max_seconds: float = 0
    max_lock_seconds: float = 0
    max_wal: int = 0


def rehearsal_options(params: t.Mapping[str, t.Any]) -> RehearsalOptions:
    """From a module's parameters.

    :raises DbopsError: where one makes no sense.
    """
    memory, wal = (parse_size(params[name]) if params[name] else 0 for name in ("memory", "max_wal"))
    if memory is None or 0 < memory < LEAST_MEMORY:
        raise DbopsError("dbops_rehearse_memory is a size from 256m on, such as 8g, not '%s'." % params["memory"])
    if wal is None:
        raise DbopsError("dbops_rehearse_max_wal is a size, such as 2g, not '%s'." % params["max_wal"])
    if params["jobs"] < 1 or min(params["cpus"], params["max_seconds"], params["max_lock_seconds"]) < 0:
        raise DbopsError("dbops_rehearse_jobs is a number from 1 on; cpus, max_seconds and max_lock_seconds are numbers from 0 on.")
    return RehearsalOptions(
        planning=planning_options(params),
        backup=params["backup"],
        jobs=params["jobs"],
        limits=Limits(params["place"], params["cpus"], memory, "dbops_rehearse", _ROOM, LEAST_ROOM),
        smoke=Smoke(smoke_commands(params["smoke"], "dbops_rehearse_smoke"), params["health_timeout"]),
        max_seconds=params["max_seconds"],
        max_lock_seconds=params["max_lock_seconds"],
        max_wal=wal,
    )
