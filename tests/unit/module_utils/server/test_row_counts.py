# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Counts of rows: how they are taken, compared, and told apart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbops.postgres.plugins.module_utils.server._row_counts import (
    TableRows,
    changes,
    count_large_objects,
    count_newer_rows,
    count_rows,
    differences,
)
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeConnection

counts = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.integers(0, 3)).map(
    lambda found: tuple(TableRows("public", name, number) for name, number in found.items())
)


def rows(**numbers: int) -> tuple[TableRows, ...]:
    return tuple(TableRows("public", name, number) for name, number in numbers.items())


def test_every_table_is_counted_without_its_children_and_with_its_name_quoted() -> None:
    connection = FakeConnection({"FROM pg_class c JOIN": [("public", "users"), ("app", 'odd"table')], "count(*)": [(7,)]})
    assert count_rows(connection) == (TableRows("public", "users", 7), TableRows("app", 'odd"table', 7))
    assert connection.statements.index("SET row_security = off") < connection.statements.index(connection.said("count(*)")[0])
    # else a policy could hide rows
    assert connection.said("count(*)") == ['SELECT count(*) FROM ONLY "public"."users"', 'SELECT count(*) FROM ONLY "app"."odd""table"']
    assert TableRows("app", "x", 1).name == "app.x"


def test_newer_rows_are_those_of_later_transactions() -> None:
    connection = FakeConnection(
        {
            "pg_snapshot_xmax": [(1000,)],
            "FROM pg_class c JOIN": [("public", "users"), ("public", "rooms")],
            '"users"': [(3,)],
            '"rooms"': [(0,)],
        }
    )
    assert count_newer_rows(connection, 750) == {"public.users": 3}
    assert connection.said('"users"') == ['SELECT count(*) FROM ONLY "public"."users" WHERE age(xmin) <= 250']


def test_large_objects_are_counted() -> None:
    assert count_large_objects(FakeConnection({"pg_largeobject_metadata": [(2,)]})) == 2


def test_every_kind_of_difference_is_a_sentence() -> None:
    assert differences(rows(gone=2, fewer=5, same=1), rows(fewer=4, same=1, new=9)) == [
        "table public.fewer has 4 rows instead of 5",
        "table public.gone is missing (2 rows)",
        "table public.new is not in the backup (9 rows)",
    ]


@given(counts, counts)
def test_there_is_no_difference_exactly_where_the_counts_are_equal(one: tuple, other: tuple) -> None:
    assert (differences(one, other) == []) == (set(one) == set(other))


@given(counts, counts)
def test_changes_add_up(before: tuple, after: tuple) -> None:
    gained = changes(before, after)
    assert sum(gained.values()) == sum(item.rows for item in after) - sum(item.rows for item in before)
    assert 0 not in gained.values()


def test_lost_rows_are_negative() -> None:
    assert changes(rows(users=5, rooms=1), rows(users=2, seats=3, rooms=1)) == {"public.seats": 3, "public.users": -3}
