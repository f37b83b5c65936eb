# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the rules of `plugins/module_utils/risk/_rules.py` (in Japanese: `_rules_ja.py`) into docs/risks.md and docs/risks.ja.md.

python3 docs/generate_risks.py           brings the pages up to date
python3 docs/generate_risks.py --check   changes nothing, and fails where one is stale
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("docs/risks.md", "docs/risks.ja.md")
_BEGIN, _END = "<!-- the rules: generated from the code by docs/generate_risks.py -->", "<!-- end of the rules -->"
_HEADINGS = {"docs/risks.md": ("Rule", "Why", "Safer"), "docs/risks.ja.md": ("規則", "理由", "より安全な方法")}


def read(name: str) -> ModuleType:
    path = ROOT / "plugins" / "module_utils" / "risk" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"risk{name}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its data classes look themselves up there
    spec.loader.exec_module(module)
    return module


def read_rules(page: str) -> list[tuple[str, str, str]]:
    rules = read("_rules").RULES.values()
    if page.endswith(".ja.md"):
        japanese = read("_rules_ja").JAPANESE
        return [(rule.id, *japanese[rule.id]) for rule in rules]
    return [(rule.id, rule.why, rule.safer) for rule in rules]


def table(page: str) -> str:
    rows = [_HEADINGS[page], ("---", "---", "---")]
    rows += [(f"`{name}`", _shown(why), _shown(safer)) for name, why, safer in read_rules(page)]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def _shown(text: str) -> str:
    """What is filled in for an object is an ellipsis here."""
    return re.sub(r"\{\w+\}", "…", text).replace("|", "\\|").replace("<", "&lt;")


def rendered(page: str, text: str) -> str:
    begin, end = text.index(_BEGIN) + len(_BEGIN), text.index(_END)
    return f"{text[:begin]}\n\n{table(page)}\n{text[end:]}"


def main(arguments: list[str]) -> int:
    stale = []
    for page in PAGES:
        path = ROOT / page
        before = path.read_text(encoding="utf-8")
        after = rendered(page, before)
        if after != before:
            stale.append(page)
            if "--check" not in arguments:
                path.write_text(after, encoding="utf-8")
    for page in stale:
        sys.stdout.write(f"{page}: {'is stale' if '--check' in arguments else 'written'}\n")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
