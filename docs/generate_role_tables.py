# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the tables of variables in the documents from the roles' argument specifications.

    python3 docs/generate_role_tables.py           brings the tables up to date
    python3 docs/generate_role_tables.py --check   changes nothing, and fails where a table is stale

A table stands between `<!-- variables of ROLE: ... -->` and `<!-- end of variables -->`. In a document that ends in `.ja.md` the
descriptions are Japanese, from `docs/variables.ja.yml`, which keeps beside each translation the sentence that it translates.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
TRANSLATIONS = "docs/variables.ja.yml"
OTHER_DOCUMENTS = ("docs/variables.md", "docs/variables.ja.md")

_TABLE = re.compile(r"(<!-- variables of (\w+): [^\n]*-->\n).*?(<!-- end of variables -->)", re.DOTALL)
_WORDS = {
    "en": {
        "head": ("Variable", "Type", "Default", "What it is"),
        "required": "required",
        "choices": "One of",
        "none": "It has no variables of its own.",
    },
    "ja": {"head": ("変数", "型", "既定値", "意味"), "required": "必須", "choices": "選択肢:", "none": "固有の変数はありません。"},
}


class Stale(Exception):
    """A translation is missing or translates an older sentence."""


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def options_of(role: str, root: Path = ROOT) -> dict[str, dict[str, Any]]:
    """The variables of a role, all entry points taken together."""
    points = load(root / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]
    return {name: option for point in points.values() for name, option in (point.get("options") or {}).items()}


def description_of(option: dict[str, Any]) -> str:
    text = option["description"]
    return " ".join(text) if isinstance(text, list) else str(text)


def documents(root: Path = ROOT) -> list[Path]:
    return [*sorted(root.glob("roles/*/README.md")), *(root / name for name in OTHER_DOCUMENTS if (root / name).exists())]


def language_of(document: Path) -> str:
    return "ja" if document.name.endswith(".ja.md") else "en"


def translated(name: str, option: dict[str, Any], translations: dict[str, dict[str, str]]) -> str:
    """:raises Stale: where there is no translation of the present sentence."""
    english = description_of(option)
    entry = translations.get(name) or {}
    if entry.get("of") != english:
        raise Stale(f"{TRANSLATIONS}: {name} needs a translation of: {english}")
    return entry["ja"]


def table(options: dict[str, dict[str, Any]], language: str, translations: dict[str, dict[str, str]]) -> str:
    words = _WORDS[language]
    if not options:
        return f"\n{words['none']}\n\n"
    lines = ["", "| " + " | ".join(words["head"]) + " |", "|---|---|---|---|"]
    for name, option in options.items():
        text = description_of(option) if language == "en" else translated(name, option, translations)
        if "choices" in option:
            text += f" {words['choices']} " + ", ".join(f"`{choice}`" for choice in option["choices"]) + "."
        kind = option["type"] + (f" of {option['elements']}" if "elements" in option else "")
        default = f"`{json.dumps(option['default'], ensure_ascii=False)}`" if "default" in option else ""
        default = f"**{words['required']}**" if option.get("required") else default
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in (f"`{name}`", kind, default, text)) + " |")
    return "\n".join([*lines, "", ""])


def filled(text: str, language: str, root: Path = ROOT) -> str:
    """A document with its tables up to date."""
    translations = load(root / TRANSLATIONS) if language == "ja" else {}
    return _TABLE.sub(lambda found: found[1] + table(options_of(found[2], root), language, translations) + found[3], text)


def roles_shown(text: str) -> list[str]:
    """The roles whose tables a document holds."""
    return [found[2] for found in _TABLE.finditer(text)]


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print("usage: docs/generate_role_tables.py [--check]", file=sys.stderr)
        return 2
    stale = []
    for document in documents():
        present = document.read_text(encoding="utf-8")
        try:
            wanted = filled(present, language_of(document))
        except Stale as error:
            print(error, file=sys.stderr)
            return 1
        if wanted != present:
            stale.append(str(document.relative_to(ROOT)))
            if not arguments:
                document.write_text(wanted, encoding="utf-8")
    for name in stale:
        print(f"{name}: {'stale, run docs/generate_role_tables.py' if arguments else 'written'}")
    return 1 if stale and arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
