# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dump files that were made by hand, into a new database: in one transaction, stopping at the first error."""

from __future__ import annotations

import os

from ansible_collections.dbops.postgres.plugins.module_utils.archive._dump import MOUNT, ToolBox, tool_failure
from ansible_collections.dbops.postgres.plugins.module_utils.archive._plain_file import Changes, PlainFile, needs_rewriting, rewrite
from ansible_collections.dbops.postgres.plugins.module_utils.server import _event_triggers
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

_FILE = MOUNT + "/file"


def load_file(tools: ToolBox, file: PlainFile, database: str, work: str, changes: Changes = Changes()) -> list[str]:  # noqa: B008
    """Load it; returns the statements that were left out or altered for the roles that are not there.

    :param work: a folder for a text that has to be unpacked, converted or changed first.
    """
    path, left_out = file.path, []
    if file.kind == "custom":
        argv = ["pg_restore", "--exit-on-error", "--no-password", "--dbname=", _FILE]
    else:
        if needs_rewriting(file, changes):
            path = os.path.join(work, "dump.sql")
            left_out = rewrite(file, path, changes)
        argv = [
            "psql",
            "--no-psqlrc",
            "--quiet",
            "--no-password",
            "--single-transaction",
            "--set=ON_ERROR_STOP=1",
            "--output=/dev/null",
            "--file=" + _FILE,
        ]
    silent = tools.identity.superuser and tools.identity.version_number >= _event_triggers.SINCE
    outcome = tools.run("restore", argv, ((path, _FILE, False),), database, _event_triggers.OFF if silent else "")
    if outcome.rc != 0:
        raise DbopsError(tool_failure(argv[0], outcome, "the new database '%s'" % database), output=outcome.output)
    return left_out
