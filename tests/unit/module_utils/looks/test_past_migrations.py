# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which schemas a preview has run: by its journal, and nothing else."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _journal
from ansible_collections.dbops.postgres.plugins.module_utils.looks._past_migrations import past_schemas
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Result
from ansible_collections.dbops.postgres.plugins.module_utils.operation._request import Inquiry
from ansible_collections.dbops.postgres.plugins.module_utils.text._redaction import Redactor
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import RUN, request

DONE = {
    "operation": "migrate",
    "result": "ok",
    "database": "chat",
    "schema_shape_after": "baa5a0964d3320fbc0c6a922140453c8513ea24ab8fd0577034804a967248096",
    "finished": "2026-11-23T03:00:04Z",
}


def asked(folder: Path, *entries: dict[str, t.Any]) -> Result:
    for entry in entries:
        _journal.append(str(folder), entry)
    return past_schemas(Inquiry(request(backup_dir=str(folder)), Redactor(), RUN, "2026-11-23T03:00:00Z"))


def test_only_migrations_of_that_database_that_succeeded_count(tmp_path: Path) -> None:
    found = asked(
        tmp_path,
        DONE,
        {**DONE, "result": "failed", "schema_shape_after": "bb"},
        {**DONE, "operation": "plan", "schema_shape_after": "cc"},
        {**DONE, "database": "other", "schema_shape_after": "dd"},
        {key: value for key, value in DONE.items() if key != "schema_shape_after"},  # by an earlier version
        {**DONE, "finished": "2026-11-24T03:00:04Z"},
    )
    assert found.facts == {"schemas": {DONE["schema_shape_after"]: "2026-11-24T03:00:04Z"}}


def test_where_nothing_ever_ran_there_is_nothing(tmp_path: Path) -> None:
    assert asked(tmp_path).facts == {"schemas": {}}
