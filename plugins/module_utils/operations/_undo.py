# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Put the database back that the last restore or reset replaced."""

from __future__ import annotations

import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations._put_in_place import REJECTED, put_in_place, stamp
from ansible_collections.dbops.postgres.plugins.module_utils.operations._restore_options import RestoreOptions
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database, _swap
from ansible_collections.dbops.postgres.plugins.module_utils.server._collation import collation_version
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

UNDO = "undo"


def undo(operation: Operation, options: RestoreOptions) -> Result:
    """Put the database back that the last restore or reset replaced."""
    _database.require(operation.maintenance, operation.database)
    kept = [item for item in _swap.kept_databases(operation.maintenance, operation.database) if item.by != REJECTED]
    if not kept:
        raise DbopsError("There is nothing to undo: no replaced database of '%s' is kept on this server." % operation.database)
    previous = kept[0]
    diff = {"before": "%s is as it is now\n" % operation.database, "after": "%s is what '%s' holds\n" % (operation.database, previous.name)}
    facts: dict[str, t.Any] = {
        "source": {"name": previous.name, "kind": "replaced database", "made": previous.at},
        "rows_lost": {},
        "replaced": None,
        "backup_before": None,
    }
    if operation.check_mode:
        return Result(
            True,
            ["Would put '%s' (replaced by %s at %s) back as '%s'." % (previous.name, previous.by, previous.at, operation.database)],
            facts,
            diff,
        )
    _swap.require_swappable(operation.maintenance, operation.database)
    sorted_by = collation_version(operation.maintenance, previous.name)
    if sorted_by.differs:
        operation.warnings.append(
            "'%s' was made with version %s of its collation, the image has %s: its indexes on text may be in the wrong order. Run diagnose.yml"
            " for the lines that put that right." % (previous.name, sorted_by.recorded, sorted_by.actual)
        )
    stamp(operation, previous.name, "", keep_seeds=True)
    facts["replaced"] = put_in_place(operation, options, previous.name, previous.name, "undo")
    summary = [
        "Database '%s' is again what it was before the %s of %s." % (operation.database, previous.by, previous.at),
        "What it was until now is kept as '%s' (to go back to that: the same command once more)." % facts["replaced"],
    ]
    return Result(True, summary, facts, diff, {"source": previous.name, "replaced": facts["replaced"]})
