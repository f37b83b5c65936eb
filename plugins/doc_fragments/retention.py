# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The retention policy, as the modules take it that remove or list backups."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation of the option; its specification is in ``operations._retention_options``."""

    DOCUMENTATION = r"""
options:
  retention:
    description:
      - Which backups are kept. M(dbops.postgres.backup_prune) needs it, and it has to keep something. M(dbops.postgres.backup_info) then says why
        each backup is kept, and M(dbops.postgres.database_status) shows it.
    type: dict
    suboptions:
      keep_last:
        description: How many of the newest are kept. V(-1), here and below, is without limit.
        type: int
        default: 0
      keep_hourly:
        description: Of how many hours that have a backup the newest is kept.
        type: int
        default: 0
      keep_daily:
        description: The same for days.
        type: int
        default: 0
      keep_weekly:
        description: The same for weeks, which begin on Monday.
        type: int
        default: 0
      keep_monthly:
        description: The same for months.
        type: int
        default: 0
      keep_yearly:
        description: The same for years.
        type: int
        default: 0
      keep_within:
        description: All that are at most so much older than the newest, such as V(14d) or V(1y6m) (years, months, weeks, days, hours).
        type: str
      pin_days:
        description: How many days those are kept that were made before a migration or another operation.
        type: int
        default: 30
      kept_database_days:
        description:
          - How many days the databases are kept that a restore has replaced (C(chat_before_restore_...)). V(-1) keeps them for ever. Only such go of
            which there is a proved backup, which stays for O(retention.pin_days) longer.
          - After that, C(dbops_restore_backup=undo) cannot bring them back, but their backup can.
        type: int
        default: -1
      time_zone:
        description: By whose clock days begin, such as V(Asia/Tokyo).
        type: str
        default: UTC
      without_proof:
        description: Whether backups may go while the newest one is not proved by M(dbops.postgres.backup_verify).
        type: bool
        default: false
"""
