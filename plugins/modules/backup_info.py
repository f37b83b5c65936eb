#!/usr/bin/python
# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_info
short_description: List the backups of a database, and check them
version_added: 0.1.0
description:
  - Reads the catalogue of backups, with what is known from restoring them, and why each is kept.
  - With O(verify), reads every file of every backup in full and compares it with the manifest.
extends_documentation_fragment:
  - dbops.postgres.retention
  - dbops.postgres.target
  - dbops.postgres.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  verify:
    description: Whether to read every file and compare it with the manifest.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: List the backups
  dbops.postgres.backup_info:
    container: chat-postgres-prod
    database: chat
    backup_dir: /opt/backups/chat-production
  register: catalogue

- name: Check every backup
  dbops.postgres.backup_info:
    container: chat-postgres-prod
    database: chat
    backup_dir: /opt/backups/chat-production
    verify: true
  register: catalogue
  failed_when: catalogue is failed or catalogue.damaged | length > 0
"""

RETURN = r"""
backups:
  description: The backups, newest first, each as RV(dbops.postgres.backup#module:backup) describes it.
  returned: success
  type: list
  elements: dict
  sample: []
proofs:
  description: By id, what is known from restoring it. RV(ignore:state) is V(proved), V(failed), V(none), or V(invalid) where the proof was changed.
  returned: success
  type: dict
  sample:
    chat_20261123_030000:
      state: proved
      at: "2026-11-23T04:00:12Z"
      failures: []
offsite:
  description: By id, where a copy of it is, as far as this host knows. The repository is not asked.
  returned: success
  type: dict
  sample:
    chat_20261123_030000:
      repository: s3:https://s3.example.com/bucket/backups
      snapshot: 54c914071ab8ce93444c2f2ec07ed2c5de997500b8e74d4072b2901c55e87c33
      at: "2026-11-23T03:02:00Z"
kept_because:
  description: With O(retention), by id, why it is kept. One without a reason is removed by M(dbops.postgres.backup_prune).
  returned: success
  type: dict
  sample:
    chat_20261123_030000: [the newest, daily 2026-11-23]
unreadable:
  description: Folders that look like backups but have no readable manifest.
  returned: success
  type: list
  elements: str
  sample: []
damaged:
  description: With O(verify), what is wrong with which backup.
  returned: success
  type: dict
  sample: {}
foreign:
  description: With O(verify), by backup, the files in its folder that are none of its own. Nothing is restored from them.
  returned: success
  type: dict
  sample:
    chat_20261123_030000:
      - dump/toc.dat.bak
verified:
  description: Whether the files were read.
  returned: success
  type: bool
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
    operation: backup_info
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
from ansible_collections.dbops.postgres.plugins.module_utils.looks._backups import list_backups
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations._retention_options import RETENTION


def backups(operation: Operation, params: dict[str, t.Any]) -> Result:
    return list_backups(operation, params["verify"], params["retention"])


def main() -> None:
    module = DbopsModule(
        operation="backup_info",
        risk=Risk.READ,
        argument_spec={"verify": {"type": "bool", "default": False}, "retention": RETENTION},
    )
    module.run(backups)


if __name__ == "__main__":
    main()
