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
  - dbops.postgres.migrating
  - dbops.postgres.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
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
from ansible_collections.dbops.postgres.plugins.module_utils.operations._migration import migrate
from ansible_collections.dbops.postgres.plugins.module_utils.operations._migration_options import MIGRATION_SPEC, migration_options


def migration(operation: Operation, params: dict[str, t.Any]) -> Result:
    return migrate(operation, migration_options(params))


def main() -> None:
    module = DbopsModule(operation="migrate", risk=Risk.FORWARD, argument_spec=MIGRATION_SPEC)
    module.run(migration)


if __name__ == "__main__":
    main()
