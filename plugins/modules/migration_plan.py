#!/usr/bin/python
# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_plan
short_description: Say what a migration would do to this very database
version_added: 0.1.0
description:
  - Runs the backend's own migration runner in a sandbox, as M(dbops.postgres.migration) does before it migrates. What it does there is the plan.
  - Says what that means for the live database. Which tables are locked, how strongly and about how long, which are rewritten or read in full, how large
    and how busy they are, what goes away or is called otherwise, and what an older version of the application would miss. Each finding has a level,
    the rule that it comes from, and a safer way written out for the object that is meant.
  - Asks the live rows, reading only and for a limited time, what an empty sandbox cannot know, such as NULLs, duplicates, orphans, and values that do
    not fit. What could not be asked is marked, since only a rehearsal can tell.
  - Runs the runner a second time in the same sandbox, and says where it would not be content with its own work.
  - Nothing is changed, and nobody has to wait. The plan's fingerprint goes into the journal, so that M(dbops.postgres.migration) can do exactly that.
extends_documentation_fragment:
  - dbops.postgres.target
  - dbops.postgres.planning
  - dbops.postgres.gates
  - dbops.postgres.attributes
attributes:
  check_mode:
    support: full
    details: The plan is the same, but it is not written into the journal, so it cannot be approved.
  diff_mode:
    support: none
    details: Nothing is changed. The statements are in the summary.
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Say what a migration would do
  dbops.postgres.migration_plan:
    container: chat-postgres-prod
    database: chat
    backup_dir: /opt/backups/chat-production
    backends: [chat-backend]

- name: Plan an image that is not deployed yet
  dbops.postgres.migration_plan:
    container: chat-postgres-prod
    database: chat
    backup_dir: /opt/backups/chat-production
    backends: [chat-backend]
    image: registry.example.org/chat-backend:v42
    risk_accepted:
      - rule: ban-drop-column
        object: column public.users.*
        reason: nobody has read it since v40
        until: "2026-12-31"
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
apply:
  description: The line that does exactly this, empty where there is nothing to do.
  returned: success
  type: str
  sample: ansible-playbook migrate.yml -l chat-production -e dbops_migrate_plan=2c26b46b68ffc68f
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
  description: What the plan means for this database.
  returned: success
  type: dict
  sample:
    level: low
    findings:
      - rule: require-concurrent-index-creation
        level: low
        object: index public.messages_created_at
        statement: 2
        why: It is built while nobody can write the table.
        safer: "Beforehand, outside of a transaction: CREATE INDEX CONCURRENTLY messages_created_at ON public.messages USING btree (created_at);"
        table: public.messages
        seconds: 0.2
        evidence: ""
        unknown: ""
        accepted: ""
        ja:
          why: 作成中は誰も表に書けません。
          safer: "事前に、トランザクションの外で: CREATE INDEX CONCURRENTLY messages_created_at ON public.messages USING btree (created_at);"
        measured: false
    locks:
      - table: public.messages
        lock: ShareLock
        first: 2
        last: 3
        seconds: 0.2
        waiting: 1.5
        level: low
        measured: false
    tables: []
    notes: []
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
    operation: plan
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
from ansible_collections.dbops.postgres.plugins.module_utils.operations._planning import plan_migration
from ansible_collections.dbops.postgres.plugins.module_utils.operations._planning_options import GATES_SPEC, PLANNING_SPEC, planning_options


def plan(operation: Operation, params: dict[str, t.Any]) -> Result:
    return plan_migration(operation, planning_options(params))


def main() -> None:
    module = DbopsModule(operation="plan", risk=Risk.ASIDE, argument_spec={**PLANNING_SPEC, **GATES_SPEC})
    module.run(plan)


if __name__ == "__main__":
    main()
