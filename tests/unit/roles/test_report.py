# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report's words: each that a template says is there in Japanese, and none that nobody says."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from ansible_collections.dbops.postgres.plugins.module_utils.gates import _gates
from ansible_collections.dbops.postgres.plugins.module_utils.rehearsal import _versions
from ansible_collections.dbops.postgres.plugins.module_utils.risk._rules import Level

ROLE = Path(__file__).resolve().parents[3] / "roles" / "migrate"
WORDS = yaml.safe_load((ROLE / "files" / "report.ja.yml").read_text(encoding="utf-8"))
TEMPLATES = [path.read_text(encoding="utf-8") for path in sorted((ROLE / "templates").glob("report.*.j2"))]

#: What the templates say by the value of a fact.
VALUES = {
    *(level.word for level in Level),
    *(_gates.PASSED, _gates.FAILED, _gates.OVERRULED, _gates.NOT_APPLICABLE),
    *(_versions.WORKS, _versions.FAILS, _versions.UNKNOWN),
}


def test_every_word_of_a_report_is_there_in_japanese_and_none_besides() -> None:
    said = {text for template in TEMPLATES for text in re.findall(r"\bt\('([^']+)'\)", template)}
    assert len(TEMPLATES) == 2 and len(said) > 30
    assert set(WORDS) == said | VALUES
    assert all(isinstance(text, str) and text for text in WORDS.values())
