# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checklist before a migration, as the modules take it that plan one or do it."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation of the options; their specification is in ``operations._planning_options``."""

    DOCUMENTATION = r"""
options:
  gates:
    description:
      - The checklist before a migration, as data. Each gate that is named has to be open, and is shown with its evidence either way.
      - C(backup) and C(proved) take C(hours), the most that the newest backup, or the newest that was restored and compared, may be old (26, 168).
        C(preview) wants the very schema that comes of the migration to have run on the preview (O(previewed)). C(reviewed) wants an approved plan,
        which M(dbops.postgres.migration) knows. C(rehearsed) takes C(hours) (168), and wants this very migration to have been rehearsed
        (M(dbops.postgres.migration_rehearsal)); C(compatible) wants the version that runs now to work with the new schema there.
        C(window) takes C(time_zone), C(days), C(from), C(to) and C(holidays). C(load) takes the most C(sessions) at work, C(transactions) a second and
        C(lag_seconds) of replicas. C(clean) wants no invalid index, nothing that a dead run has left, and no failed operation that nobody has finished.
      - Not given, C(backup), C(preview) and C(clean) where the environment is production, else none.
    type: dict
  override:
    description: Names of gates that may be closed this once, in the name of whoever runs this. It goes into the journal.
    type: list
    elements: str
    default: []
  reason:
    description: Why a gate may be closed this once. Without it none may.
    type: str
  previewed:
    description: What M(dbops.postgres.migration_info) says of the preview.
    type: dict
    suboptions:
      host:
        description: The preview's name in the inventory.
        type: str
      schemas:
        description: The shapes of the schemas that it has been migrated to, and when.
        type: dict
      unknown:
        description: Why that is not known.
        type: str
"""
