#!/usr/bin/python
# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: seed
short_description: Run the backend's seed once
version_added: 0.1.0
description:
  - Runs the seed command of the backend in a one-shot container of its image, with its environment and networks.
  - The same seed, which is the same command in the same image, runs once on a database. What ran is kept inside the database and
    travels with restores and resets.
  - Where the database counts as production, consent is needed (O(confirm=seed:<database>)) and a backup is made first.
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
  command:
    description:
      - The command that seeds, as a list of words, or the name of a preset.
      - The preset V(ent) is C(/app/backend seed).
    type: list
    elements: str
    default: [ent]
  image:
    description: Image to use. The image of the running backend by default.
    type: str
  again:
    description: Whether to run a seed that ran before, after a backup.
    type: bool
    default: false
  jobs:
    description: How many tables the backup dumps at the same time.
    type: int
    default: 2
  timeout:
    description: Seconds after which the seed is stopped.
    type: int
    default: 600
"""

EXAMPLES = r"""
- name: Seed the preview database
  dbops.postgres.seed:
    container: chat-postgres-preview
    database: chat_preview
    environment: preview
    server_id: "7300000000000000001"
    backup_dir: /opt/backups/chat-preview
    backends: [chat-backend-preview-*]
"""

RETURN = r"""
seed:
  description: Fingerprint of the image and the command.
  returned: success
  type: str
  sample: 0a1b2c3d4e5f6071
ran_before:
  description: Whether this very seed ran on this database before.
  returned: success
  type: bool
rows_added:
  description: Rows gained by table. Negative where rows went away.
  returned: success
  type: dict
  sample:
    public.users: 5
backup:
  description: The backup that was made before, as RV(dbops.postgres.backup#module:backup) describes it.
  returned: when one was made
  type: dict
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
    operation: seed
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
from ansible_collections.dbops.postgres.plugins.module_utils.operations._seed import SeedOptions, seed

ARGUMENT_SPEC = {
    "command": {"type": "list", "elements": "str", "default": ["ent"]},
    "image": {"type": "str"},
    "again": {"type": "bool", "default": False},
    "jobs": {"type": "int", "default": 2},
    "timeout": {"type": "int", "default": 600},
}


def sow(operation: Operation, params: dict[str, t.Any]) -> Result:
    given = {name: params[name] for name in ARGUMENT_SPEC}
    given.update(command=tuple(params["command"]), image=params["image"] or "")
    return seed(operation, SeedOptions(**given))


def main() -> None:
    module = DbopsModule(operation="seed", risk=Risk.OVERWRITE, argument_spec=ARGUMENT_SPEC)
    module.run(sow)


if __name__ == "__main__":
    main()
