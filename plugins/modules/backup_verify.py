#!/usr/bin/python
# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_verify
short_description: Prove backups by restoring them into a throwaway server
version_added: 0.1.0
description:
  - Restores backups, one by one, into a throwaway server of the image that is named in the manifest, on a network without a route to anywhere, and
    compares what came back with the manifest. The number of rows and the contents of every table, large objects, sequences, schema with owners and
    grants, extensions, the database's own settings, and the inside of B-tree indexes where the image has C(amcheck).
  - What came of it is written beside the manifest, as C(proof.json), with how long it took. A backup that does not come back is marked, is never
    meant by V(latest) again, and the module fails once it has tried all that were chosen.
  - The contents of the live database are neither read nor changed, and no other operation has to wait for this one.
extends_documentation_fragment:
  - dbops.postgres.target
  - dbops.postgres.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: partial
    details: With O(select=unverified), what was verified before is not verified again.
options:
  select:
    description:
      - Which backups of the database are verified. V(newest), V(unverified) (all of which nothing is known), V(all), V(random) (one of them), or an id.
    type: str
    default: newest
  jobs:
    description: How many tables are restored, and compared, at the same time.
    type: int
    default: 2
  queries:
    description:
      - What has to be true of every restored copy, besides that it is what was backed up. Where it is not, the run fails, but the backup is not marked.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What it is about, for messages. Not given, the query.
        type: str
      query:
        description: A statement that gives one value. It runs in a read-only transaction, with the search path of the database, for at most ten minutes.
        type: str
        required: true
      expected:
        description: That value, as text. V(true) and V(false) for truth values, an empty text for NULL.
        type: raw
        required: true
  place:
    description:
      - Where the restored copy lies. V(memory) of the host, V(disk) of the engine, or V(auto), which is memory where a quarter of what is available suffices.
    type: str
    choices: [auto, memory, disk]
    default: auto
  memory:
    description: How much memory the throwaway server may use, such as V(8g). Not given, 2 GB, and what the copy takes where it lies in memory.
    type: str
  cpus:
    description: How many processors the throwaway server may use. V(0) is without limit.
    type: float
    default: 0.0
"""

EXAMPLES = r"""
- name: Prove the newest backup
  dbops.postgres.backup_verify:
    container: chat-postgres-prod
    database: chat
    backup_dir: /opt/backups/chat-production

- name: Prove what nobody has looked at yet, and that somebody can log in with what is in it
  dbops.postgres.backup_verify:
    container: chat-postgres-prod
    database: chat
    backup_dir: /opt/backups/chat-production
    select: unverified
    cpus: 1
    queries:
      - name: there are administrators
        query: SELECT count(*) > 0 FROM users WHERE is_admin
        expected: true
"""

RETURN = r"""
verified:
  description: What is known now of each backup that could be tried.
  returned: success, or a backup did not come back
  type: list
  elements: dict
  sample:
    - backup: chat_20261123_030000
      state: proved
      at: "2026-11-23T04:00:12Z"
      image: postgres:17
      image_id: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
      server_version: "17.5"
      compared: [the checksum of 14 files, 4200000 rows in 12 tables, what every table holds]
      not_compared: []
      failures: []
      unmet: []
      seconds: {checksums: 0.4, server: 0.9, restore: 8.1, compare: 2.2}
failed_backups:
  description: The ids of the backups that did not come back as they were made.
  returned: success, or a backup did not come back
  type: list
  elements: str
  sample: []
unmet:
  description: By id, which of O(queries) do not hold of the restored copy. That fails the run, and says nothing about the backup.
  returned: success, or a backup did not come back
  type: dict
  sample: {}
not_tried:
  description: By id, why a backup could not be tried, which says nothing about it.
  returned: success, or a backup did not come back
  type: dict
  sample: {}
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
    operation: verify_backups
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
from ansible_collections.dbops.postgres.plugins.module_utils.operations._proof_options import proof_options
from ansible_collections.dbops.postgres.plugins.module_utils.operations._verification import verify_backups


def verify(operation: Operation, params: dict[str, t.Any]) -> Result:
    return verify_backups(operation, params["select"], proof_options(params))


def main() -> None:
    query = {"name": {"type": "str"}, "query": {"type": "str", "required": True}, "expected": {"type": "raw", "required": True}}
    module = DbopsModule(
        operation="verify_backups",
        risk=Risk.ASIDE,
        argument_spec={
            "select": {"type": "str", "default": "newest"},
            "jobs": {"type": "int", "default": 2},
            "queries": {"type": "list", "elements": "dict", "default": [], "options": query},
            "place": {"type": "str", "choices": ["auto", "memory", "disk"], "default": "auto"},
            "memory": {"type": "str"},
            "cpus": {"type": "float", "default": 0.0},
        },
    )
    module.run(verify)


if __name__ == "__main__":
    main()
