#!/usr/bin/python
# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: deployment
short_description: Bring the application and its database to a new image
version_added: 0.1.0
description:
  - Pulls the image, plans its migration in a sandbox and asks the gates, as M(dbops.postgres.migration) does, then backs up, migrates, and lets
    Docker Compose start the containers of that image, with the project's own files. All of it under one lock, in one run that a lost connection does
    not end.
  - The image is pinned by its digest, and written where the project says which image it is. That is the variable which the Compose file names for
    the image, in the project's C(.env), or else a further Compose file in the project's folder.
  - The new containers have to become healthy, pass the smoke commands, and stay well for O(settle) seconds. Else the image before is put back; what
    became of the schema is said, with the line that restores it. Nothing is restored by itself.
  - What the version that runs now needs of the schema, and what the new one needs, tells in which order there are no errors. That is what the
    migrations of both make of an empty database, and is compared with the schema before and after.
extends_documentation_fragment:
  - dbops.postgres.target
  - dbops.postgres.planning
  - dbops.postgres.gates
  - dbops.postgres.migrating
  - dbops.postgres.attributes
attributes:
  check_mode:
    support: full
    details: The image is pulled, since it cannot be planned otherwise.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  order:
    description:
      - Whether the database is migrated before the new containers start, or after. The first wants the running version to live with the new schema, the
        second the new version with the old one.
    type: str
    choices: [migrate_first, start_first]
    default: migrate_first
  pull:
    description: Whether the image is asked for at its registry in each run, or only where it is not on the host.
    type: str
    choices: [always, missing]
    default: always
  pull_timeout:
    description: Seconds that the pull may take.
    type: int
    default: 1800
  services:
    description: Services of the Compose project. Not given, the backend's own, and those that run with the same image and the same database.
    type: list
    elements: str
    default: []
  project_dir:
    description: The Compose project's folder on the host. Not given, as the backend's container was started.
    type: path
  compose_files:
    description: The project's Compose files, from that folder. Not given, as the backend's container was started.
    type: list
    elements: str
    default: []
  env_files:
    description: Files with the variables of the Compose files, from that folder. Not given, as the container was started, which is C(.env) as a rule.
    type: list
    elements: str
    default: []
  image_variable:
    description: The variable in the last of those files that is the whole image. Not given, the one that the Compose file names.
    type: str
  smoke:
    description: Commands that have to succeed inside the new container. Each a list of words, or one text.
    type: list
    elements: raw
    default: []
  settle:
    description: Seconds that the new containers have to stay well before the deploy counts.
    type: float
    default: 3.0
"""

EXAMPLES = r"""
- name: Show what a deploy would do
  dbops.postgres.deployment:
    container: chat-postgres-prod
    database: chat
    backup_dir: /opt/backups/chat-production
    backends: [chat-backend]
    image: registry.example.org/chat-backend:v42
  check_mode: true
  diff: true

- name: Deploy an image
  dbops.postgres.deployment:
    container: chat-postgres-prod
    database: chat
    backup_dir: /opt/backups/chat-production
    backends: [chat-backend]
    runner: [/app/backend, migrate]
    image: registry.example.org/chat-backend:v42
    smoke: [/app/backend health]
"""

RETURN = r"""
deployment:
  description:
    - What is deployed where. C(replaced) is what ran before, C(set_in) the file that says which image it is.
    - C(running_after) is what the version before lacks in the new schema, C(new_before) what the new one lacks in the old schema, C(safe_orders) in which
      order there are no errors; C(unknown) says why that is not known. Seconds until the containers had started, and from then until they were well.
  returned: success
  type: dict
  sample:
    image: registry.example.org/chat-backend:v42@sha256:5e0f
    image_id: sha256:77aa
    project: chat
    services: [backend]
    replaced:
      - {container: chat-backend, image: registry.example.org/chat-backend:v41}
    order: migrate_first
    safe_orders: [migrate_first]
    running_after: []
    new_before: [column public.users.nickname is not there]
    unknown: ""
    set_in: /opt/chat/.env
    start_seconds: 0.8
    well_seconds: 3.4
taken_back:
  description: The image that was put back, since the new one did not get well; empty where there was none before.
  returned: when the new version did not get well
  type: str
  sample: registry.example.org/chat-backend:v41
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
    operation: deploy
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
from ansible_collections.dbops.postgres.plugins.module_utils.operations._deployment import deploy
from ansible_collections.dbops.postgres.plugins.module_utils.operations._deployment_options import DEPLOYMENT_SPEC, deployment_options


def deployment(operation: Operation, params: dict[str, t.Any]) -> Result:
    return deploy(operation, deployment_options(params))


def main() -> None:
    module = DbopsModule(operation="deploy", risk=Risk.FORWARD, argument_spec=DEPLOYMENT_SPEC)
    module.run(deployment)


if __name__ == "__main__":
    main()
