#!/usr/bin/python
# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: operation_progress
short_description: Tell how far the operation is that works on a database now
version_added: 0.2.0
description:
  - A backup, restore, proof, copy, migration, seed or reset works on the target in a process of its own, which tells how far it is. This looks at what
    it tells, without the container engine or the server.
  - Only operations are seen that the same user of the target has begun. Whoever else holds the lock, M(dbops.postgres.database_status) tells.
extends_documentation_fragment:
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
  follow:
    description: Whether to tell it again and again until the operation has ended, which Ctrl-C here does not end.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: See how far it is
  dbops.postgres.operation_progress:
    container: chat-postgres-prod
    database: chat
    backup_dir: /opt/backups/chat-production
    follow: false
  register: looked
"""

RETURN = r"""
runs:
  description: The operations that work now, newest first, and those that have ended and whose result nobody has had. Sizes in bytes, times in seconds.
  returned: success
  type: list
  elements: dict
  sample:
    - operation: restore
      alive: true
      started: "2026-11-23T03:00:00Z"
      operator: alice
      pid: 4711
      ticks: 918273
      token: 5f0c7a52b1c44c0aa4ad9c8f6b5f8e11
      folder: /home/deploy/.local/state/dbops.postgres/5f0c7a52b1c44c0aa4ad9c8f6b5f8e11
      standing:
        phase: "restore: load"
        seconds: 44.1
        phase_seconds: 42.0
        tables_done: 3
        tables: 12
        bytes_done: 524288000
        bytes_total: 1073741824
        rate: 12582912.0
        left: 43.7
        item: table public.messages
        line: "restore: load, 42 s: 3 of 12 tables, 500.0 MB of about 1.0 GB, 12.0 MB/s, about 44 s left, table public.messages"
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
    operation: progress
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

from ansible_collections.dbops.postgres.plugins.module_utils._module import DbopsModule, target_of
from ansible_collections.dbops.postgres.plugins.module_utils.looks._running import look_at_runs
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Result
from ansible_collections.dbops.postgres.plugins.module_utils.operation._request import Inquiry


def work(inquiry: Inquiry, params: dict[str, t.Any]) -> Result:
    return look_at_runs(inquiry, target_of(params))


def main() -> None:
    module = DbopsModule(operation="progress", risk=Risk.READ, argument_spec={"follow": {"type": "bool", "default": True}})
    module.examine(work)


if __name__ == "__main__":
    main()
