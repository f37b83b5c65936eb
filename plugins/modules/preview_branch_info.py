#!/usr/bin/python
# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: preview_branch_info
short_description: Read what each branch needs of the preview database that they share
version_added: 0.1.0
description:
  - Each backend that O(backends) names is a branch. What it needs is the schema that its own migration makes of an empty database, found out
    in a sandbox once for an image and kept in the backup folder.
  - What its migration would do to the shared schema is tried in a sandbox as well, where the branch lacks something.
  - Reads the database only. What it learned is added to the journal, where there is a backup folder and not in check mode, so that it is
    known later what a branch that is gone has left.
extends_documentation_fragment:
  - dbops.postgres.target
  - dbops.postgres.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: There is nothing to compare.
  idempotent:
    support: full
options:
  runner:
    description: The command that migrates, as O(dbops.postgres.migration#module:runner) has it.
    type: list
    elements: str
    default: [ent]
"""

EXAMPLES = r"""
- name: Look at the branches
  dbops.postgres.preview_branch_info:
    container: chat-postgres-preview
    database: chat_preview
    environment: preview
    backup_dir: /opt/backups/chat-preview
    backends: [chat-backend-preview-*]
  register: preview

- name: Name those that get in each other's way
  ansible.builtin.debug:
    msg: "{{ preview.branches | selectattr('state', 'equalto', 'conflict') | map(attribute='branch') }}"
"""

RETURN = r"""
branches:
  description:
    - The branches, worst first, those that are gone last.
    - RV(branches[].state) is V(conflict), V(unknown), V(behind), V(ahead), V(same) or V(gone), RV(branches[].why) says why.
  returned: success
  type: list
  elements: dict
  contains:
    branch:
      description: The branch's name.
      type: str
    container:
      description: Its backend's container.
      type: str
    image:
      description: The image that the container was started from.
      type: str
    image_id:
      description: That image's digest.
      type: str
    revision:
      description: The revision that the image was built from, by its label C(org.opencontainers.image.revision).
      type: str
    status:
      description: Whether the container runs.
      type: str
    state:
      description: How the shared schema fits the branch.
      type: str
    why:
      description: Reasons, in sentences.
      type: list
      elements: str
    expects:
      description: Fingerprint of the schema that the branch needs.
      type: str
    file:
      description: The file in the folder C(expected_schemas) of the backup folder that holds this schema.
      type: str
    seen:
      description: When the branch was last seen.
      type: str
    migrated:
      description: When a migration with this backend last changed the database.
      type: str
shared_schema:
  description: Fingerprint of the schema that the shared database has.
  returned: success
  type: str
leftovers:
  description: Tables and columns that only branches which are gone have needed.
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
    operation: preview_status
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
from ansible_collections.dbops.postgres.plugins.module_utils.looks._preview_status import preview_status
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result


def look(operation: Operation, params: dict[str, t.Any]) -> Result:
    return preview_status(operation, tuple(params["runner"]))


def main() -> None:
    module = DbopsModule(
        operation="preview_status",
        risk=Risk.READ,
        argument_spec={"runner": {"type": "list", "elements": "str", "default": ["ent"]}},
    )
    module.run(look)


if __name__ == "__main__":
    main()
