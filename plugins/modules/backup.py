#!/usr/bin/python
# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup
short_description: Make one verified backup of a database
version_added: 0.1.0
description:
  - Dumps the whole database as one consistent snapshot, in parallel, in PostgreSQL's directory format, with the C(pg_dump) of the
    database's own image.
  - The backup gets its final name only when it was read back in full, checksummed, and is on the disk. A failed dump leaves
    nothing that looks like a backup.
  - The manifest beside the dump holds versions, the row count of each table in the same snapshot, the schema fingerprint, and a
    SHA-256 of each file.
  - Fails early when the volume has too little room.
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
    details: Every run makes a backup of its own.
options:
  reason:
    description: Why the backup is made, part of its name. Letters, digits, V(_) and V(-).
    type: str
  jobs:
    description: How many tables are dumped at the same time.
    type: int
    default: 2
  check_restorable:
    description:
      - Whether to find out, when the dump is made, if C(pg_restore) alone can restore it. Its definitions are loaded into a throwaway server, which
        takes some seconds, once for each schema and image of the database.
      - A backup that cannot be restored so is kept, and marked, with what mends it. What a function does only when it meets a row is not seen.
    type: bool
    default: true
  compression:
    description:
      - V(auto) is the best that the image's C(pg_dump) has. With V(none) the dump takes several times the room here, but a repository such as that of
        M(dbops.postgres.backup_copy), which compresses by itself, gets only what has changed since the one before.
    type: str
    choices: [auto, none]
    default: auto
  content_hash:
    description:
      - Whether what each table holds is digested in the same snapshot, so that a restore can compare more than the counts. It reads all rows once more,
        beside the dump.
      - V(auto) does it up to 10 GB of database. Backups that other operations make before their work do as V(auto) does.
    type: str
    choices: [auto, always, never]
    default: auto
  role_passwords:
    description:
      - Whether the manifest, which only the SSH user may read, also holds what checks the passwords of the roles (SCRAM verifiers, never a
        password or an MD5 hash), so that they can log in on a new server as before. It needs a superuser.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Back up production
  dbops.postgres.backup:
    container: chat-postgres-prod
    database: chat
    backup_dir: /opt/backups/chat-production
    reason: before_migration
"""

RETURN = r"""
backup:
  description: The backup. Empty in check mode.
  returned: success
  type: dict
  sample:
    id: chat_20261123_030000_before_migration
    path: /opt/backups/chat-production/chat_20261123_030000_before_migration
    created: "2026-11-23T03:00:01Z"
    reason: before_migration
    size: 193000000
    database_size: 1100000000
    tables: 12
    rows: 4200000
    server_version: "17.5"
    server_identifier: "7300000000000000001"
    schema_fingerprint: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    restorable:
      state: "yes"
      reason: ""
      failures: []
    encrypted: false
    contents_unknown: ""
estimate:
  description: Bytes that the backup may need, bytes that were free, and what the estimate stands on.
  returned: success
  type: dict
  sample:
    needed: 230000000
    free: 52000000000
    basis: from the backup 'chat_20261122_030000'
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
    operation: backup
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

import re
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils._module import DbopsModule
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations._backup import back_up
from ansible_collections.dbops.postgres.plugins.module_utils.operations._backup_options import BackupOptions
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError


def backup(operation: Operation, params: dict[str, t.Any]) -> Result:
    reason = params["reason"] or ""
    if not re.fullmatch(r"[A-Za-z0-9_-]{0,60}", reason):
        raise DbopsError(
            "The reason '%s' becomes part of a file name: use at most 60 letters, digits, '_' and '-' (dbops_backup_reason)." % reason
        )
    options = BackupOptions(
        reason, params["jobs"], params["check_restorable"], "", params["content_hash"], params["role_passwords"], params["compression"]
    )
    return back_up(operation, options)


def main() -> None:
    module = DbopsModule(
        operation="backup",
        risk=Risk.SAVE,
        argument_spec={
            "reason": {"type": "str"},
            "jobs": {"type": "int", "default": 2},
            "check_restorable": {"type": "bool", "default": True},
            "role_passwords": {"type": "bool", "default": False},
            "compression": {"type": "str", "choices": ["auto", "none"], "default": "auto"},
            "content_hash": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
        },
    )
    module.run(backup)


if __name__ == "__main__":
    main()
