# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is read of a server becomes data. That the queries are right, the end-to-end tests show on real servers."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.server import _vitals
from ansible_collections.dbops.postgres.plugins.module_utils.server._vitals import (
    Age,
    Collations,
    Connections,
    Sequence,
    Slot,
    Transaction,
    Wait,
)
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeConnection


def server(answer: list[tuple[t.Any, ...]], **options: t.Any) -> t.Any:
    return FakeConnection({"": answer}, **options)


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ((10, 97, 5, -1), Connections(10, 97, "server")),
        ((10, 97, 5, 6), Connections(5, 6, "database")),
        ((90, 97, 5, 100), Connections(90, 97, "server")),
        ((0, 97, 0, 0), Connections(0, 0, "database")),
    ],
)
def test_the_limit_that_is_nearer_counts(answer: tuple[int, ...], wanted: Connections) -> None:
    assert _vitals.connections(server([answer]), "chat") == wanted


def test_the_longest_transaction_is_told_or_there_is_none() -> None:
    columns = (7, "ann", "psql", "10.0.0.5", "active", 61.5)
    assert _vitals.longest_transaction(server([columns]), "chat") == Transaction(*columns)
    assert _vitals.longest_transaction(server([]), "chat") is None


def test_a_blocker_is_named_once() -> None:
    assert _vitals.waits(server([(9, "app", 2.5, [7, 7, 0])]), "chat") == [Wait(9, "app", 2.5, (7, 0))]


def test_slots_and_ages_become_data() -> None:
    assert _vitals.slots(server([("a", False, "reserved", 5)])) == [Slot("a", False, "reserved", 5)]
    connection = server([("chat", 5, 200, 1600)])
    assert _vitals.ages(connection) == [Age("transaction ids", "chat", 5, 200, 1600), Age("multixact ids", "chat", 5, 200, 1600)]
    assert connection.said("vacuum_multixact_failsafe_age")


def test_collations_of_a_server_that_keeps_no_version_for_a_database() -> None:
    assert _vitals.collations(FakeConnection({"count(DISTINCT": [(2,)]}, server_version=140000)) == Collations("", "", 2)
    answers = {"count(DISTINCT": [(0,)], "datcollversion": [("2.31", "2.36")]}
    assert _vitals.collations(FakeConnection(answers)) == Collations("2.31", "2.36", 0)


def test_the_fullest_sequence_comes_first() -> None:
    found = _vitals.sequences(server([("a", 1, 100), ("b", 90, 100), ("c", 5, 0)]))
    assert found == [Sequence("c", 5, 0), Sequence("b", 90, 100), Sequence("a", 1, 100)]


def test_whoever_looks_does_not_wait() -> None:
    connection = server([])
    _vitals.set_limit(connection)
    assert connection.said("statement_timeout")


def test_names_and_values_travel_as_parameters() -> None:
    connection = FakeConnection({"current_setting('max_connections')": [(1, 97, 1, -1)]})
    _vitals.connections(connection, "it's")
    _vitals.longest_transaction(connection, "it's")
    _vitals.waits(connection, "it's")
    assert not connection.said("it's")
