# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which live branches a change of the shared schema would break."""

from __future__ import annotations

import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.backend._branches import Branch, branches_of
from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import Runner, find_runner
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._expected_schemas import expected_schemas
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import Snapshot
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema_needs import broken_by, can_break


def all_branches(operation: Operation) -> list[Branch]:
    """The branches on this database, stopped ones too, oldest first."""
    options = operation.request.target
    return branches_of(operation.target.backends, options.backends, options.branch_label)


def runner_of(operation: Operation, branch: Branch, argv: tuple[str, ...]) -> Runner:
    return find_runner(operation.docker, branch.container, argv, "")


def broken_branches(operation: Operation, runner: Runner, before: Snapshot, after: Snapshot) -> dict[str, list[str]]:
    """``{branch: what it needs and would lose}`` for the branches that run another image than ``runner``'s.

    What a branch needs is asked only where the change could break anybody. An image whose own migration fails on an empty database
    tells nothing, which becomes a warning.
    """
    others = [branch for branch in all_branches(operation) if branch.container.in_service and branch.container.image_id != runner.image_id]
    if not others or not can_break(before, after):
        return {}
    trials = expected_schemas(operation, [runner_of(operation, branch, runner.argv) for branch in others])
    broken = {}
    for branch in others:
        trial = trials[branch.container.image_id]
        if trial.trouble:
            operation.warnings.append("What branch '%s' needs of the schema is not known: %s." % (branch.name, trial.trouble))
        losses = broken_by(before, after, trial.schema)
        if losses and not trial.trouble:
            broken[branch.name] = losses
    return broken


def losses_text(broken: t.Mapping[str, t.Sequence[str]]) -> str:
    return "; ".join("branch '%s': %s" % (name, ", ".join(losses[:3])) for name, losses in broken.items())
