# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the JUnit files that pytest and ansible-test write: what they say there is counted, not what their summary claims."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True)
class Case:
    """One test: its name, its outcome, and the reason or the failure's text."""

    name: str
    outcome: str
    text: str = ""


def read(reports: Iterable[Path]) -> list[Case]:
    """All cases of these files; a missing or broken file has none."""
    return [case for report in reports for case in _cases(report)]


def _cases(report: Path) -> list[Case]:
    try:
        tree = ElementTree.parse(report)  # noqa: S314  the file was written a moment ago by our own test run
    except (OSError, ElementTree.ParseError):
        return []
    return [_case(element) for element in tree.iter("testcase")]


def _case(element: ElementTree.Element) -> Case:
    name = element.get("name", "?")
    for tag, outcome in (("failure", FAILED), ("error", FAILED), ("skipped", SKIPPED)):
        found = element.find(tag)
        if found is not None:
            return Case(name, outcome, (found.text or found.get("message") or "").strip())
    return Case(name, PASSED)
