# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The retention policy as the modules take it."""

from __future__ import annotations

import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.archive._retention import Policy, parse_within
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

_COUNTS = ("keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")

#: The module option; each part is documented in the modules that have it.
RETENTION: dict[str, t.Any] = {
    "type": "dict",
    "options": {
        **{name: {"type": "int", "default": 0} for name in _COUNTS},
        "keep_within": {"type": "str"},
        "pin_days": {"type": "int", "default": 30},
        "time_zone": {"type": "str", "default": "UTC"},
        "without_proof": {"type": "bool", "default": False},
        "kept_database_days": {"type": "int", "default": -1},
    },
}

_MOST_DAYS = 36500

#: What a person may begin with.
EXAMPLE = "dbops_retention: {keep_daily: 14, keep_weekly: 8, keep_monthly: 12}"


def policy_from(given: t.Mapping[str, t.Any] | None) -> Policy | None:
    """From a module's parameter; none where nothing was given.

    :raises DbopsError: for one that would keep nothing, or makes no sense.
    """
    if not given:
        return None
    counts = {name: given.get(name) or 0 for name in _COUNTS}
    wrong = [name for name, number in counts.items() if number < -1]
    pin_days = 30 if given.get("pin_days") is None else given["pin_days"]
    within = parse_within(given["keep_within"]) if given.get("keep_within") else None
    kept_days = -1 if given.get("kept_database_days") is None else given["kept_database_days"]
    wrong += ["pin_days"] if not 0 <= pin_days <= _MOST_DAYS else []
    wrong += ["kept_database_days"] if not -1 <= kept_days <= _MOST_DAYS else []
    if wrong:
        raise DbopsError("In dbops_retention, %s has to be a number from 0 on, or -1 for all, and no more than a hundred years." % wrong[0])
    if given.get("keep_within") and within is None:
        raise DbopsError("In dbops_retention, keep_within is a length of time such as 14d or 1y6m, not '%s'." % given["keep_within"])
    policy = Policy(
        **counts,
        keep_within=within,
        pin_days=pin_days,
        without_proof=bool(given.get("without_proof")),
        time_zone=given.get("time_zone") or "UTC",
        kept_database_days=kept_days,
    )
    if policy.keeps_nothing:
        raise DbopsError("The policy would keep nothing, so nothing was removed. Say what is kept, for example %s" % EXAMPLE)
    return policy
