# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gates as the modules take them."""

from __future__ import annotations

import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.gates._gates import GateOptions

#: The module options; documented in each module that has them.
GATES_SPEC: dict[str, t.Any] = {
    "gates": {"type": "dict"},
    "override": {"type": "list", "elements": "str", "default": []},
    "reason": {"type": "str"},
    "previewed": {"type": "dict", "options": {"host": {"type": "str"}, "schemas": {"type": "dict"}, "unknown": {"type": "str"}}},
}


def gate_options(params: t.Mapping[str, t.Any]) -> GateOptions:
    """From a module's parameters."""
    preview = params["previewed"] or {}
    return GateOptions(
        gates=params["gates"],
        override=tuple(name.strip() for name in params["override"] if name.strip()),
        reason=params["reason"] or "",
        previewed=preview.get("schemas"),
        preview_host=preview.get("host") or "",
        preview_unknown=preview.get("unknown") or "",
    )
