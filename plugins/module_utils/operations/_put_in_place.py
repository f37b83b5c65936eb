# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A database that was built, or kept, becomes the live one: swapped in, the backends seen well, or swapped back."""

from __future__ import annotations

from ansible_collections.dbops.postgres.plugins.module_utils.backend import _health
from ansible_collections.dbops.postgres.plugins.module_utils.operation import _guard
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.operations._restore_options import RestoreOptions
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database, _swap
from ansible_collections.dbops.postgres.plugins.module_utils.server._database import MARKER, SEEDS
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import timestamp, utc_now

#: How a restored copy is called that did not get the backend well; undo must not bring it back.
REJECTED = "rejected"


def stamp(operation: Operation, database: str, seeds: str, keep_seeds: bool) -> None:
    """The marker of the database that is replaced, or production's; the seeds are those that the contents have had."""
    marker = operation.evidence.marker or (_guard.PRODUCTION if operation.request.environment == _guard.PRODUCTION else "")
    _database.set_own(operation.maintenance, database, MARKER, marker)
    if not keep_seeds:
        _database.set_own(operation.maintenance, database, SEEDS, seeds)


def put_in_place(operation: Operation, options: RestoreOptions, replacement: str, name: str, by: str) -> str:
    """Swap, see the backends well, or swap back; returns under which name the old database is kept."""
    operation.enter("restore: swap")
    sick_before = _health.sick(operation.docker, operation.target.backends)
    kept = swap_in(operation, replacement, by, options.session_timeout)
    operation.warnings += ["Backend '%s' was not healthy before either: look at it." % container for container in sick_before]
    with operation.after_swap(kept):
        operation.enter("restore: backend")
        recovery = _health.bring_back(operation.docker, operation.target.backends, options.restart, options.health_timeout, sick_before)
        operation.warnings += ["Backend '%s' was restarted." % container for container in recovery.restarted]
    if not recovery.unhealthy:
        return kept
    if not kept:
        raise DbopsError(
            "'%s' was restored as '%s', but the backend is not well: %s" % (name, operation.database, " ".join(recovery.unhealthy))
        )
    with operation.after_swap(kept):
        rejected = swap_in(operation, kept, REJECTED, options.session_timeout)
    still = _health.bring_back(operation.docker, operation.target.backends, options.restart, options.health_timeout).unhealthy
    raise DbopsError(
        "The backend did not get well with '%s', so the database was swapped back and is what it was before. %s The rejected copy is kept as '%s'. %s"
        % (
            name,
            " ".join(recovery.unhealthy),
            rejected,
            "With the old database it is not well either: %s" % " ".join(still) if still else "With the old database it is well again.",
        ),
        rejected=rejected,
    )


def swap_in(operation: Operation, replacement: str, by: str, session_timeout: float) -> str:
    """The swap itself; returns the old database's new name."""
    return _swap.swap(operation.maintenance, operation.database, replacement, by, operation.run_id, timestamp(utc_now()), session_timeout)
