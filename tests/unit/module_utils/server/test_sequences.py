# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where sequences stand, and that those in use are not taken for wrong."""

from __future__ import annotations

import psycopg2

from ansible_collections.dbops.postgres.plugins.module_utils.server._sequences import differences, read_sequences, unmoved
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeConnection


def test_they_are_read_by_name() -> None:
    connection = FakeConnection({"FROM pg_sequence": [(1,), (2,)], "pg_sequence_last_value": [("public.a", 7), ("public.b", None)]})
    assert read_sequences(connection) == {"public.a": 7, "public.b": None}  # type: ignore[arg-type]


def test_one_that_somebody_is_changing_is_not_waited_for() -> None:
    connection = FakeConnection(
        {"FROM pg_sequence": [(1,)], "pg_sequence_last_value": psycopg2.Error("canceling statement due to lock timeout")}
    )
    assert read_sequences(connection) is None  # type: ignore[arg-type]
    assert connection.statements[1] == "SET lock_timeout = '2s'" and connection.statements[-1] == "RESET lock_timeout"
    assert unmoved(None, {"a": 1}) == unmoved({"a": 1}, None) == {}
    assert differences({"a": 7}, None) == []


def test_not_all_of_many_are_locked_at_once() -> None:
    """All sessions of a server share the room for locks: 10,000 at a time would make others fail."""
    asked: list[int] = []

    def values(_text: str, parameters: tuple[list[int]]) -> list[tuple[str, int]]:
        asked.append(len(parameters[0]))
        return [("s%d" % number, number) for number in parameters[0]]

    connection = FakeConnection({"FROM pg_sequence": [(number,) for number in range(450)], "pg_sequence_last_value": values})
    assert len(read_sequences(connection) or {}) == 450  # type: ignore[arg-type]
    assert asked == [200, 200, 50]


def test_those_that_moved_meanwhile_are_left_out() -> None:
    assert unmoved({"a": 7, "b": None, "c": 1, "d": 2}, {"a": 7, "b": None, "c": 2}) == {"a": 7, "b": None}


def test_each_that_stands_elsewhere_is_named() -> None:
    assert differences({"a": 7, "b": None, "c": 1, "d": 2}, {"a": 7, "b": 3, "c": None, "e": 1}) == [
        "sequence b stands at 3 instead of its start",
        "sequence c stands at its start instead of 1",
        "sequence d is missing",
    ]
