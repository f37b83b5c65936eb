# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a migration is planned, as the modules take it that plan one, rehearse it, or do it."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation of the options; their specification is in ``operations._planning_options``."""

    DOCUMENTATION = r"""
options:
  runner:
    description:
      - The command that migrates, as a list of words, or the name of a preset.
      - The preset V(ent) is C(/app/backend migrate).
    type: list
    elements: str
    default: [ent]
  image:
    description:
      - Image to plan with. The image of the running backend by default.
      - Lets a new version be planned before it is deployed. It is pulled where it is not on the host.
    type: str
  timeout:
    description: Seconds after which the runner is stopped.
    type: int
    default: 600
  state_tables:
    description: Further names of tables in which the runner keeps its state. Those of the widespread runners are known.
    type: list
    elements: str
    default: []
  risk_accepted:
    description:
      - Risks that are accepted. One that covers nothing, or has run out, is reported.
    type: list
    elements: dict
    default: []
    suboptions:
      rule:
        description: The rule's id.
        type: str
        required: true
      object:
        description: A pattern of what findings call their object, such as C(column public.users.*). Not given, everything.
        type: str
      reason:
        description: Why it may be.
        type: str
        required: true
      until:
        description: The last day on which it holds, such as V(2026-12-31).
        type: str
  look_up_seconds:
    description: Seconds that all questions about the live rows may take together. V(0) asks none, and says so.
    type: float
    default: 10.0
"""
