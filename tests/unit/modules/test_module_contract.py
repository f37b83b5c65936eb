# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every module promises: documented in full, in the action group, a short `main()`, its logic in `module_utils`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
MODULES = sorted((ROOT / "plugins" / "modules").glob("*.py"))
FRAGMENT = "dbops.postgres.target"
GROUP = "dbops.postgres.database"
STANDARD = ("__future__", "re", "typing")
MAX_MAIN = 16  # "about eight lines", and an argument specification

_OWN = "ansible_collections.dbops.postgres.plugins.module_utils."


def strings_of(path: Path) -> dict[str, str]:
    """The module's top-level text constants, such as DOCUMENTATION."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            found.update({target.id: node.value.value for target in node.targets if isinstance(target, ast.Name)})
    return found


def is_documented(path: Path) -> list[str]:
    strings = strings_of(path)
    complaints = [f"{name} is missing or empty" for name in ("DOCUMENTATION", "EXAMPLES", "RETURN") if not strings.get(name, "").strip()]
    documentation = yaml.safe_load(strings.get("DOCUMENTATION", "")) or {}
    if documentation.get("module") != path.stem:
        complaints.append(f"documents {documentation.get('module')!r}, not {path.stem!r}")
    attributes = documentation.get("attributes") or {}
    complaints += [
        f"does not say what {name} does" for name in ("check_mode", "diff_mode") if "support" not in (attributes.get(name) or {})
    ]
    return complaints


def shares_the_target_options(path: Path) -> list[str]:
    """The action group hands every module the same options, so every module must take them."""
    documentation = yaml.safe_load(strings_of(path).get("DOCUMENTATION", "")) or {}
    used = documentation.get("extends_documentation_fragment") or []
    return [] if FRAGMENT in ([used] if isinstance(used, str) else used) else [f"does not extend {FRAGMENT}"]


def has_a_short_main(path: Path) -> list[str]:
    functions = {node.name: node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)}
    if "main" not in functions:
        return ["has no main()"]
    lines = (functions["main"].end_lineno or 0) - functions["main"].lineno + 1
    return [f"main() has {lines} lines, more than {MAX_MAIN}"] if lines > MAX_MAIN else []


def leaves_the_work_to_module_utils(path: Path) -> list[str]:
    """A module file imports the collection's own code and typing, nothing that could do work of its own."""
    complaints = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        complaints += [f"imports {name}" for name in names if not name.startswith(_OWN) and name not in STANDARD]
    return complaints


RULES = [is_documented, shares_the_target_options, has_a_short_main, leaves_the_work_to_module_utils]


def test_the_action_group_is_the_list_of_modules() -> None:
    groups = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))["action_groups"]
    assert MODULES
    assert groups == {GROUP.rsplit(".", 1)[-1]: [path.stem for path in MODULES]}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_module_keeps_the_rule(path: Path, rule) -> None:
    assert rule(path) == []


# --- the rules themselves -------------------------------------------------------------------------------------------

GOOD = '''#!/usr/bin/python
from __future__ import annotations

DOCUMENTATION = r"""
module: fetch
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
extends_documentation_fragment: [dbops.postgres.target]
"""
EXAMPLES = "- dbops.postgres.fetch:"
RETURN = "x: {}"

from ansible_collections.dbops.postgres.plugins.module_utils._fetch import fetch
from ansible_collections.dbops.postgres.plugins.module_utils._module import run


def main() -> None:
    run(fetch)
'''

BROKEN = [
    (is_documented, GOOD.replace("RETURN", "RETURNED")),
    (is_documented, GOOD.replace("module: fetch", "module: backup")),
    (is_documented, GOOD.replace("  check_mode: {support: full}\n", "")),
    (shares_the_target_options, GOOD.replace("[dbops.postgres.target]", "[]")),
    (has_a_short_main, GOOD.replace("def main", "def other")),
    (has_a_short_main, GOOD + "    run(fetch)\n" * MAX_MAIN),
    (leaves_the_work_to_module_utils, GOOD + "    import subprocess\n"),
    (leaves_the_work_to_module_utils, GOOD + "    from ansible.module_utils.basic import AnsibleModule\n"),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_good_module_breaks_no_rule(tmp_path: Path, rule) -> None:
    path = tmp_path / "fetch.py"
    path.write_text(GOOD, encoding="utf-8")
    assert rule(path) == []


@pytest.mark.parametrize(("rule", "text"), BROKEN)
def test_a_module_that_breaks_a_rule_is_caught(tmp_path: Path, rule, text: str) -> None:
    path = tmp_path / "fetch.py"
    path.write_text(text, encoding="utf-8")
    assert rule(path)


def test_every_rule_is_shown_to_bite() -> None:
    assert {rule for rule, *_rest in BROKEN} == set(RULES)
