# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a migration is done, as the modules take it that do one."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation of the options; their specification is in ``operations._migration_options``."""

    DOCUMENTATION = r"""
options:
  backup:
    description: Whether to make a backup first. Ignored, with a warning, where the database counts as production.
    type: bool
    default: true
  jobs:
    description: How many tables the backup dumps at the same time.
    type: int
    default: 2
  lock_timeout:
    description: Seconds that a statement of the runner may wait for a lock.
    type: float
    default: 0.3
  lock_retries:
    description: How often the run is tried again after it waited too long for a lock.
    type: int
    default: 10
  lock_pause:
    description: Seconds between two tries, more or less by half, so that two that met do not meet again.
    type: float
    default: 5.0
  lock_deadline:
    description: Seconds after which no try begins any more. V(0) is without a limit.
    type: float
    default: 300.0
  lock_hold_max:
    description: Seconds that the runner may hold a strong lock while others wait for it. V(0) is without a limit.
    type: float
    default: 10.0
  lock_hold_action:
    description: What happens where it holds one longer. V(warn) tells of it afterwards, V(end) ends the migration, which is not tried again.
    type: str
    choices: [warn, end]
    default: warn
  blocker_max_age:
    description:
      - Seconds. A transaction that is older, and is at a table of the plan, stops the migration before anything is touched. So do a dump, a
        prepared transaction, and a vacuum to prevent wraparound, at any age. V(0) looks for none of them.
    type: float
    default: 60.0
  analyze:
    description: Whether tables that were rewritten, or have a new index over an expression, are analyzed afterwards. Else it is said that they need it.
    type: bool
    default: true
  health_timeout:
    description: Seconds within which every running backend has to pass its own health check afterwards.
    type: int
    default: 60
  conflicts:
    description:
      - What happens where the database is not production and the plan takes away something that the backend of another running branch
        needs, such as a column that it reads. V(stop) changes nothing and says which, V(warn) goes on with a warning.
    type: str
    choices: [stop, warn]
    default: stop
  plan:
    description:
      - Fingerprint of the plan that somebody has approved, or at least its first 12 digits, as M(dbops.postgres.migration_plan) shows it.
      - The run plans again, and goes on only where that is the very same. Else it says what differs, and touches nothing.
    type: str
  plan_document:
    description: The same, as the whole plan that was written into a file, its text or what was read from it. It must not have been edited.
    type: raw
  plan_max_age:
    description: Hours after which an approved plan is too old.
    type: float
    default: 24.0
  approval:
    description:
      - Which migrations need an approved plan (O(plan)). V(required) is all, V(risky) those whose risk is C(high) or C(destructive), V(never) none.
      - V(auto) is V(risky) where the environment is production, else V(never).
    type: str
    choices: [auto, required, risky, never]
    default: auto
"""
