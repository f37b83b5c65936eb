#!/usr/bin/python
# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: database_diagnosis
short_description: Find out what is broken, and what to do
version_added: 0.1.0
description:
  - Looks at the engine, the containers, the disks, the server, the database, and at the address that every backend has and every environment file says.
  - Gives what it found in the order in which it is likely to be the cause, each with the line to type.
  - Answers as well where the engine, the container or the server cannot be reached, since that is a finding.
  - Changes nothing. Sessions cannot write, containers are only inspected, and a pending migration is planned in a sandbox.
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
  since:
    description: How far back logs count, as an age (V(30m), V(2h), V(3d)) or a time (V(2026-11-24T03:00:00Z)).
    type: str
    default: 1h
  env_files:
    description: Files with environment variables, or patterns of them, that hold the addresses of the backends.
    type: list
    elements: str
    default: []
  variables:
    description: The variables that hold the database's address, the first one that is there counts.
    type: list
    elements: str
    default: [PREVIEW_DATABASE_URL, DATABASE_URL]
  plan:
    description: The command that migrates, as O(dbops.postgres.migration#module:runner) has it, to plan what is pending. An empty list plans nothing.
    type: list
    elements: str
    default: []
  plan_timeout:
    description: Seconds that the migration may take in the sandbox. One that has not ended by then is killed, and told of.
    type: int
    default: 45
  patience:
    description: Seconds from which a wait for a lock or an idle transaction counts as long.
    type: float
    default: 30.0
  bundle:
    description: Path on the target host of a tar file to attach to a ticket, without secrets. Its folder has to exist. A file of that name is replaced.
    type: path
  productions:
    description: The production databases of the inventory, at which nothing else may point.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: Its name in the inventory.
        type: str
        required: true
      container:
        description: The container in which it runs.
        type: str
        required: true
      database:
        description: Its name on its server.
        type: str
        required: true
  controller_time:
    description: The controller's clock, RFC 3339, to compare it with the host's.
    type: str
"""

EXAMPLES = r"""
- name: Find out what is wrong with the preview
  dbops.postgres.database_diagnosis:
    container: chat-postgres-preview
    database: chat_preview
    environment: preview
    backup_dir: /opt/backups/chat-preview
    backends: [chat-backend-preview-*]
    env_files: [/opt/chat-preview/*/.env.preview]
    productions:
      - host: chat-production
        container: chat-postgres-prod
        database: chat
  register: diagnosis

- name: Show the likeliest cause
  ansible.builtin.debug:
    var: diagnosis.findings[0]
"""

RETURN = r"""
verdict:
  description: V(green) where nothing was found, V(yellow) where nothing is broken and something wants a look, V(red) where something is broken.
  returned: success
  type: str
findings:
  description: What was found, the likeliest cause first.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: One word for it, see docs/diagnose.md.
      type: str
    colour:
      description: V(red) or V(yellow).
      type: str
    looked_at:
      description: What was looked at.
      type: str
    found:
      description: What was found.
      type: str
    why:
      description: Why it matters.
      type: str
    do:
      description: The lines to type, in order. One that begins with a hash sign is said, not typed.
      type: list
      elements: str
    evidence:
      description: Lines that show it, of a log for example.
      type: list
      elements: str
looked_at:
  description: What was looked at.
  returned: success
  type: list
  elements: str
not_looked_at:
  description: What could not be looked at, and why.
  returned: success
  type: list
  elements: str
logs:
  description: For each container, how many lines and error lines its log has, and the error lines in groups.
  returned: success
  type: dict
bundle:
  description: The tar file. Empty where none was asked for.
  returned: success
  type: str
summary:
  description: The whole report, for a person. Its beginning is the verdict and the likeliest cause.
  returned: success
  type: list
  elements: str
operation:
  description: Facts of this run; where it may change something, they are also in the journal.
  returned: always
  type: dict
  sample:
    run_id: 20261123T030000_3f9a2c
    operation: diagnose
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
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._diagnosis import diagnose
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._facts import Production
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._gather import DiagnosisOptions
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Result
from ansible_collections.dbops.postgres.plugins.module_utils.operation._request import Inquiry

_PRODUCTION = {name: {"type": "str", "required": True} for name in ("host", "container", "database")}

ARGUMENTS: dict[str, t.Any] = {
    "since": {"type": "str", "default": "1h"},
    "env_files": {"type": "list", "elements": "str", "default": []},
    "variables": {"type": "list", "elements": "str", "default": ["PREVIEW_DATABASE_URL", "DATABASE_URL"]},
    "plan": {"type": "list", "elements": "str", "default": []},
    "plan_timeout": {"type": "int", "default": 45},
    "patience": {"type": "float", "default": 30.0},
    "bundle": {"type": "path"},
    "productions": {"type": "list", "elements": "dict", "default": [], "options": _PRODUCTION},
    "controller_time": {"type": "str"},
}


def work(inquiry: Inquiry, params: dict[str, t.Any]) -> Result:
    options = DiagnosisOptions(
        since=params["since"],
        env_files=tuple(params["env_files"]),
        variables=tuple(params["variables"]),
        plan_with=tuple(params["plan"]),
        bundle=params["bundle"] or "",
        plan_timeout=params["plan_timeout"],
        patience=params["patience"],
        productions=tuple(Production(**item) for item in params["productions"]),
        controller_time=params["controller_time"] or "",
    )
    return diagnose(inquiry, options)


def main() -> None:
    module = DbopsModule(operation="diagnose", risk=Risk.READ, argument_spec=ARGUMENTS)
    module.examine(work)


if __name__ == "__main__":
    main()
