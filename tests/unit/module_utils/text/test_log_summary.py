# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logs in a few lines: grouped by what is the same, whatever bytes they hold and however long they are."""

from __future__ import annotations

import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbops.postgres.plugins.module_utils.text._log_summary import (
    LogGroup,
    is_telling,
    masked,
    summarise,
    summarise_lines,
)

LOG = """\
2026-11-23 02:00:01.123 UTC [41] LOG:  checkpoint complete
2026-11-23 02:00:02.123 UTC [42] ERROR:  relation "messages" does not exist at character 15
2026-11-23 02:00:03.456 UTC [43] ERROR:  relation "messages" does not exist at character 15
2026-11-23 02:00:04.456 UTC [44] FATAL:  password authentication failed for user "postgres"
"""


def test_lines_that_differ_in_numbers_and_times_only_are_one_group() -> None:
    found = summarise(LOG)
    assert found.lines == 4 and found.errors == 3
    assert [group.count for group in found.groups] == [2, 1]
    assert "02:00:03.456" in found.groups[0].last
    assert found.tail[-1] == found.last_errors[-1] == LOG.splitlines()[-1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("error in request 7f3a9c0d11e2b4aa", "error in request 0123456789abcdef"),
        ("error 550e8400-e29b-41d4-a716-446655440000", "error 123e4567-e89b-12d3-a456-426614174000"),
        ("dial tcp 172.19.0.3:5432: connection refused error", "dial tcp 10.0.0.1:99: connection refused error"),
        ("2026/11/23 02:00:01 ERROR a", "2026/11/24 03:11:09 ERROR a"),
        ("\x1b[31mERROR\x1b[0m a", "ERROR a"),
        ("ERROR   a", "ERROR a"),
    ],
)
def test_what_differs_by_chance_is_masked(one: str, other: str) -> None:
    assert masked(one) == masked(other)


@pytest.mark.parametrize(
    "line", ["level=error msg=x", "panic: runtime error", "FATAL:  x", "Traceback (most recent call last):", "connection refused: failed"]
)
def test_lines_that_tell(line: str) -> None:
    assert is_telling(line)


@pytest.mark.parametrize("line", ["LOG:  checkpoint complete", "done, 0 errors", '{"error": null}', "no errors found", "terror"])
def test_lines_that_do_not(line: str) -> None:
    assert not is_telling(line)


@given(st.binary(max_size=2000))
def test_binary_logs_are_read_and_shown_harmlessly(data: bytes) -> None:
    found = summarise(data.decode("utf-8", "replace"))
    shown = "".join([*found.tail, *(group.last for group in found.groups)])
    assert shown.isprintable()


def test_kinds_are_counted_up_to_a_limit() -> None:
    found = summarise_lines("ERROR %s" % "".join(chr(97 + number // 26**place % 26) for place in range(4)) for number in range(2000))
    assert found.errors == 2000 and found.others == 1500
    assert len(found.groups) == 500


def test_memory_does_not_grow_with_a_log() -> None:
    long = itertools.repeat("ERROR " + "x" * 100_000 + "\n", 2000)  # 200 MB
    tracemalloc.start()
    found = summarise_lines(long)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.groups == (LogGroup(2000, "ERROR " + "x" * 494),)
    assert peak < 2_000_000


def test_a_group_is_found_by_what_it_says() -> None:
    assert "password" in summarise(LOG).mentions("authentication failed")
    assert summarise(LOG).mentions("no such thing") == ""
