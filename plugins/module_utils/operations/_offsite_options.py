# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The offsite repository as the modules take it."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.offsite._restic import Repository, Restic
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._redaction import passwords_in

#: The module option; documented in the fragment ``dbops.postgres.offsite``.
OFFSITE: dict[str, t.Any] = {
    "type": "dict",
    "options": {
        "repository": {"type": "str", "no_log": False},
        "host": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "password_file": {"type": "path", "no_log": False},
        "environment": {"type": "dict", "no_log": True, "default": {}},
        "options": {"type": "list", "elements": "str", "default": []},
        "upload_limit": {"type": "int", "default": 0},
        "download_limit": {"type": "int", "default": 0},
        "program": {"type": "str", "default": "restic"},
        "image": {"type": "str"},
    },
}

#: Characters from which on a value of the environment is no region or yes.
_LONG_ENOUGH = 6

#: What a person may begin with.
_EXAMPLE = "dbops_offsite_repository: s3:https://s3.example.com/bucket/backups, and dbops_offsite_password_file or dbops_offsite_password"


def restic_of(operation: Operation, given: t.Mapping[str, t.Any] | None) -> Restic:
    """restic on the repository of a module's parameter; its secrets are masked from here on.

    :raises DbopsError: where something is missing or makes no sense.
    """
    given = given or {}
    location = (given.get("repository") or "").strip()
    if not location:
        raise DbopsError("Nothing says where copies are kept. Say it in the inventory: %s" % _EXAMPLE)
    if ":" not in location and not location.startswith("/"):
        raise DbopsError("dbops_offsite_repository is an address that restic knows, or an absolute path, not '%s'." % location)
    password, password_file = (given.get("password") or "").rstrip("\r\n"), given.get("password_file") or ""
    environment = {str(name): str(text) for name, text in (given.get("environment") or {}).items() if text is not None}
    own = sorted(name for name in environment if name.startswith(("RESTIC_PASSWORD", "RESTIC_REPOSITORY")))
    if own:
        raise DbopsError(
            "%s does not belong into dbops_offsite_environment: use dbops_offsite_repository, and dbops_offsite_password or"
            " dbops_offsite_password_file." % own[0]
        )
    _learn(operation, location, password, environment)
    if not password and not password_file:
        raise DbopsError(
            "The offsite repository needs its password: set dbops_offsite_password_file (a file on that host that only its user may read),"
            " or dbops_offsite_password (from a vault). Without it, nobody can ever read the copies."
        )
    if password_file and not password and not os.access(password_file, os.R_OK):
        raise DbopsError(
            "The file with the offsite repository's password, '%s', cannot be read on this host: make it, or correct dbops_offsite_password_file."
            % password_file
        )
    if min(given.get("upload_limit") or 0, given.get("download_limit") or 0) < 0:
        raise DbopsError("dbops_offsite_upload_limit and dbops_offsite_download_limit are KiB per second from 0 on; 0 is without limit.")
    repository = Repository(
        location=location,
        host=given.get("host") or operation.request.caller.host or operation.database,
        password=password,
        password_file="" if password else password_file,
        environment=environment,
        options=tuple(given.get("options") or ()),
        upload_limit=given.get("upload_limit") or 0,
        download_limit=given.get("download_limit") or 0,
        program=given.get("program") or "restic",
        image=given.get("image") or "",
    )
    return Restic(repository, operation.docker, operation.run_id, operation.labels)


def _learn(operation: Operation, location: str, password: str, environment: t.Mapping[str, str]) -> None:
    operation.redactor.add(password)
    for text in environment.values():
        if len(text) >= _LONG_ENOUGH:
            operation.redactor.add(text)
    operation.redactor.add_environment(environment)
    for secret in passwords_in(re.sub(r"^\w+:(?=\w+://)", "", location)):
        operation.redactor.add(secret)
