# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pages about risks show every rule as the code has it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
_spec = importlib.util.spec_from_file_location("generate_risks", ROOT / "docs" / "generate_risks.py")
generator = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generator)


@pytest.mark.parametrize("page", generator.PAGES)
def test_a_page_shows_every_rule(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert generator.rendered(page, text) == text
    assert len(generator.read_rules(page)) > 50
    assert all(f"| `{name}` |" in text for name, _why, _safer in generator.read_rules(page))
