# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a migration is done, and how it gets its locks, as the modules take it that do one."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.dbops.postgres.plugins.module_utils.operation._watchdog import LockLimits
from ansible_collections.dbops.postgres.plugins.module_utils.operations._approval import AUTO, NEVER, REQUIRED, RISKY, ApprovalOptions
from ansible_collections.dbops.postgres.plugins.module_utils.operations._planning_options import (
    GATES_SPEC,
    PLANNING_SPEC,
    PlanningOptions,
    planning_options,
)
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

_OWN: dict[str, t.Any] = {
    "backup": {"type": "bool", "default": True},
    "jobs": {"type": "int", "default": 2},
    "health_timeout": {"type": "int", "default": 60},
    "conflicts": {"type": "str", "choices": ["stop", "warn"], "default": "stop"},
    "analyze": {"type": "bool", "default": True},
}

_LOCKS: dict[str, t.Any] = {
    "lock_timeout": {"type": "float", "default": 0.3},
    "lock_retries": {"type": "int", "default": 10},
    "lock_pause": {"type": "float", "default": 5.0},
    "lock_deadline": {"type": "float", "default": 300.0},
    "lock_hold_max": {"type": "float", "default": 10.0},
    "lock_hold_action": {"type": "str", "choices": ["warn", "end"], "default": "warn"},
    "blocker_max_age": {"type": "float", "default": 60.0},
}

_APPROVAL: dict[str, t.Any] = {
    "plan": {"type": "str"},
    "plan_document": {"type": "raw"},
    "plan_max_age": {"type": "float", "default": 24.0},
    "approval": {"type": "str", "choices": [AUTO, REQUIRED, RISKY, NEVER], "default": AUTO},
}

#: The module options of a migration; documented in the fragments ``dbops.postgres.planning``, ``gates`` and ``migrating``.
MIGRATION_SPEC: dict[str, t.Any] = {**PLANNING_SPEC, **GATES_SPEC, **_OWN, **_LOCKS, **_APPROVAL}


@dataclass(frozen=True)
class LockOptions:
    """How the migration gets its locks. Seconds. ``retries``: how often it is tried again after it waited too long; ``pause``: between two tries,
    more or less; ``deadline``: after which none begins any more, 0 is without; ``blocker_max_age``: older transactions at its tables stop it
    beforehand, 0 looks for none."""

    limits: LockLimits = field(default_factory=lambda: LockLimits(0.3, 10.0))
    retries: int = 10
    pause: float = 5
    deadline: float = 300
    blocker_max_age: float = 60


@dataclass(frozen=True)
class MigrationOptions:
    """Seconds for every time limit.

    ``conflicts``: ``stop`` or ``warn`` where the plan would break another branch on a database that is not production; ``analyze``: whether
    tables that are rewritten get their statistics anew.
    """

    planning: PlanningOptions
    backup: bool = True
    jobs: int = 2
    locks: LockOptions = field(default_factory=LockOptions)
    health_timeout: float = 60
    conflicts: str = "stop"
    analyze: bool = True
    approval: ApprovalOptions = field(default_factory=ApprovalOptions)


def migration_options(params: t.Mapping[str, t.Any]) -> MigrationOptions:
    """From a module's parameters."""
    limits = LockLimits(params["lock_timeout"], params["lock_hold_max"], params["lock_hold_action"] == "end")
    return MigrationOptions(
        planning_options(params),
        **{name: params[name] for name in _OWN},
        locks=LockOptions(limits, params["lock_retries"], params["lock_pause"], params["lock_deadline"], params["blocker_max_age"]),
        approval=ApprovalOptions(
            params["plan"] or "", params["plan_document"] or None, params["approval"], params["plan_max_age"] * 3600, params["reason"] or ""
        ),
    )


def require_sensible(locks: LockOptions) -> None:
    """:raises DbopsError: for a limit that would end every wait at once, or that is none."""
    for name, number in (
        ("lock_retries", locks.retries),
        ("lock_pause", locks.pause),
        ("lock_deadline", locks.deadline),
        ("lock_hold_max", locks.limits.hold),
        ("blocker_max_age", locks.blocker_max_age),
    ):
        if number < 0:
            raise DbopsError("dbops_migrate_%s is a number from 0 on, not %g." % (name, number))
    if locks.limits.wait is None or locks.limits.wait <= 0:
        raise DbopsError("The lock timeout has to be more than 0 seconds (dbops_migrate_lock_timeout).")
