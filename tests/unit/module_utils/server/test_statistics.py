# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A function of the user's that fails does not cost a restore, nor the other tables their statistics."""

from __future__ import annotations

import psycopg2

from ansible_collections.dbops.postgres.plugins.module_utils.server._statistics import analyze, warning
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeConnection

NO_TENANT = psycopg2.DatabaseError("no tenant is set\nCONTEXT:  PL/pgSQL function share(integer)")


def test_all_at_once_where_nothing_fails() -> None:
    connection = FakeConnection()
    assert analyze(connection, "public") == []  # type: ignore[arg-type]
    assert connection.said("ANALYZE") == ["ANALYZE"]


def test_table_by_table_where_something_does() -> None:
    connection = FakeConnection(
        {
            'ANALYZE "public"."orders"': [],
            "ANALYZE": NO_TENANT,
            "FROM pg_class": [("public", "orders"), ("public", "parts")],
        }
    )
    failures = analyze(connection, "public")  # type: ignore[arg-type]
    assert failures == ["public.parts: no tenant is set"]
    assert "'chat'" in warning("chat", failures) and failures[0] in warning("chat", failures)
