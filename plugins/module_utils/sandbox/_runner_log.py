# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the sandbox's server logged while a runner worked: the part of its log between two marks of ours.

The sandbox has to be opened with ``_statements.LOG_OPTIONS``.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._throwaway_server import Sandbox
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import execute
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

_BEGINS = "dbops: the runner begins"
_ENDS = "dbops: the runner ends"

#: Seconds that the engine may take to pass on what the server has logged.
_PATIENCE = 10.0


def mark_begin(connection: Connection) -> None:
    execute(connection, "SELECT %s", (_BEGINS,))


def mark_end(connection: Connection) -> None:
    execute(connection, "SELECT %s", (_ENDS,))


def read_between_marks(operation: Operation, sandbox: Sandbox) -> str:
    """The log between the last two marks.

    :raises DbopsError: where it does not arrive in full.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        log = operation.docker.logs(sandbox.container.id, tail=-1, kept=None)
        begin, end = log.rfind(_BEGINS), log.rfind(_ENDS)
        if 0 <= begin < end:
            break
        if time.monotonic() > deadline:
            raise DbopsError("The sandbox's log could not be read in full, so the plan is not known: run this again.")
        time.sleep(0.05)
    begin = log.index("\n", begin) + 1
    return log[begin : log.rindex("\n", begin - 1, end) + 1]
