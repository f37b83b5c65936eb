#!/usr/bin/python
# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_prune
short_description: Remove the backups that the retention policy does not keep
version_added: 0.1.0
description:
  - Keeps the newest backup of so many hours, days, weeks, months and years as the policy says, in the way of restic, and removes the others.
  - Whatever the policy says, it never removes the newest backup, the newest one that is proved, what was made before an operation for
    O(retention.pin_days), the backup of a replaced database that is still there, one whose time lies in the future, one that cannot be read, or
    anything at all while the newest backup is not proved. One that did not come back in a test restore pushes out no good one.
  - Backups that another server made are left alone, since who needs them cannot be known here.
  - Replaced databases that restores have kept are dropped after O(retention.kept_database_days), but only where a backup of what they hold is proved.
extends_documentation_fragment:
  - dbops.postgres.retention
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
- name: Keep two weeks of days, two months of weeks and a year of months
  dbops.postgres.backup_prune:
    container: chat-postgres-prod
    database: chat
    backup_dir: /opt/backups/chat-production
    retention:
      keep_daily: 14
      keep_weekly: 8
      keep_monthly: 12
      time_zone: Europe/Berlin
"""

RETURN = r"""
removed:
  description: The ids of the backups that were removed, or would be in check mode, oldest first.
  returned: success
  type: list
  elements: str
  sample: [chat_20260901_030000]
removed_size:
  description: How many bytes they had.
  returned: success
  type: int
  sample: 193000000
kept_because:
  description: By id, why each of the others is kept.
  returned: success
  type: dict
  sample:
    chat_20261123_030000: [the newest, daily 2026-11-23]
dropped_databases:
  description: The replaced databases that were dropped, or would be.
  returned: success
  type: list
  elements: str
  sample: []
kept_databases:
  description: By name, why each other replaced database is kept.
  returned: success
  type: dict
  sample: {}
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
    operation: prune_backups
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
from ansible_collections.dbops.postgres.plugins.module_utils.operations._pruning import prune
from ansible_collections.dbops.postgres.plugins.module_utils.operations._retention_options import RETENTION, policy_from


def prune_backups(operation: Operation, params: dict[str, t.Any]) -> Result:
    return prune(operation, policy_from(params["retention"]))


def main() -> None:
    module = DbopsModule(
        operation="prune_backups",
        risk=Risk.SAVE,
        argument_spec={"retention": RETENTION},
    )
    module.run(prune_backups)


if __name__ == "__main__":
    main()
