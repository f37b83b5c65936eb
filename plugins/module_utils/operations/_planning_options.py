# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a migration is planned, and which gates hold, as the modules take it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.dbops.postgres.plugins.module_utils.gates._gates import GateOptions

_ACCEPTED = {
    "rule": {"type": "str", "required": True},
    "object": {"type": "str"},
    "reason": {"type": "str", "required": True},
    "until": {"type": "str"},
}

#: The module options of a plan; documented in the fragment ``dbops.postgres.planning``.
PLANNING_SPEC: dict[str, t.Any] = {
    "runner": {"type": "list", "elements": "str", "default": ["ent"]},
    "image": {"type": "str"},
    "timeout": {"type": "int", "default": 600},
    "state_tables": {"type": "list", "elements": "str", "default": []},
    "risk_accepted": {"type": "list", "elements": "dict", "default": [], "options": _ACCEPTED},
    "look_up_seconds": {"type": "float", "default": 10.0},
}

#: The module options of the gates; documented in the fragment ``dbops.postgres.gates``.
GATES_SPEC: dict[str, t.Any] = {
    "gates": {"type": "dict"},
    "override": {"type": "list", "elements": "str", "default": []},
    "reason": {"type": "str"},
    "previewed": {"type": "dict", "options": {"host": {"type": "str"}, "schemas": {"type": "dict"}, "unknown": {"type": "str"}}},
}


@dataclass(frozen=True)
class PlanningOptions:
    """``image``: empty for the running backend's; ``timeout``: seconds for the runner. ``accepted``: risks, as the inventory has them;
    ``look_up_seconds``: for all questions about the live rows together, 0 asks none."""

    runner: tuple[str, ...]
    image: str = ""
    timeout: float = 600
    state_tables: tuple[str, ...] = ()
    accepted: tuple[t.Mapping[str, t.Any], ...] = ()
    look_up_seconds: float = 10
    gates: GateOptions = field(default_factory=GateOptions)


def planning_options(params: t.Mapping[str, t.Any]) -> PlanningOptions:
    """From a module's parameters; one without gates has none."""
    return PlanningOptions(
        runner=tuple(params["runner"]),
        image=params["image"] or "",
        timeout=params["timeout"],
        state_tables=tuple(params["state_tables"]),
        accepted=tuple(params["risk_accepted"]),
        look_up_seconds=params["look_up_seconds"],
        gates=_gate_options(params) if "gates" in params else GateOptions(gates={}),
    )


def _gate_options(params: t.Mapping[str, t.Any]) -> GateOptions:
    preview = params["previewed"] or {}
    return GateOptions(
        gates=params["gates"],
        override=tuple(name.strip() for name in params["override"] if name.strip()),
        reason=params["reason"] or "",
        previewed=preview.get("schemas"),
        preview_host=preview.get("host") or "",
        preview_unknown=preview.get("unknown") or "",
    )
