# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which tables are digested, by whom, and how. What a digest sees is tested on real servers, in tests/e2e/test_awkward_databases.py."""

from __future__ import annotations

import contextlib
import typing as t

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.server._contents import Contents, differences, read_contents
from ansible_collections.dbops.postgres.plugins.module_utils.server._row_counts import TableRows
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeConnection

ANSWERS: dict[str, t.Any] = {
    "ORDER BY c.relpages DESC": [("public", "large", 1), ("public", "mid", 2), ("a", "none", 3)],
    "array_agg(a.attname": [(1, ["id", "n", "v"], ["itself", "float8", "bytes"]), (2, ["x", "y"], ["text", "float4"])],
    "hash_record_extended": [(2, "18446744073709551617", "-1")],
}


def read(jobs: int) -> tuple[Contents, list[FakeConnection]]:
    opened: list[FakeConnection] = []

    def session() -> t.Any:
        opened.append(FakeConnection(ANSWERS))
        return contextlib.nullcontext(opened[-1])

    return read_contents(session, jobs, "app, public"), opened


@pytest.mark.parametrize("jobs", [0, 1, 2, 7])
def test_every_table_is_counted_and_digested_once(jobs: int) -> None:
    found, opened = read(jobs)
    assert found.tables == (TableRows("a", "none", 2), TableRows("public", "large", 2), TableRows("public", "mid", 2))
    assert found.digests == dict.fromkeys(("a.none", "public.large", "public.mid"), "0000000000000001ffffffffffffffff")
    assert len(opened) == max(1, jobs) + 1
    queries = [query for connection in opened for query in connection.said("hash_record_extended")]
    assert len(queries) == 3
    assert any(
        'ROW(t."id", float8send(t."n"), t."v" COLLATE "C"), 0) AS h FROM ONLY "public"."large" t OFFSET 0' in query for query in queries
    )
    assert any('ROW(t."x"::text, float4send(t."y")), 0)' in query for query in queries)
    assert any('ROW(), 0) AS h FROM ONLY "a"."none" t' in query for query in queries)


def test_the_largest_come_first() -> None:
    _found, [_asking, working] = read(1)
    order = [query.rpartition("ONLY ")[2].split(" t ")[0] for query in working.said("hash_record_extended")]
    assert order == ['"public"."large"', '"public"."mid"', '"a"."none"']


def test_what_a_database_sets_does_not_change_how_values_are_written() -> None:
    _found, [_asking, working] = read(1)
    given = [parameters for text, parameters in zip(working.statements, working.parameters) if "set_config(%s" in text]
    assert ("DateStyle", "ISO, YMD") in given and ("row_security", "off") in given and ("TimeZone", "UTC") in given
    assert ("app, public",) in working.parameters


def test_a_table_that_cannot_be_read_is_an_error() -> None:
    refused = FakeConnection({**ANSWERS, "hash_record_extended": RuntimeError("permission denied")})
    with pytest.raises(RuntimeError, match="permission denied"):
        read_contents(lambda: contextlib.nullcontext(t.cast(t.Any, refused)), 2)


def test_only_tables_that_are_in_both_are_compared() -> None:
    """One that is missing is told by the counts."""
    assert differences({"a": "1", "b": "2", "gone": "3"}, {"a": "1", "b": "9", "new": "4"}) == [
        "table b holds other values than were backed up"
    ]
