# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The operations of one database that work now in processes of their own, and how far they are. Neither engine nor server is asked."""

from __future__ import annotations

import os
import pwd
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Result
from ansible_collections.dbops.postgres.plugins.module_utils.operation._request import Inquiry
from ansible_collections.dbops.postgres.plugins.module_utils.progress._run_files import RunFiles, known_runs


def look_at_runs(inquiry: Inquiry, target: t.Mapping[str, str]) -> Result:
    """:param target: the database and its container, in the words of the options."""
    runs = [run for run in known_runs() if run.target == target and (run.alive or run.is_abandoned)]
    lines = [_told(run, inquiry.request.caller.host) for run in runs]
    if not any(run.alive for run in runs):
        user = pwd.getpwuid(os.getuid()).pw_name
        lines.append(
            "No operation on database '%s' works now that user '%s' has begun with this collection: what others do, status.yml shows."
            % (inquiry.request.target.database, user)
        )
    return Result(False, lines, {"runs": [dict(run.answer(), standing=run.standing()) for run in runs]})


def _told(run: RunFiles, host: str) -> str:
    whose = "The %s of database '%s', begun at %s by '%s'" % (run.operation, run.target["database"], run.started, run.operator)
    if not run.alive:
        return "%s has ended, and nobody has had its result: type the line that began it once more." % whose
    line = run.standing().get("line") or "starting"
    return "%s: %s. To end it through its clean-ups, on host '%s': kill -TERM %d" % (whose, line, host, run.pid)
