#!/usr/bin/python
# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: database_info
short_description: Read what state a database is in
version_added: 0.1.0
description:
  - Reads identity, marker, version, size, sessions, schema fingerprint, backups, and who runs an operation on the database now.
  - With O(plan), also plans the pending migration in a sandbox.
  - Reads only, in sessions that cannot write.
extends_documentation_fragment:
  - dbops.postgres.target
  - dbops.postgres.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  plan:
    description: The command that migrates, as O(dbops.postgres.migration#module:runner) has it, to plan what is pending. An empty list plans nothing.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Look at production
  dbops.postgres.database_info:
    container: chat-postgres-prod
    database: chat
    backup_dir: /opt/backups/chat-production
  register: production

- name: Show who works on it now
  ansible.builtin.debug:
    var: production.running_operation
"""

RETURN = r"""
server:
  description: What the server is.
  returned: success
  type: dict
  sample:
    identifier: "7300000000000000001"
    version: "17.5"
    version_number: 170005
    in_recovery: false
    superuser: true
marker:
  description: The environment marker, empty where there is none.
  returned: success
  type: str
doubts:
  description: Why the database counts as production. Empty where all witnesses agree that it does not.
  returned: success
  type: list
  elements: str
pinned:
  description: Whether the inventory pins this very server.
  returned: success
  type: bool
size:
  description: Bytes on disk.
  returned: success
  type: int
sessions:
  description: The sessions in the database, oldest transaction first.
  returned: success
  type: list
  elements: dict
schema_fingerprint:
  description: SHA-256 of the schema.
  returned: success
  type: str
tables:
  description: Names of the tables.
  returned: success
  type: list
  elements: str
seeds:
  description: Fingerprints of the seeds that ran.
  returned: success
  type: list
  elements: str
backups:
  description: The backups, newest first, each as RV(dbops.postgres.backup#module:backup) describes it.
  returned: success
  type: list
  elements: dict
unreadable_backups:
  description: Folders that look like backups but have no readable manifest.
  returned: success
  type: list
  elements: str
replaced_databases:
  description: Databases that restores and resets replaced and that are kept.
  returned: success
  type: list
  elements: dict
running_operation:
  description: Who holds the operation lock, since when, and in which phase. Empty where nobody does.
  returned: success
  type: dict
last_operation:
  description: The newest line of the journal.
  returned: success
  type: dict
backends:
  description: The backend's containers.
  returned: success
  type: list
  elements: dict
plan:
  description: The pending migration, as RV(dbops.postgres.migration#module:plan) describes it.
  returned: success
  type: dict
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
    operation: info
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
from ansible_collections.dbops.postgres.plugins.module_utils.looks._info import inform
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result


def look(operation: Operation, params: dict[str, t.Any]) -> Result:
    return inform(operation, tuple(params["plan"]))


def main() -> None:
    module = DbopsModule(
        operation="info",
        risk=Risk.READ,
        argument_spec={"plan": {"type": "list", "elements": "str", "default": []}},
    )
    module.run(look)


if __name__ == "__main__":
    main()
