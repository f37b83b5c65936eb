#!/usr/bin/python
# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_rehearsal
short_description: Try a migration on the real rows, but not on the real server
version_added: 0.1.0
description:
  - Restores a backup into a throwaway server of the same image, on a network without a route to anywhere, and runs the backend's own migration runner
    there. What only some rows have, and what would stop the migration on them, stops it there.
  - The throwaway server writes as a real one does, with the real server's memory settings. Every tenth of a second it is seen which table is locked
    how strongly, and its log tells how long each statement took. These seconds stand where M(dbops.postgres.migration_plan) had to estimate, also
    in the next plan of the same migration.
  - Then the version of the application that runs now, and the new one, are started there with the new schema, as their containers are, and have to get
    well and pass your own commands. A version that does not get well with the old schema either lacks something else, so nothing is said of it.
  - The live database is neither changed nor waited for. What it came to goes beside the backups and into the journal, where the gates C(rehearsed) and
    C(compatible) of M(dbops.postgres.migration) look.
extends_documentation_fragment:
  - dbops.postgres.target
  - dbops.postgres.planning
  - dbops.postgres.attributes
attributes:
  check_mode:
    support: full
    details: Says which backup would be restored into what, and whether there is room.
  diff_mode:
    support: none
    details: Nothing of the database is changed. The statements are in the result.
  idempotent:
    support: full
options:
  backup:
    description: Whose rows. V(proved) is the newest backup that was restored and compared (M(dbops.postgres.backup_verify)), anything else is an id.
    type: str
    default: proved
  jobs:
    description: How many tables are restored at the same time.
    type: int
    default: 2
  place:
    description:
      - Where the copy lies. V(disk) of the engine, where times are as a real server has them, V(memory) of the host, or V(auto), which is memory where a
        quarter of what is available suffices.
    type: str
    choices: [auto, memory, disk]
    default: disk
  memory:
    description: How much memory the throwaway server may use, such as V(8g). Not given, 2 GB, and what the copy takes where it lies in memory.
    type: str
  cpus:
    description: How many processors the throwaway server may use. V(0) is without limit.
    type: float
    default: 0.0
  smoke:
    description:
      - Commands that have to succeed in the application's container with the new schema, each as a list of words or one text.
      - Without any, and without a health check, it is only known that it starts.
    type: list
    elements: raw
    default: []
  health_timeout:
    description: Seconds within which a version of the application has to get well in there.
    type: int
    default: 60
  max_seconds:
    description: Seconds that the migration may take. V(0) is without limit. Where it takes longer, the rehearsal fails.
    type: float
    default: 0.0
  max_lock_seconds:
    description: The same for the seconds that one table may be locked so that readers or writers wait.
    type: float
    default: 0.0
  max_wal:
    description: The same for what it may write into the server's log, which replicas and archives have to take, such as V(2g).
    type: str
"""

EXAMPLES = r"""
- name: Rehearse the migration of the running backend's image
  dbops.postgres.migration_rehearsal:
    container: chat-postgres-prod
    database: chat
    backup_dir: /opt/backups/chat-production
    backends: [chat-backend]

- name: Rehearse an image that is not deployed yet, and fail where a table is locked for more than five seconds
  dbops.postgres.migration_rehearsal:
    container: chat-postgres-prod
    database: chat
    backup_dir: /opt/backups/chat-production
    backends: [chat-backend]
    image: registry.example.org/chat-backend:v42
    max_lock_seconds: 5
    smoke:
      - /app/backend check
"""

RETURN = r"""
plan:
  description: What the runner does, seen in the sandbox.
  returned: success, or the rehearsal failed
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
        seconds: 0.4
runner:
  description: The command and the image that were used.
  returned: success, or the rehearsal failed
  type: dict
  sample:
    command: [/app/backend, migrate]
    image: chat-backend:2
    image_id: sha256:5e0f
rehearsal:
  description: What was seen, empty in check mode. Sizes in bytes, moments in seconds since the runner began.
  returned: success, or the rehearsal failed
  type: dict
  sample:
    state: passed
    at: "2026-11-23T04:00:12Z"
    backup: chat_20261123_030000
    backup_created: "2026-11-23T03:00:00Z"
    proved: true
    server_identifier: "7300000000000000001"
    plan_fingerprint: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
    shape_before: fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9
    shape_after: baa5a0964d3320fbc0c6a922140453c8513ea24ab8fd0577034804a967248096
    image: chat-backend:2
    image_id: sha256:5e0f
    seconds: 2.4
    statements:
      - {number: 1, begun: 0.1, ended: 0.6}
    locks:
      - {table: public.users, lock: AccessExclusiveLock, begun: 0.1, ended: 2.3, seconds: 2.2}
    rewritten: []
    versions:
      - version: running
        image: chat-backend:1
        image_id: sha256:4d1c
        state: works
        evidence: It starts, it is healthy.
    exceeded: []
    wal: 1048576
    temporary: 0
    size_before: 104857600
    size_after: 105906176
    not_seen: ""
    parts: {server: 0.9, restore: 8.1, versions: 1.2, versions_after: 2.4}
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
        measured: true
    locks:
      - table: public.messages
        lock: ShareLock
        first: 2
        last: 3
        seconds: 0.2
        waiting: 1.5
        level: low
        measured: true
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
    operation: rehearse
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
from ansible_collections.dbops.postgres.plugins.module_utils.operations._planning_options import PLANNING_SPEC
from ansible_collections.dbops.postgres.plugins.module_utils.operations._rehearsal import rehearse
from ansible_collections.dbops.postgres.plugins.module_utils.operations._rehearsal_options import REHEARSAL_SPEC, rehearsal_options


def rehearsal(operation: Operation, params: dict[str, t.Any]) -> Result:
    return rehearse(operation, rehearsal_options(params))


def main() -> None:
    module = DbopsModule(operation="rehearse", risk=Risk.ASIDE, argument_spec={**PLANNING_SPEC, **REHEARSAL_SPEC})
    module.run(rehearsal)


if __name__ == "__main__":
    main()
