# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What those who only look read alike."""

from __future__ import annotations

import typing as t
from dataclasses import asdict

from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import Runner, command_of, failure_of, find_runner
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import Plan, make_plan
from ansible_collections.dbops.postgres.plugins.module_utils.server import _swap
from ansible_collections.dbops.postgres.plugins.module_utils.server._lock import read_holder
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import Snapshot, read_snapshot


def read_schema(operation: Operation) -> Snapshot:
    with operation.session(read_only=True) as connection:
        return read_snapshot(connection)


def running_operation(operation: Operation) -> dict[str, t.Any] | None:
    """Who holds the database's lock, as data."""
    holder = read_holder(operation.maintenance, operation.database)
    return asdict(holder) if holder else None


def kept_databases(operation: Operation) -> list[dict[str, t.Any]]:
    """The replaced databases that are kept, newest first, as data."""
    return [asdict(item) for item in _swap.kept_databases(operation.maintenance, operation.database)]


def migration_runner(operation: Operation, command: t.Sequence[str]) -> Runner:
    """The runner that a migration with the deployed image would use."""
    return find_runner(operation.docker, operation.target.backend(), command_of(command, "migrate"), "")


def plan_with(operation: Operation, runner: Runner, state_tables: t.Sequence[str], timeout: float, limit: str) -> tuple[Plan, str]:
    """The pending migration, and what is wrong with the runner (empty where nothing is). ``limit``: what sets ``timeout``."""
    plan = make_plan(operation, runner, state_tables, timeout)
    swallowed = "it ends without an error, but the server refused %s" % plan.swallowed if plan.empty and plan.swallowed else ""
    return plan, failure_of(runner, plan.outcome, timeout, limit) or swallowed
