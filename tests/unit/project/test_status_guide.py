# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guide to status.yml names every check that can find something, in both languages, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MODULE_UTILS = ROOT / "plugins" / "module_utils"

#: Parts of the look that are found by the name of what could not be read; `server` and `database` have their row.
ROWS_OF_PARTS = {"server", "database"}


def checks() -> set[str]:
    found = set(ROWS_OF_PARTS)
    for node in ast.walk(ast.parse((MODULE_UTILS / "looks" / "_judgement.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding" and isinstance(node.args[0], ast.Constant):
            found.add(node.args[0].value)
    return found | set(re.findall(r'"check": "(\w+)"', (MODULE_UTILS / "looks" / "_overview.py").read_text(encoding="utf-8")))


@pytest.mark.parametrize("guide", ["status.md", "status.ja.md"])
def test_the_guide_explains_every_check(guide: str) -> None:
    rows = re.findall(r"^\| ((?:`\w+`[,、 ]*)+) \|", (ROOT / "docs" / guide).read_text(encoding="utf-8"), re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([a-z]+)`", row)]
    assert len(named) == len(set(named))
    assert set(named) == checks()
