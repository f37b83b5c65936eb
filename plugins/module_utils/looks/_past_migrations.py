# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which schemas a database has been migrated to, by its journal: asked of a preview before production is migrated."""

from __future__ import annotations

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _journal
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Result
from ansible_collections.dbops.postgres.plugins.module_utils.operation._request import Inquiry
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import count_text


def past_schemas(inquiry: Inquiry) -> Result:
    """``schemas``: of the shape of each schema (no owners, no rights) when it was last reached. Asks neither engine nor server."""
    request = inquiry.request
    found = {}
    for entry in _journal.read(request.backup_dir):
        done = (entry.get("result"), entry.get("database")) == ("ok", request.target.database)
        if done and entry.get("operation") in _journal.MIGRATES and entry.get("schema_shape_after"):
            found[str(entry["schema_shape_after"])] = str(entry.get("finished", ""))
    told = "Database '%s' has been migrated to %s, by its journal." % (request.target.database, count_text(len(found), "schema"))
    return Result(False, [told], {"schemas": found})
