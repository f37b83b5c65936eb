# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The chart of the last backups: drawn by a library, fit for a page that opens from the disk, and missed by nobody who has not got it."""

from __future__ import annotations

import re
import sys
import typing as t
import xml.etree.ElementTree as ET

import pytest

from ansible_collections.dbops.postgres.plugins.filter.backup_chart import backup_chart

HISTORY: list[dict[str, t.Any]] = [
    {"id": f"chat_202611{day:02d}_030000", "created": f"2026-11-{day:02d}T03:00:00Z", "size": day * 10**8, "seconds": 60 + day}
    for day in range(1, 31)
]


@pytest.fixture
def drawn() -> str:
    pytest.importorskip("pygal")
    return backup_chart(HISTORY)


def bars(svg: str) -> list[float]:
    return [float(height) for height in re.findall(r'<rect[^>]*height="([\d.]+)"[^>]*class="rect reactive', svg)]


def test_every_backup_is_a_bar_as_high_as_it_was_large(drawn: str) -> None:
    sizes = bars(drawn.partition("Duration")[0])
    assert len(sizes) == 30 and sizes == sorted(sizes)
    assert sizes[-1] / sizes[0] == pytest.approx(30, rel=0.02)
    assert {"Size of the backups", "Duration", "11-01", "11-30"} <= set(re.findall(r">([^<>]+)<", drawn))


def test_it_asks_nobody_for_anything(drawn: str) -> None:
    assert "<script" not in drawn and "<!--" not in drawn
    assert set(re.findall(r"https?://[^\s\"']+", drawn)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    ET.fromstring(f"<div>{drawn}</div>")  # noqa: S314  # our own


@pytest.mark.parametrize("history", [None, [], HISTORY[:1], ["x", 1]])
def test_what_is_no_history_is_no_chart(history: t.Any) -> None:
    assert backup_chart(history) == ""


def test_what_a_host_sends_is_only_text(drawn: str) -> None:
    evil = [dict(item, created="<script>alert(1)</script>", id="</svg><script>x</script>", size=None) for item in HISTORY]
    assert "<script" not in backup_chart(evil)


def test_without_the_library_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygal", None)
    assert backup_chart(HISTORY) == ""
