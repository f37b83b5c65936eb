#!/usr/bin/python
# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: database_status
short_description: Take one look at a database and say how it is
version_added: 0.1.0
description:
  - Reads everything that tells how a database is, and gives each thing that is the matter a traffic light, a sentence and the command to type.
  - A database that cannot be reached is an answer too, a red one with the reason, not a failure of the task.
  - Reads only, in sessions that cannot write. What a pending migration would do is tried in a sandbox which cannot reach the database.
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
  runner:
    description: The command that migrates, as O(dbops.postgres.migration#module:runner) has it, to see whether a migration is pending.
    type: list
    elements: str
    default: [ent]
  state_tables:
    description: Further tables in which the runner keeps which migrations it ran, as O(dbops.postgres.migration#module:state_tables) has it.
    type: list
    elements: str
    default: []
  plan:
    description:
      - How to see whether a migration is pending.
      - V(auto) asks the journal whether the newest migration was this image's and left the schema that is there now, and only otherwise the sandbox.
      - V(always) runs the runner in the sandbox, which takes a few seconds. V(never) leaves it open.
    type: str
    choices: [auto, always, never]
    default: auto
  plan_timeout:
    description: Seconds that the migration may take in the sandbox. One that has not ended by then is killed, and told of.
    type: int
    default: 45
  backup_hours:
    description: Hours after which the next backup is due. 0 where none is expected.
    type: int
    default: 24
  proof_hours:
    description: Hours that the newest backup which was proved by M(dbops.postgres.backup_verify) may be old. 0 where none is expected.
    type: int
    default: 0
  offsite_hours:
    description: Hours that the newest backup may be old of which M(dbops.postgres.backup_copy) has sent a copy elsewhere. 0 where none is expected.
    type: int
    default: 0
  transaction_seconds:
    description: Seconds for which a transaction may be open.
    type: int
    default: 300
"""

EXAMPLES = r"""
- name: Look at production
  dbops.postgres.database_status:
    container: chat-postgres-prod
    database: chat
    backup_dir: /opt/backups/chat-production
    backends: [chat-backend]
  register: production

- name: Show what is the matter
  ansible.builtin.debug:
    var: production.findings
"""

RETURN = r"""
light:
  description: The worst of the findings, V(green) where there is none, V(yellow) or V(red).
  returned: success
  type: str
  sample: red
findings:
  description: What is the matter, worst first.
  returned: success
  type: list
  elements: dict
  sample:
    - check: backups
      light: red
      sentence: There is no backup of database 'chat'.
      command: ansible-playbook backup.yml -l chat-production
      detail: ""
state:
  description:
    - Everything that was read, null where it is not known. Sizes are bytes, times RFC 3339 in UTC, durations seconds.
    - RV(ignore:unread) has what could not be read, and why.
  returned: success
  type: dict
summary:
  description: The findings, in a few lines for a person.
  returned: success
  type: list
  elements: str
operation:
  description: Facts of this run; where it may change something, they are also in the journal.
  returned: always
  type: dict
  sample:
    run_id: 20261123T030000_3f9a2c
    operation: status
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
from ansible_collections.dbops.postgres.plugins.module_utils.looks._observed import Limits
from ansible_collections.dbops.postgres.plugins.module_utils.looks._status import StatusOptions, look
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Result
from ansible_collections.dbops.postgres.plugins.module_utils.operation._request import Inquiry
from ansible_collections.dbops.postgres.plugins.module_utils.operations._retention_options import RETENTION


def status(inquiry: Inquiry, params: dict[str, t.Any]) -> Result:
    limits = Limits(params["backup_hours"], params["transaction_seconds"], params["proof_hours"], params["offsite_hours"])
    runner, state_tables = tuple(params["runner"]), tuple(params["state_tables"])
    return look(inquiry, StatusOptions(runner, state_tables, params["plan"], limits, params["plan_timeout"], params["retention"]))


ARGUMENT_SPEC: dict[str, t.Any] = {
    "runner": {"type": "list", "elements": "str", "default": ["ent"]},
    "state_tables": {"type": "list", "elements": "str", "default": []},
    "plan": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
    "plan_timeout": {"type": "int", "default": 45},
    "backup_hours": {"type": "int", "default": 24},
    "proof_hours": {"type": "int", "default": 0},
    "offsite_hours": {"type": "int", "default": 0},
    "transaction_seconds": {"type": "int", "default": 300},
    "retention": RETENTION,
}


def main() -> None:
    module = DbopsModule(operation="status", risk=Risk.READ, argument_spec=ARGUMENT_SPEC)
    module.examine(status)


if __name__ == "__main__":
    main()
