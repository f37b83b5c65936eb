#!/usr/bin/python
# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: database_marker
short_description: Write the environment marker of a database
version_added: 0.1.0
description:
  - The marker is the setting C(dbops.environment) of the database itself. A dump of its contents does not carry it, and swaps and
    resets keep it.
  - Together with the inventory and the pinned identity of the server it is one of the three witnesses without which nothing
    destructive runs.
  - Marking as V(production) is always safe. Marking as anything else needs consent (O(confirm=enroll:<database>)).
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
"""

EXAMPLES = r"""
- name: Mark the preview database
  dbops.postgres.database_marker:
    container: chat-postgres-preview
    database: chat_preview
    environment: preview
    backup_dir: /opt/backups/chat-preview
    confirm: enroll:chat_preview
"""

RETURN = r"""
marker:
  description: The marker that is, or would be, in the database.
  returned: success
  type: str
  sample: preview
marker_before:
  description: The marker before, empty where there was none.
  returned: success
  type: str
server_id:
  description: The identity of the server, to be pinned in the inventory as C(dbops_server_id).
  returned: success
  type: str
  sample: "7300000000000000001"
pinned:
  description: Whether the inventory pins this very server.
  returned: success
  type: bool
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
    operation: enroll
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
from ansible_collections.dbops.postgres.plugins.module_utils.operations._enroll import enroll


def mark(operation: Operation, _params: dict[str, t.Any]) -> Result:
    return enroll(operation)


def main() -> None:
    module = DbopsModule(operation="enroll", risk=Risk.MARK)
    module.run(mark)


if __name__ == "__main__":
    main()
