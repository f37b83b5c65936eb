# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may know whom inside `plugins/module_utils`: an import against the order is a defect, and so is one that leaves the house."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MODULE_UTILS = sorted((ROOT / "plugins" / "module_utils").glob("*.py"))

#: From top to bottom. A file may import only from layers below its own. A file that is named nowhere is an operation: it knows
#: everything below, and nobody but `_module` knows it.
TOP = {"_module"}
LAYERS: list[set[str]] = [
    {"_seed", "_survey"},  # a reset ends with a seed; what those who only look share
    {"_backup"},  # what changes a database begins with it
    {"_branch_conflicts"},
    {"_expected_schemas"},
    {"_baseline", "_kept_tables", "_plan", "_restore_source", "_usage", "_watchdog"},
    {"_diagnosis_look"},
    {"_diagnosis_queries", "_sandbox"},
    {"_operation"},  # what every operation has in common
    {"_diagnosis_contents"},
    {"_diagnosis_backends", "_diagnosis_containers", "_diagnosis_report", "_diagnosis_server", "_dump", "_runner"},
    {"_health", "_overview", "_roles", "_swap", "_target"},
    {"_archive", "_diagnosis_facts", "_observed", "_schema_needs"},
    {"_backend", "_branches", "_database", "_lock", "_row_counts", "_schema", "_vitals"},
    {"_bundle", "_connection_url", "_docker", "_guard", "_journal", "_postgres"},
    {"_env_file", "_inspected", "_log_summary", "_measure", "_plain_file", "_process", "_redaction", "_statements"},
    {"_errors"},
]

#: What only some files may use, because the knowledge lives there.
ONLY = {
    "subprocess": {"_process"},
    "psycopg2": {"_postgres"},
    "ansible": {"_module"},
}
_OWN = "ansible_collections.dbops.postgres.plugins.module_utils."


def level(name: str) -> int:
    """How high a file stands: 0 is the bottom."""
    if name in TOP:
        return len(LAYERS) + 1
    return next((len(LAYERS) - 1 - depth for depth, layer in enumerate(LAYERS) if name in layer), len(LAYERS))


def imports_of(source: str) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and f"{node.module}." == _OWN:
            names += [_OWN + alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append("." * node.level + (node.module or ""))
    return names


def layering(name: str, source: str) -> list[str]:
    complaints = []
    for imported in imports_of(source):
        if imported.startswith("."):
            complaints.append(f"{name} imports {imported} by a relative name, which Ansible cannot pack reliably")
        elif imported.startswith(_OWN):
            other = imported[len(_OWN) :].split(".")[0]
            if level(other) >= level(name):
                complaints.append(f"{name} (layer {level(name)}) imports {other} (layer {level(other)})")
    return complaints


def stays_in_the_house(name: str, source: str) -> list[str]:
    complaints = []
    for imported in imports_of(source):
        top = imported.split(".")[0]
        if name not in ONLY.get(top, {name}):
            complaints.append(f"{name} imports {imported}, which only {', '.join(sorted(ONLY[top]))} may")
    return complaints


def uses_no_shell(name: str, source: str) -> list[str]:
    complaints = []
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.keyword)
            and node.arg in ("shell", "use_unsafe_shell")
            and not (isinstance(node.value, ast.Constant) and node.value.value is False)
        ):
            complaints.append(f"{name} line {node.value.lineno}: {node.arg}=")
        if isinstance(node, ast.Attribute) and (getattr(node.value, "id", ""), node.attr) in (("os", "system"), ("os", "popen")):
            complaints.append(f"{name} line {node.lineno}: os.{node.attr}")
    return complaints


def is_private_and_licensed(name: str, source: str) -> list[str]:
    complaints = [] if name.startswith("_") else [f"{name} is not private by name"]
    complaints += [] if "SPDX-License-Identifier: GPL-3.0-or-later" in source else [f"{name} carries no license line"]
    lazy = "from __future__ import annotations" in source
    return complaints + ([] if lazy else [f"{name} does not keep its annotations lazy, so Python 3.8 cannot read new ones"])


RULES = [layering, stays_in_the_house, uses_no_shell, is_private_and_licensed]


def test_there_is_code() -> None:
    assert MODULE_UTILS


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", MODULE_UTILS, ids=lambda path: path.stem)
def test_file_keeps_the_rule(path: Path, rule) -> None:
    assert rule(path.stem, path.read_text(encoding="utf-8")) == []


# --- the rules themselves -------------------------------------------------------------------------------------------

HEAD = "# SPDX-License-Identifier: GPL-3.0-or-later\nfrom __future__ import annotations\n"

GOOD = [
    ("_backup", HEAD + f"import json\nfrom {_OWN}_archive import x\nfrom {_OWN}_docker import y\n"),
    ("_module", HEAD + f"from ansible.module_utils.basic import AnsibleModule\nfrom {_OWN}_backup import x\n"),
    ("_process", HEAD + "import subprocess\nsubprocess.Popen([], shell=False)\n"),
    ("_errors", HEAD),
]

BROKEN = [
    (layering, "_docker", f"from {_OWN}_archive import x\n"),
    (layering, "_errors", f"import {_OWN}_docker\n"),
    (layering, "_docker", f"from {_OWN}_postgres import x\n"),
    (layering, "_docker", f"from {_OWN[:-1]} import _errors, _archive\n"),
    (layering, "_archive", f"from {_OWN}_migration import x\n"),
    (layering, "_reset", f"from {_OWN}_restore import x\n"),
    (layering, "_backup", f"from {_OWN}_module import x\n"),
    (layering, "_backup", "def f():\n    from ._docker import x\n"),
    (stays_in_the_house, "_backup", "import subprocess\n"),
    (stays_in_the_house, "_backup", "def f():\n    import psycopg2.extras\n"),
    (stays_in_the_house, "_docker", "from ansible.module_utils.common.process import get_bin_path\n"),
    (uses_no_shell, "_process", "run(x, shell=True)\n"),
    (uses_no_shell, "_process", "run(x, shell=wanted)\n"),
    (uses_no_shell, "_process", "import os\nos.system('x')\n"),
    (is_private_and_licensed, "docker", HEAD),
    (is_private_and_licensed, "_docker", "x = 1\n"),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize(("name", "source"), GOOD)
def test_a_good_file_breaks_no_rule(name: str, source: str, rule) -> None:
    assert rule(name, source) == []


@pytest.mark.parametrize(("rule", "name", "source"), BROKEN)
def test_a_file_that_breaks_a_rule_is_caught(rule, name: str, source: str) -> None:
    assert rule(name, source)


def test_every_rule_is_shown_to_bite() -> None:
    assert {rule for rule, *_rest in BROKEN} == set(RULES)
