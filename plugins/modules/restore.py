#!/usr/bin/python
# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: restore
short_description: Put a backup in the place of a database
version_added: 0.1.0
description:
  - Restores into a new database beside the live one, compares it with the manifest, then swaps the two by rename. The live
    database is not touched before that, and is kept.
  - The backend is seen healthy afterwards, restarted where that is needed, and the swap is taken back where it does not get healthy.
  - What belongs to the database itself, such as grants, settings, owner and connection limit, is carried over from the live one.
extends_documentation_fragment:
  - dbops.postgres.offsite
  - dbops.postgres.target
  - dbops.postgres.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: none
    details: Every run restores anew.
options:
  backup:
    description:
      - What to restore.
      - V(latest), the newest backup of this very server.
      - The id of a backup in O(backup_dir), or the absolute path of a backup's folder.
      - A UTC time such as V(2026-11-20T03:00), the newest backup made until then.
      - The absolute path of a file made by hand with C(pg_dump), plain (C(.sql)), compressed (C(.sql.gz)) or in custom format.
      - V(undo) puts the database back that the last restore or reset replaced.
    type: str
    required: true
  backup_first:
    description:
      - Whether to make a backup of the replaced state.
      - It is made after the swap, from the replaced database that is kept, so that nobody waits for it.
    type: bool
    default: true
  jobs:
    description: How many tables are restored, or backed up, at the same time.
    type: int
    default: 2
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
    default: -1
  from_other_environment:
    description:
      - Whether a backup of another environment, such as a preview's, may replace a production database.
      - Without it that is refused, since the wrong folder is easily pasted.
    type: bool
    default: false
  accept_differences:
    description:
      - Consent to a restored copy that is not what was backed up. A restore that finds differences lists them and shows the value to give here.
      - It stands for exactly those differences, and is written to the journal.
    type: str
    default: ""
  missing_roles:
    description:
      - What is done about roles that own something in what is restored, or are granted something, and are not on this server.
      - V(refuse) names all of them before anything is begun.
      - V(create) makes them as the backup knows them, with attributes, memberships and settings, but without passwords. One of which only the
        name is known cannot log in.
      - V(skip) leaves out what they own, what they are granted and what is for them alone, and says what that was.
    type: str
    choices: [refuse, create, skip]
    default: refuse
  tools_image:
    description:
      - An image on the target host whose C(pg_restore) reads the backup or the file in custom format, where that of the database's own image
        is too old for it, such as C(postgres:18).
      - It makes SQL of it, which the database's own C(psql) runs, so what the server does not know makes the restore fail.
    type: str
  from:
    description:
      - Where the backup is. V(host), in O(backup_dir), or V(offsite), in the repository that O(offsite) names. It is fetched into O(backup_dir) first.
      - With V(offsite), V(latest) and a time mean copies that this server made. Where there is none, as on a server that was set up anew, they mean
        those of the server that made the newest one.
    type: str
    choices: [host, offsite]
    default: host
"""

EXAMPLES = r"""
- name: Show which backup would be restored and what would be lost
  dbops.postgres.restore:
    container: chat-postgres-prod
    database: chat
    backup_dir: /opt/backups/chat-production
    backup: latest
  check_mode: true

- name: Restore it
  dbops.postgres.restore:
    container: chat-postgres-prod
    database: chat
    backup_dir: /opt/backups/chat-production
    backends: [chat-backend]
    backup: latest
    confirm: restore:chat
"""

RETURN = r"""
source:
  description: What was restored. C(age_seconds) is its age at the start, C(needed) the bytes that it may take.
  returned: success
  type: dict
  sample:
    name: chat_20261123_030000
    kind: backup
    made: "2026-11-23T03:00:00Z"
    age_seconds: 3600
    server_major: 17
    needed: 1300000000
rows_lost:
  description: Rows by table that were newer than the backup.
  returned: success
  type: dict
  sample:
    public.messages: 12
replaced:
  description: Name under which the replaced database is kept.
  returned: success
  type: str
  sample: chat_before_restore_20261123T040000
backup_before:
  description: The backup of the present state, as RV(dbops.postgres.backup#module:backup) describes it.
  returned: success
  type: dict
accepted_differences:
  description: In what the restored database differs from the backup, as it was consented to.
  returned: when a backup was restored
  type: list
  elements: str
tables:
  description: Rows by table in the restored database.
  returned: when a backup was restored
  type: list
  elements: dict
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
    operation: restore
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
from ansible_collections.dbops.postgres.plugins.module_utils.operations._offsite_options import OFFSITE, restic_of
from ansible_collections.dbops.postgres.plugins.module_utils.operations._restore import restore
from ansible_collections.dbops.postgres.plugins.module_utils.operations._restore_options import RestoreOptions
from ansible_collections.dbops.postgres.plugins.module_utils.operations._undo import UNDO

ARGUMENT_SPEC = {
    "backup": {"type": "str", "required": True},
    "backup_first": {"type": "bool", "default": True},
    "jobs": {"type": "int", "default": 2},
    "backend_restart": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
    "health_timeout": {"type": "int", "default": 60},
    "session_timeout": {"type": "int", "default": 10},
    "keep": {"type": "int", "default": -1},
    "from_other_environment": {"type": "bool", "default": False},
    "accept_differences": {"type": "str", "default": ""},
    "missing_roles": {"type": "str", "choices": ["refuse", "create", "skip"], "default": "refuse"},
    "tools_image": {"type": "str"},
    "from": {"type": "str", "choices": ["host", "offsite"], "default": "host"},
    "offsite": OFFSITE,
}


def put_back(operation: Operation, params: dict[str, t.Any]) -> Result:
    given = {name: params[name] for name in ARGUMENT_SPEC if name not in ("from", "offsite")}
    restic = restic_of(operation, params["offsite"]) if params["from"] == "offsite" and params["backup"] != UNDO else None
    given["restart"] = given.pop("backend_restart")
    given["tools_image"] = given["tools_image"] or ""
    return restore(operation, RestoreOptions(**given), restic)


def main() -> None:
    module = DbopsModule(operation="restore", risk=Risk.OVERWRITE, argument_spec=ARGUMENT_SPEC)
    module.run(put_back)


if __name__ == "__main__":
    main()
