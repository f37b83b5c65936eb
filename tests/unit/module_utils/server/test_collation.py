# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The version by which a database was sorted, and the present one."""

from __future__ import annotations

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.server._collation import CollationVersion, collation_version
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeConnection


@pytest.mark.parametrize(
    ("answer", "server_version", "differs"),
    [
        ([("2.31", "2.36")], 150000, True),
        ([("2.36", "2.36")], 150000, False),
        ([("", "2.36")], 150000, False),
        ([("2.31", "")], 150000, False),
        ([], 150000, False),
        ([("2.31", "2.36")], 140000, False),
    ],
    ids=["another", "the same", "never recorded", "not known now", "no such database", "before 15"],
)
def test_only_two_known_versions_can_differ(answer: list[tuple[str, str]], server_version: int, differs: bool) -> None:
    connection = FakeConnection({"datcollversion": answer}, server_version=server_version)
    assert collation_version(connection, "chat").differs is differs  # type: ignore[arg-type]
    assert CollationVersion().differs is False
