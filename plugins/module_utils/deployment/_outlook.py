# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which version of an application works with which schema, and so in which order a deploy goes without errors: by what each needs."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import Runner, find_runner
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._expected_schemas import expected_schemas
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import Plan
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema_needs import VITAL, broken_by, can_break, fit

MIGRATE_FIRST, START_FIRST = "migrate_first", "start_first"

#: Of what is missing, a person reads so much.
_MOST = 3


@dataclass(frozen=True)
class Outlook:
    """What each version lacks where it meets the other's schema, a sentence each. ``unknown``: why it is not known of the running one."""

    running_after: tuple[str, ...] = ()
    new_before: tuple[str, ...] = ()
    unknown: str = ""

    @property
    def safe_orders(self) -> tuple[str, ...]:
        orders = [MIGRATE_FIRST] if not self.running_after and not self.unknown else []
        return tuple(orders + ([START_FIRST] if not self.new_before else []))

    def lines(self) -> list[str]:
        return [
            "The version that runs now would not go on with the new schema: %s." % _brief(self.running_after)
            if self.running_after
            else "Whether the version that runs now goes on with the new schema is not known: %s." % self.unknown
            if self.unknown
            else "The version that runs now goes on with the new schema, as far as tables, columns, types, views and functions tell.",
            "The new version would not work with the schema as it is now: %s." % _brief(self.new_before)
            if self.new_before
            else "The new version works with the schema as it is now too, as far as those tell.",
        ]

    def advice(self, order: str) -> str:
        """What is to be said of an order that is not safe; empty where it is."""
        if order in self.safe_orders:
            return ""
        if self.safe_orders:
            return "There may be errors between the two steps of '%s'. Safe is: -e dbops_deploy_order=%s" % (order, self.safe_orders[0])
        return (
            "There may be errors between migration and start in either order, for as long as the new containers take. Without any: deploy in two"
            " steps, first a version and a migration that both can use."
        )


def _brief(losses: tuple[str, ...]) -> str:
    more = " and %d more" % (len(losses) - _MOST) if len(losses) > _MOST else ""
    return "; ".join(losses[:_MOST]) + more


def look_ahead(operation: Operation, plan: Plan, runner: Runner, replaced: t.Sequence[Container]) -> Outlook:
    """What the running version needs is what its own migration makes of an empty database; only asked where the plan could break anybody.

    :param replaced: the containers that run now.
    """
    if plan.empty:
        return Outlook()
    new_before = _lacking(plan)
    older = [container for container in replaced if container.image_id != runner.image_id]
    if not older or not can_break(plan.before, plan.after):
        return Outlook((), new_before)
    running = find_runner(operation.docker, older[-1], runner.argv, "")
    trial = expected_schemas(operation, [running])[running.image_id]
    if trial.trouble:
        return Outlook((), new_before, trial.trouble)
    if not any(key.startswith("table ") for key in trial.schema):
        return Outlook((), new_before, "its migration makes no table of an empty database, so what it needs cannot be seen")
    return Outlook(tuple(broken_by(plan.before, plan.after, trial.schema)), new_before)


def _lacking(plan: Plan) -> tuple[str, ...]:
    """What the new version would not find in the schema as it is; a table without its columns, and nothing that no statement names."""
    found = fit(plan.before, plan.after)
    named = [key for key in found.lacking if key.startswith(VITAL) and not key.startswith("sequence ")]
    tables = tuple("column %s." % key.partition(" ")[2] for key in named if key.startswith("table "))
    return tuple("%s is not there" % key for key in named if not key.startswith(tables)) + found.unfit
