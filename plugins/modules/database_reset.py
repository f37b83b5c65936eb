#!/usr/bin/python
# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: database_reset
short_description: Replace a disposable database by a fresh one
version_added: 0.1.0
description:
  - Builds a fresh database, empty, then migrated and seeded by the backend's own runner, and swaps it in by rename. The replaced
    database is kept.
  - The runner works in a sandbox, a throwaway server without a route to the real one, so it cannot touch the live database. What
    it built is kept as the template database C(<database>_baseline), closed to connections. The fresh database is a copy of it.
  - As long as image, commands, encoding and locale are those that made the baseline, a reset is nothing but that copy and the swap.
  - Backends may stay connected until the swap. They reconnect by themselves, or are restarted.
  - Never runs on production. The inventory, the database's own marker and the pinned identity of its server all have to say that
    the database is something else, and no other database on the server may be production.
extends_documentation_fragment:
  - dbops.postgres.target
  - dbops.postgres.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: none
    details: Every run swaps in a fresh database.
options:
  runner:
    description: The command that migrates, as O(dbops.postgres.migration#module:runner) has it.
    type: list
    elements: str
    default: [ent]
  seed:
    description: The command that seeds, as O(dbops.postgres.seed#module:command) has it. An empty list seeds nothing.
    type: list
    elements: str
    default: [ent]
  image:
    description: Image to build with. The image of the newest backend by default.
    type: str
  jobs:
    description: How many tables are copied at the same time.
    type: int
    default: 2
  timeout:
    description: Seconds after which the runner is stopped.
    type: int
    default: 600
  backend_restart:
    description:
      - V(auto) restarts a backend only where it does not get healthy by itself within ten seconds.
      - V(always) restarts every running backend, V(never) none.
    type: str
    choices: [auto, always, never]
    default: auto
  health_timeout:
    description: Seconds within which every running backend has to pass its own health check.
    type: int
    default: 60
  session_timeout:
    description: Seconds within which the sessions in the live database have to end when the swap begins.
    type: int
    default: 10
  keep:
    description: How many replaced databases are kept, the newest ones. V(-1) keeps all.
    type: int
    default: 1
  rebuild:
    description:
      - Make the baseline anew although image, commands, encoding and locale are those that made it.
      - For what they do not show, such as a seed that reads a mounted file.
    type: bool
    default: false
  keep_tables:
    description:
      - Tables whose rows are carried over from the replaced database, with or without their schema, such as V(users) or V(chat.users).
      - The rows that the fresh database has in them give way. Foreign keys from and to these tables have to hold, else the reset is refused.
    type: list
    elements: str
    default: []
  idle:
    description:
      - Reset only where nobody used the database for so many minutes, and skip it with the reason otherwise. V(0) resets at any time.
      - Sessions count, except those that only check their connection, and from PostgreSQL 16 on when a table was last read.
    type: float
    default: 0.0
"""

EXAMPLES = r"""
- name: Reset the preview database
  dbops.postgres.database_reset:
    container: chat-postgres-preview
    database: chat_preview
    environment: preview
    server_id: "7300000000000000001"
    backup_dir: /opt/backups/chat-preview
    backends: [chat-backend-preview-*]
"""

RETURN = r"""
in_use:
  description: How somebody used the database lately, where the reset was skipped for that (O(idle)); else empty.
  returned: success
  type: str
kept_tables:
  description: Tables whose rows were carried over.
  returned: when not skipped
  type: list
  elements: str
rows_before:
  description: Rows by table in the replaced database.
  returned: when not skipped
  type: dict
rows_after:
  description: Rows by table in the fresh database.
  returned: when not skipped
  type: dict
schema_after:
  description: Fingerprint of the fresh database's schema.
  returned: when not skipped
  type: str
image:
  description: The image that built it.
  returned: when not skipped
  type: str
baseline_rebuilt:
  description: Whether the baseline was missing or outdated, and was built anew (in check mode, would be).
  returned: when not skipped
  type: bool
replaced:
  description: Name under which the replaced database is kept.
  returned: success
  type: str
  sample: chat_preview_before_reset_20261123T040000
dropped:
  description: Older replaced databases that were dropped.
  returned: success
  type: list
  elements: str
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
    operation: reset
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
from ansible_collections.dbops.postgres.plugins.module_utils.operations._reset import ResetOptions, reset

ARGUMENT_SPEC = {
    "runner": {"type": "list", "elements": "str", "default": ["ent"]},
    "seed": {"type": "list", "elements": "str", "default": ["ent"]},
    "image": {"type": "str"},
    "jobs": {"type": "int", "default": 2},
    "timeout": {"type": "int", "default": 600},
    "backend_restart": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
    "health_timeout": {"type": "int", "default": 60},
    "session_timeout": {"type": "int", "default": 10},
    "keep": {"type": "int", "default": 1},
    "rebuild": {"type": "bool", "default": False},
    "keep_tables": {"type": "list", "elements": "str", "default": []},
    "idle": {"type": "float", "default": 0.0},
}


def replace_database(operation: Operation, params: dict[str, t.Any]) -> Result:
    given = {name: params[name] for name in ARGUMENT_SPEC}
    given["restart"] = given.pop("backend_restart")
    given.update({name: tuple(params[name]) for name in ("runner", "seed", "keep_tables")}, image=params["image"] or "")
    return reset(operation, ResetOptions(**given))


def main() -> None:
    module = DbopsModule(operation="reset", risk=Risk.DISPOSABLE, argument_spec=ARGUMENT_SPEC)
    module.run(replace_database)


if __name__ == "__main__":
    main()
