#!/usr/bin/python
# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_copy
short_description: Send backups to an offsite repository
version_added: 0.1.0
description:
  - Sends the backups that are not there yet to a restic repository on other storage, one snapshot for each, newest first, after every file was compared
    with its manifest. What has become known of one since, such as its proof, is sent as well; what the repository has already is not sent twice.
  - Nothing is ever removed there. restic itself does that, with a key that this host does not need to have.
  - The contents of the live database are neither read nor changed, and no other operation has to wait for this one but what removes backups.
extends_documentation_fragment:
  - dbops.postgres.offsite
  - dbops.postgres.target
  - dbops.postgres.attributes
attributes:
  check_mode:
    support: full
    details: The repository is asked, without taking its lock.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  select:
    description:
      - Which backups of the database are sent. V(missing) (all that are not there yet), V(newest), or an id.
      - One that did not come back when it was restored to prove it is sent by its id only. Where it was sent before, its copy is marked.
    type: str
    default: missing
  check:
    description:
      - How much of the repository is read and checked afterwards, in restic's own words, such as V(5%), V(2G) or V(1/7). Not given, nothing is.
      - restic takes the repository's lock for that, so that no other host can send meanwhile.
    type: str
  init:
    description: Whether to make the repository where there is none at that address.
    type: bool
    default: false
  unlock:
    description:
      - Whether to remove first what restic takes for locks of dead runs. It cannot see the processes of other users, containers and machines, and a run that
        lives and has lost its lock may damage the repository, or be damaged, so be sure.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Send what is not there yet to S3
  dbops.postgres.backup_copy:
    container: chat-postgres-prod
    database: chat
    backup_dir: /opt/backups/chat-production
    offsite:
      repository: s3:https://s3.example.com/bucket/backups
      password_file: /etc/dbops/offsite.password
      environment:
        AWS_ACCESS_KEY_ID: "{{ vault_s3_key_id }}"
        AWS_SECRET_ACCESS_KEY: "{{ vault_s3_key }}"
      host: chat-production

- name: Do the same, and read a twentieth of the repository
  dbops.postgres.backup_copy:
    container: chat-postgres-prod
    database: chat
    backup_dir: /opt/backups/chat-production
    check: 5%
    offsite:
      repository: /mnt/nas/backups
      password_file: /etc/dbops/offsite.password
"""

RETURN = r"""
copied:
  description: What was sent.
  returned: success, or one could not be sent
  type: list
  elements: dict
  sample:
    - backup: chat_20261123_030000
      snapshot: 54c914071ab8ce93444c2f2ec07ed2c5de997500b8e74d4072b2901c55e87c33
      size: 193000000
      added: 11000000
      seconds: 8.1
to_copy:
  description: The ids of the backups that were to be sent.
  returned: success, or one could not be sent
  type: list
  elements: str
  sample: [chat_20261123_030000]
there_before:
  description: The ids of the backups of which there were copies before, newest first.
  returned: success, or one could not be sent
  type: list
  elements: str
  sample: [chat_20261122_030000]
repository:
  description: The repository's address, without a password.
  returned: success, or one could not be sent
  type: str
  sample: s3:https://s3.example.com/bucket/backups
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
    operation: copy_backups
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
from ansible_collections.dbops.postgres.plugins.module_utils.operations._copying import CopyOptions, copy_backups
from ansible_collections.dbops.postgres.plugins.module_utils.operations._offsite_options import OFFSITE, restic_of


def copy(operation: Operation, params: dict[str, t.Any]) -> Result:
    return copy_backups(
        operation,
        restic_of(operation, params["offsite"]),
        CopyOptions(params["select"], params["check"] or "", params["init"], params["unlock"]),
    )


def main() -> None:
    module = DbopsModule(
        operation="copy_backups",
        risk=Risk.ASIDE,
        argument_spec={
            "select": {"type": "str", "default": "missing"},
            "check": {"type": "str"},
            "init": {"type": "bool", "default": False},
            "unlock": {"type": "bool", "default": False},
            "offsite": OFFSITE,
        },
    )
    module.run(copy)


if __name__ == "__main__":
    main()
