#!/usr/bin/python
# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_info
short_description: Say which schemas a database has been migrated to
version_added: 0.1.0
description:
  - Reads the journal, and says to which schemas the database has been migrated, without owners and rights, since roles are called otherwise elsewhere.
  - Asked of a preview before production is migrated (O(dbops.postgres.migration#module:previewed)). Neither engine nor server are asked.
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
options: {}
"""

EXAMPLES = r"""
- name: Say what has run on the preview
  dbops.postgres.migration_info:
    container: chat-postgres-preview
    database: chat_preview
    backup_dir: /opt/backups/chat-preview
    environment: preview
"""

RETURN = r"""
schemas:
  description: The fingerprint of each schema's shape, and when it was last reached.
  returned: success
  type: dict
  sample:
    baa5a0964d3320fbc0c6a922140453c8513ea24ab8fd0577034804a967248096: "2026-11-23T03:00:04Z"
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
    operation: migration_info
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
from ansible_collections.dbops.postgres.plugins.module_utils.looks._past_migrations import past_schemas
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Result
from ansible_collections.dbops.postgres.plugins.module_utils.operation._request import Inquiry


def work(inquiry: Inquiry, _params: dict[str, t.Any]) -> Result:
    return past_schemas(inquiry)


def main() -> None:
    module = DbopsModule(operation="migration_info", risk=Risk.READ)
    module.examine(work)


if __name__ == "__main__":
    main()
