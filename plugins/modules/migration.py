#!/usr/bin/python
# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migration
short_description: Bring the schema up to date with the backend's own migration runner
version_added: 0.1.0
description:
  - Wraps the migration runner inside the backend's image. It works for any runner in any language, since the plan is made by observation.
  - The plan is made by running the runner in a sandbox, a throwaway server with the same schema on a network without a route to
    the real one. What it does there is the plan, with the exact statements, the strong locks, and the tables that are rewritten.
  - An empty plan ends the run without a change. Otherwise a verified backup is made, the runner runs against the real database,
    and the schema afterwards has to be the planned one.
  - While the runner works, its wait for a lock is ended after O(lock_timeout) and the run is tried again, so that nobody waits
    behind it for long.
  - A failed run says by fingerprint whether the schema is as it was, and else what changed, which backup was made before, and the
    command that restores it.
extends_documentation_fragment:
  - dbops.postgres.target
  - dbops.postgres.planning
  - dbops.postgres.gates
  - dbops.postgres.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
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

EXAMPLES = r"""
- name: Show what a migration would do
  dbops.postgres.migration:
    container: chat-postgres-prod
    database: chat
    backup_dir: /opt/backups/chat-production
    backends: [chat-backend]
  check_mode: true
  diff: true

- name: Migrate
  dbops.postgres.migration:
    container: chat-postgres-prod
    database: chat
    backup_dir: /opt/backups/chat-production
    backends: [chat-backend]
    runner: [/app/backend, migrate]

- name: Do exactly what was planned and approved
  dbops.postgres.migration:
    container: chat-postgres-prod
    database: chat
    backup_dir: /opt/backups/chat-production
    backends: [chat-backend]
    plan: 2c26b46b68ffc68f
    approval: required
"""

RETURN = r"""
plan:
  description: What the runner does, seen in the sandbox.
  returned: success
  type: dict
  sample:
    fingerprint: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
    schema_before: fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9
    schema_after: baa5a0964d3320fbc0c6a922140453c8513ea24ab8fd0577034804a967248096
    empty: false
    changes:
      - + column public.users.nickname character varying
    state_changed: []
    failed:
      - sql: SELECT version FROM schema_version
        error: relation "schema_version" does not exist
        caught: true
    statements:
      - sql: ALTER TABLE "users" ADD COLUMN "nickname" character varying NULL
        kind: schema
        objects:
          - alter table public.users
        locks:
          - AccessExclusiveLock on public.users
        rewrites: []
runner:
  description: The command and the image that were used.
  returned: success
  type: dict
  sample:
    command: [/app/backend, migrate]
    image: chat-backend:2
    image_id: sha256:5e0f
gates:
  description: How each gate stands, with its evidence.
  returned: success
  type: list
  elements: dict
  sample:
    - name: backup
      state: passed
      evidence: The newest, 'chat_20261123_030000', is 5 h 12 min old; 26 h are allowed.
      line: ""
      reason: ""
risk:
  description: What the plan means for this database, as RV(dbops.postgres.migration_plan#module:risk) describes it.
  returned: success
  type: dict
backup:
  description: The backup that was made before, as RV(dbops.postgres.backup#module:backup) describes it.
  returned: when something was migrated
  type: dict
tables_before:
  description: Tables before the migration.
  returned: when something was migrated
  type: list
  elements: str
tables_after:
  description: Tables after the migration.
  returned: when something was migrated
  type: list
  elements: str
backend_errors:
  description: Lines that look like errors in the backends' logs since the start.
  returned: when something was migrated
  type: list
  elements: str
runner_seconds:
  description: How long the runner itself took.
  returned: when something was migrated
  type: float
afterwards:
  description:
    - What was seen once the schema was the planned one and the backends were well. Empty where it could not be looked at.
    - C(again) is whether a second run of the command, tried in the sandbox, would still change something, C(settled) that it would not and ends well.
    - Seconds; C(queue) is who waited behind the migration, the most sessions at a time and the seconds of all of them together.
  returned: when something was migrated
  type: dict
  sample:
    again: false
    settled: true
    invalid_indexes: []
    unvalidated: []
    analyzed: [public.users]
    to_analyze: []
    sequences: []
    slowest: {seconds: 0.4, sql: ALTER TABLE "users" ALTER COLUMN "age" TYPE bigint}
    locks:
      - {table: public.users, lock: AccessExclusiveLock, seconds: 0.4, planned: 0.5}
    queue: {sessions: 2, seconds: 0.3}
approval:
  description: Whose plan was approved, and when, or that nobody has approved what is risky; empty where that was not asked.
  returned: when something was migrated
  type: dict
  sample:
    planned_by: ann
    planned_at: "2026-11-23T02:50:00Z"
    approved_at: "2026-11-23T03:00:00Z"
refused:
  description: Statements that the server refused while the command ran, and that it did not tell of, as far as the server's log shows whose they were.
  returned: when the command ran
  type: list
  elements: dict
  sample:
    - sql: INSERT INTO users (id) VALUES (1)
      error: duplicate key value violates unique constraint "users_pkey"
      caught: false
refused_unknown:
  description: Why RV(refused) is not known, empty where it is.
  returned: when the command ran
  type: str
  sample: logging_collector is on, so the server logs into files
summary:
  description: What was done, in a few lines for a person.
  returned: success
  type: list
  elements: str
operation:
  description: Facts of this run; where it may change something, they are also in the journal.
  returned: always
  type: dict
  sample:
    run_id: 20261123T030000_3f9a2c
    operation: migrate
    host: chat-production
    database: chat
    environment: production
    container: chat-postgres-prod
    server_id: "7300000000000000001"
    server_version: "17.5"
    started: "2026-11-23T03:00:00Z"
    duration_seconds: 4.2
    phases: {}
"""

