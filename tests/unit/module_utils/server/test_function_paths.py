# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Functions that find their tables by the session's search_path."""

from __future__ import annotations

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.server._database import Setting
from ansible_collections.dbops.postgres.plugins.module_utils.server._function_paths import mend, search_path_of
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import properties


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ((), '"$user", public'),
        ((Setting("", "search_path", "sales, public"),), "sales, public"),
        ((Setting("chat_owner", "search_path", "own"), Setting("", "search_path", "sales")), "sales"),
        ((Setting("chat_owner", "search_path", "own"), Setting("reader", "search_path", "read")), "own"),
        ((Setting("reader", "search_path", "read"), Setting("", "work_mem", "1MB")), '"$user", public'),
    ],
)
def test_the_path_is_the_databases_own_else_its_owners(settings: tuple[Setting, ...], path: str) -> None:
    assert search_path_of(properties(owner="chat_owner", settings=settings)) == path


def test_the_mend_names_the_function_and_no_user() -> None:
    assert mend("public.total()", '"$user", public') == "ALTER ROUTINE public.total() SET search_path = public, pg_temp;"
