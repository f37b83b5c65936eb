#!/usr/bin/python
# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: schedule
short_description: Let the target back up, prove, send and remove backups by itself
version_added: 0.1.0
description:
  - Sets up timers of systemd (of the SSH user's own manager, so no root is needed) or, on a host without systemd, lines of its crontab. What they run is
    this collection, as it is on the controller, with an Ansible of its own in a virtual environment on the target, against the target itself. So nothing
    else has to be awake at night.
  - Without a job, all of that is removed.
  - An action plugin of the same name takes the collection along.
extends_documentation_fragment:
  - dbops.postgres.target
  - dbops.postgres.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Of the inventory on the target only the names of the variables are shown.
  idempotent:
    support: full
options:
  timers:
    description:
      - By name, what runs when. Each has C(at) (such as V(03:00), or V(*:15) for every hour, by the host's clock), C(run) (a list of V(backup),
        V(verify_backups), V(copy_backups), V(prune_backups), in this order; where one fails, the following ones do not run), C(days) (a list of V(mon) to
        V(sun), all by default) and C(variables) (of these runs).
      - None removes all that was set up for this host.
    type: dict
    default: {}
  kind:
    description: What runs them. V(auto) is systemd where the host has it, else cron.
    type: str
    choices: [auto, systemd, cron]
    default: auto
  delay:
    description: Seconds by which a timer of systemd may run later, at random, so that not every host begins at the same second.
    type: int
    default: 600
  on_failure:
    description: A unit that systemd starts where a job fails.
    type: str
  folder:
    description: Where the versions of the collection, and for each host of the inventory its jobs, are kept on the target.
    type: path
    default: ~/.local/share/dbops.postgres
  python:
    description: A Python on the target from which the virtual environment is made, 3.11 or newer.
    type: str
    default: python3
  core:
    description: What pip installs there. The action plugin gives the controller's own version of ansible-core.
    type: str
  pip:
    description: Further arguments of pip, such as V(--no-index) and V(--find-links) where the target reaches no package index.
    type: list
    elements: str
    default: []
  variables:
    description: The host's variables, for the inventory on the target. The role of this collection fills them in.
    type: dict
    default: {}
  secrets:
    description: Those of them that nobody may read in an output.
    type: dict
    default: {}
  collection:
    description: The collection as a file on the target. The action plugin gives it.
    type: path
"""

EXAMPLES = r"""
- name: Every night at three
  dbops.postgres.schedule:
    container: chat-postgres-prod
    database: chat
    backup_dir: /opt/backups/chat-production
    timers:
      nightly:
        at: "03:00"
        run: [backup, verify_backups, prune_backups]
    variables:
      dbops_container: chat-postgres-prod
      dbops_database: chat
      dbops_backup_dir: /opt/backups/chat-production

- name: Nothing any more
  dbops.postgres.schedule:
    container: chat-postgres-prod
    database: chat
    backup_dir: /opt/backups/chat-production
    timers: {}
"""

RETURN = r"""
timers:
  description: The names of the jobs that run now, or would.
  returned: success
  type: list
  elements: str
  sample: [nightly]
kind:
  description: What runs them, V(systemd) or V(cron).
  returned: success
  type: str
  sample: systemd
folder:
  description: The folder of this version on the target. Empty where there is no job.
  returned: success
  type: str
  sample: /home/deploy/.local/share/dbops.postgres/versions/0f3a9c1b2d4e5f60
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
    operation: schedule
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
from ansible_collections.dbops.postgres.plugins.module_utils.operations._schedule import ScheduleOptions, schedule
from ansible_collections.dbops.postgres.plugins.module_utils.schedule._installation import Installation

ARGUMENT_SPEC = {
    "timers": {"type": "dict", "default": {}},
    "kind": {"type": "str", "choices": ["auto", "systemd", "cron"], "default": "auto"},
    "delay": {"type": "int", "default": 600},
    "on_failure": {"type": "str"},
    "folder": {"type": "path", "default": "~/.local/share/dbops.postgres"},
    "python": {"type": "str", "default": "python3"},
    "core": {"type": "str"},
    "pip": {"type": "list", "elements": "str", "default": []},
    "variables": {"type": "dict", "default": {}},
    "secrets": {"type": "dict", "no_log": True, "default": {}},
    "collection": {"type": "path"},
}


def set_up(operation: Operation, params: dict[str, t.Any]) -> Result:
    installation = Installation(
        params["folder"], params["collection"] or "", params["core"] or "ansible-core", tuple(params["pip"]), params["python"]
    )
    options = ScheduleOptions(
        params["timers"], installation, params["variables"], params["secrets"], params["kind"], params["delay"], params["on_failure"] or ""
    )
    return schedule(operation, options)


def main() -> None:
    module = DbopsModule(operation="schedule", risk=Risk.ASIDE, argument_spec=ARGUMENT_SPEC)
    module.run(set_up)


if __name__ == "__main__":
    main()