import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils._module import DbopsModule
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operation._watchdog import LockLimits
from ansible_collections.dbops.postgres.plugins.module_utils.operations._approval import AUTO, NEVER, REQUIRED, RISKY, ApprovalOptions
from ansible_collections.dbops.postgres.plugins.module_utils.operations._migration import LockOptions, MigrationOptions, migrate
from ansible_collections.dbops.postgres.plugins.module_utils.operations._planning_options import GATES_SPEC, PLANNING_SPEC, planning_options

ARGUMENT_SPEC = {
    "backup": {"type": "bool", "default": True},
    "jobs": {"type": "int", "default": 2},
    "health_timeout": {"type": "int", "default": 60},
    "conflicts": {"type": "str", "choices": ["stop", "warn"], "default": "stop"},
    "analyze": {"type": "bool", "default": True},
}

LOCK_SPEC = {
    "lock_timeout": {"type": "float", "default": 0.3},
    "lock_retries": {"type": "int", "default": 10},
    "lock_pause": {"type": "float", "default": 5.0},
    "lock_deadline": {"type": "float", "default": 300.0},
    "lock_hold_max": {"type": "float", "default": 10.0},
    "lock_hold_action": {"type": "str", "choices": ["warn", "end"], "default": "warn"},
    "blocker_max_age": {"type": "float", "default": 60.0},
}

APPROVAL_SPEC = {
    "plan": {"type": "str"},
    "plan_document": {"type": "raw"},
    "plan_max_age": {"type": "float", "default": 24.0},
    "approval": {"type": "str", "choices": [AUTO, REQUIRED, RISKY, NEVER], "default": AUTO},
}


def migration(operation: Operation, params: dict[str, t.Any]) -> Result:
    given = {name: params[name] for name in ARGUMENT_SPEC}
    limits = LockLimits(params["lock_timeout"], params["lock_hold_max"], params["lock_hold_action"] == "end")
    locks = LockOptions(limits, params["lock_retries"], params["lock_pause"], params["lock_deadline"], params["blocker_max_age"])
    approval = ApprovalOptions(
        params["plan"] or "", params["plan_document"] or None, params["approval"], params["plan_max_age"] * 3600, params["reason"] or ""
    )
    return migrate(operation, MigrationOptions(planning_options(params), **given, locks=locks, approval=approval))


def main() -> None:
    spec = {**PLANNING_SPEC, **GATES_SPEC, **ARGUMENT_SPEC, **LOCK_SPEC, **APPROVAL_SPEC}
    module = DbopsModule(operation="migrate", risk=Risk.FORWARD, argument_spec=spec)
    module.run(migration)


if __name__ == "__main__":
    main()
