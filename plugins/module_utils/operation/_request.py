# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was asked for: by whom, of which database, with which consent."""

from __future__ import annotations

import secrets
import typing as t
from dataclasses import dataclass, field

from ansible_collections.dbops.postgres.plugins.module_utils.archive._age import Encryption
from ansible_collections.dbops.postgres.plugins.module_utils.operation import _guard
from ansible_collections.dbops.postgres.plugins.module_utils.operation._target import TargetOptions
from ansible_collections.dbops.postgres.plugins.module_utils.text._redaction import Redactor
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import utc_now

#: The operations that put another database in the place of the live one.
REPLACES = ("restore", "reset")


@dataclass(frozen=True)
class Caller:
    """Who started this, as the controller says; ``selection`` is ``None`` where no playbook of ours did."""

    host: str = ""
    operator: str = ""
    controller: str = ""
    revision: str = ""
    selection: _guard.Selection | None = None


@dataclass(frozen=True)
class Request:
    """An operation as it was asked for: the shared options of all modules."""

    operation: str
    risk: _guard.Risk
    target: TargetOptions
    caller: Caller
    environment: str = _guard.PRODUCTION
    server_id: str = ""
    shared_server: bool = False
    backup_dir: str = ""
    confirm: str = ""
    lock_wait: float = 0
    docker_host: str = ""
    check_mode: bool = False
    encryption: Encryption = field(default_factory=Encryption)

    @property
    def writes(self) -> bool:
        return not self.check_mode and self.risk is not _guard.Risk.READ


@dataclass(frozen=True)
class Inquiry:
    """A question, before anything was asked. ``started``: RFC 3339 in UTC; ``redactor`` learns the secrets that are seen on the way."""

    request: Request
    redactor: Redactor
    run_id: str
    started: str


def new_run_id() -> str:
    """Sorts by time; safe in names of files, containers and databases."""
    return "%s_%s" % (utc_now().strftime("%Y%m%dT%H%M%S"), secrets.token_hex(3))


def facts_before(request: Request, run_id: str, started: str, seconds: float) -> dict[str, t.Any]:
    """What can be said of a run that has not reached its database. ``started``: RFC 3339 in UTC; ``seconds`` have passed since."""
    return {
        "run_id": run_id,
        "operation": request.operation,
        "host": request.caller.host,
        "database": request.target.database,
        "started": started,
        "duration_seconds": round(seconds, 3),
    }
