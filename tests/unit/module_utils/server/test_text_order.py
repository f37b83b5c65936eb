# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What sorts text is found by the catalogue, and rows are asked without the indexes that are doubted."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.server._text_order import _DOUBTING, TextOrder, leftovers, read_text_order
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeConnection

UNIQUE = (7, "public.users_name_key", "public.users", True, False, 16384, 1, False, "active", [100])
OVERLAP = (8, "public.booked_excl", "public.booked", False, True, 8192, 1, False, "", [12])


def read(default: bool = False, everything: bool = False, **answers: t.Any) -> tuple[TextOrder, FakeConnection]:
    known: dict[str, t.Any] = {
        "datlocprovider": [(False,)],
        "pg_collation_actual_version": [
            (12, "public.moved", True, True),
            (13, "public.same", False, True),
            (14, "public.silent", False, False),
        ],
        "pg_get_indexdef": [("name", 'pg_catalog."default"')],
        "NOT i.indisvalid": [("public.users_name_key_ccnew", True), ("public.broken", False)],
        "FROM pg_index i": [OVERLAP, UNIQUE],
        "HAVING count(*) > 1": [(0, None)],
        **answers,
    }
    connection = FakeConnection(known)
    return read_text_order(t.cast(t.Any, connection), default, everything), connection


def test_where_nothing_has_changed_nothing_is_asked_further() -> None:
    order, connection = read(pg_collation_actual_version=[(13, "public.same", False, True)])
    assert order == TextOrder() and not connection.said("pg_index")


def test_a_locale_that_sorts_bytes_does_not_change() -> None:
    order, _connection = read(default=True, datlocprovider=[(True,)], pg_collation_actual_version=[])
    assert order == TextOrder()


def test_collations_and_the_databases_own_are_looked_for_by_their_numbers() -> None:
    order, connection = read(default=True)
    assert order.collations == ("public.moved",) and order.default
    asked = next(given for said, given in zip(connection.statements, connection.parameters) if "FROM pg_index i JOIN" in said and given)
    assert asked == {"collations": [12, 100]}
    everything, _connection = read(everything=True)
    assert everything.collations == ("public.moved", "public.same") and everything.default, "of one without a version none can be noted"
    asked = next(given for said, given in zip(_connection.statements, _connection.parameters) if "FROM pg_index i JOIN" in said and given)
    assert asked == {"collations": [12, 13, 14, 100]}


def test_all_but_exclusion_constraints_are_rebuilt_concurrently() -> None:
    order, _connection = read()
    assert [index.statement for index in order.indexes] == [
        "REINDEX INDEX public.booked_excl",
        "REINDEX INDEX CONCURRENTLY public.users_name_key",
    ]


def test_duplicates_are_looked_for_in_the_rows_themselves() -> None:
    order, connection = read(**{"HAVING count(*) > 1": [(2, "'(0,1)', '(0,9)'")]})
    [wrong] = order.wrong
    assert str(wrong) == (
        "2 keys of unique index public.users_name_key on public.users are there more than once; they are shown by:"
        " SELECT ctid, * FROM public.users WHERE ctid IN ('(0,1)', '(0,9)')"
    )
    [asked] = connection.said("HAVING count(*) > 1")
    assert asked.startswith("SELECT count(*), min(ids) FROM (SELECT string_agg")
    assert """(name) COLLATE pg_catalog."default" AS key_0 FROM ONLY public.users WHERE (active)""" in asked
    assert """(((name) COLLATE pg_catalog."default") IS NOT NULL)) k GROUP BY key_0 HAVING""" in asked
    where = connection.statements.index(asked)
    assert connection.statements[where - 5 : where] == ["BEGIN", *("SET LOCAL %s = off" % name for name in _DOUBTING)]
    assert connection.statements[where + 1] == "COMMIT", "the session keeps its settings"


@pytest.mark.parametrize("equal", [True, False])
def test_where_nulls_are_equal_they_are_looked_at_too(equal: bool) -> None:
    index = (*UNIQUE[:7], equal, "", [100])
    _order, connection = read(**{"FROM pg_index i": [index]})
    assert ("IS NOT NULL" in connection.said("HAVING count(*) > 1")[0]) is not equal


def test_parts_and_checks_that_no_longer_hold_are_named() -> None:
    order, _connection = read(
        pg_partition_ancestors=[("public.low", "name < 'm'", True), ("public.odd", "x", False)],
        **{"k.conbin": [("public.shop", "code_check", "code < 'a'")], "FROM ONLY public.low": [(3,)], "FROM ONLY public.shop": [(0,)]},
    )
    [wrong] = order.wrong
    assert str(wrong) == (
        "3 rows of public.low belong into another part of the table; they are shown by:"
        " SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off; SET constraint_exclusion = off;"
        " SELECT ctid, * FROM ONLY public.low WHERE NOT (name < 'm')"
    )
    assert order.not_asked == ("public.odd",)


def test_what_a_rebuild_has_left_is_told_from_other_invalid_indexes() -> None:
    order, connection = read()
    assert (order.leftovers, order.invalid) == (("public.users_name_key_ccnew",), ("public.broken",))
    assert leftovers(t.cast(t.Any, connection)) == ["public.users_name_key_ccnew"]


def test_a_policy_that_would_hide_rows_is_an_error() -> None:
    _order, connection = read()
    assert connection.statements[0] == "SET row_security = off"
