# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a webhook is told of a run, and whether at all. Pure."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

#: What may be told: it failed (or was refused, or found the database busy); it succeeded after it had failed; it succeeded.
FAILURE, RECOVERY, SUCCESS = "failure", "recovery", "success"

#: Characters of a message that a chat still shows as one.
_LONGEST = 1500


@dataclass(frozen=True)
class Told:
    """A run that has ended. ``text``: what a person reads of it; ``kind``: one of the three."""

    kind: str
    operation: str
    host: str
    database: str
    environment: str
    run_id: str
    text: str

    @property
    def title(self) -> str:
        verb = {FAILURE: "failed", RECOVERY: "succeeded again", SUCCESS: "succeeded"}[self.kind]
        return "%s of '%s' on %s (%s) %s" % (self.operation, self.database, self.host or "this host", self.environment, verb)

    @property
    def body(self) -> str:
        return self.text if len(self.text) <= _LONGEST else self.text[:_LONGEST] + " ..."

    def payload(self) -> dict[str, t.Any]:
        """As JSON: ``text`` is what Slack and Mattermost show, ``content`` what Discord does, ``title`` and ``body`` what apprise's own server
        takes (https://github.com/caronc/apprise-api); the rest is for programs. No ``type``, by which Mattermost would refuse it."""
        line = "%s: %s" % (self.title, self.body)
        return {
            "text": line,
            "content": line,
            "title": self.title,
            "body": self.body,
            "event": self.kind,
            "operation": self.operation,
            "host": self.host,
            "database": self.database,
            "environment": self.environment,
            "run_id": self.run_id,
        }


def kind_of(succeeded: bool, operation: str, database: str, entries: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """:param entries: the journal's, oldest first, without this run's own."""
    if not succeeded:
        return FAILURE
    before = [entry for entry in entries if entry.get("operation") == operation and entry.get("database") == database]
    return RECOVERY if before and before[-1].get("result") != "ok" else SUCCESS
