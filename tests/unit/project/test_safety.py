# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The safety model names, for each promise, the tests that show it: they are there, and molecule runs them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROMISES = [f"S{number}" for number in range(1, 9)]


def named(guide: str) -> dict[str, list[str]]:
    """The tests by promise."""
    lines = re.findall(r"^\| (S\d) \| (`test_.*?|`conftest.*?) \|", (ROOT / "docs" / guide).read_text(encoding="utf-8"), re.MULTILINE)
    return {promise: re.findall(r"`(\w+\.py)`", tests) for promise, tests in lines}


@pytest.mark.parametrize("guide", ["safety.md", "safety.ja.md"])
def test_every_promise_names_tests_that_are_run(guide: str) -> None:
    assert list(named(guide)) == PROMISES
    run = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "molecule").glob("*/verify.yml"))
    for tests in named(guide).values():
        assert tests
        for name in tests:
            assert (ROOT / "tests" / "e2e" / name).is_file()
            assert name == "conftest.py" or f"tests/e2e/{name}" in run


def test_both_languages_name_the_same() -> None:
    assert named("safety.md") == named("safety.ja.md")
