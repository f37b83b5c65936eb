# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tables of variables in the documents are those of the roles' argument specifications."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
_spec = importlib.util.spec_from_file_location("generate_role_tables", ROOT / "docs" / "generate_role_tables.py")
generator = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generator)


def test_no_table_is_stale() -> None:
    assert generator.main(["--check"]) == 0


@pytest.mark.parametrize("role", ROLES)
def test_a_role_shows_its_variables_and_says_what_it_does_twice_in_check_mode_and_how_to_go_back(role: str) -> None:
    text = (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8")
    assert generator.roles_shown(text) == [role]
    assert {"Variables", "Idempotence", "Check mode", "Roll-back"} <= set(re.findall(r"^## (.+)$", text, re.MULTILINE))


@pytest.mark.parametrize("name", generator.OTHER_DOCUMENTS)
def test_the_guides_show_the_variables_of_every_role_that_has_some(name: str) -> None:
    shown = generator.roles_shown((ROOT / name).read_text(encoding="utf-8"))
    assert sorted(shown) == [role for role in ROLES if generator.options_of(role)]


def _make_role(root: Path, description: str) -> None:
    path = root / "roles" / "fetch" / "meta" / "argument_specs.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "argument_specs:\n  main:\n    options:\n"
        f"      dbops_fetch_kind:\n        description: [{description}]\n        type: str\n        default: a|b\n        choices: [a|b, c]\n"
        "      dbops_fetch_names:\n        description: Names.\n        type: list\n        elements: str\n        required: true\n",
        encoding="utf-8",
    )
    (root / "docs").mkdir(exist_ok=True)


DOCUMENT = "# x\n<!-- variables of fetch: generated -->\nold\n<!-- end of variables -->\nmore\n"


def test_a_table_is_written_between_its_markers_and_nothing_else_changes(tmp_path: Path) -> None:
    _make_role(tmp_path, "What kind.")
    assert generator.filled(DOCUMENT, "en", tmp_path) == (
        "# x\n<!-- variables of fetch: generated -->\n\n"
        "| Variable | Type | Default | What it is |\n|---|---|---|---|\n"
        '| `dbops_fetch_kind` | str | `"a\\|b"` | What kind. One of `a\\|b`, `c`. |\n'
        "| `dbops_fetch_names` | list of str | **required** | Names. |\n\n"
        "<!-- end of variables -->\nmore\n"
    )


@pytest.mark.parametrize("translated", ["What kind.", "What it was called before."])
def test_a_translation_of_an_older_sentence_is_not_used(tmp_path: Path, translated: str) -> None:
    _make_role(tmp_path, "What kind.")
    (tmp_path / generator.TRANSLATIONS).write_text(
        f"dbops_fetch_kind: {{of: {translated}, ja: 種類。}}\ndbops_fetch_names: {{of: Names., ja: 名前。}}\n", encoding="utf-8"
    )
    if translated == "What kind.":
        assert "種類。 選択肢: `a\\|b`, `c`." in generator.filled(DOCUMENT, "ja", tmp_path)
    else:
        with pytest.raises(generator.Stale, match="dbops_fetch_kind"):
            generator.filled(DOCUMENT, "ja", tmp_path)
