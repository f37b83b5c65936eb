# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The attributes that all modules share."""

from __future__ import annotations


class ModuleDocFragment:
    """Standard attributes, and what is the same for every module here."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
  action_group:
    description: Use C(group/dbops.postgres.database) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - dbops.postgres.database
  platform:
    description: Target OS families that can be operated against.
    platforms: linux
    support: full
"""
