# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every playbook promises: one verb, callable by its full name, short, without logic of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.y*ml"))
ROLES = {path.name for path in (ROOT / "roles").glob("*") if path.is_dir()}

#: Roles that others call; they have no playbook.
INTERNAL_ROLES = {"target"}
#: Imported by all others, first: it fails where the inventory holds no host at all, which Ansible takes for success.
FIRST = "require_database"
OPERATIONS = [path for path in PLAYBOOKS if path.stem != FIRST]
MAX_LINES = 40

FORBIDDEN = re.compile(
    r"^\s*-?\s*(ignore_errors|changed_when|failed_when|until|vars_prompt|(?:ansible\.builtin\.)?(?:set_fact|shell|command|raw|script))\s*:",
    re.MULTILINE,
)


def plays(path: Path) -> list[dict]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or []


def can_be_called_by_full_name(path: Path) -> list[str]:
    """A hyphen makes `ansible-playbook dbops.postgres.preview-reset` a file that does not exist."""
    return [] if re.fullmatch(r"[a-z]+(_[a-z]+)*\.yml", path.name) else [f"{path.name}: small letters, underscores and .yml only"]


def is_short(path: Path) -> list[str]:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    return [f"{path.name} has {lines} lines, more than {MAX_LINES}"] if lines > MAX_LINES else []


def has_no_logic(path: Path) -> list[str]:
    text = "\n".join(re.sub(r"(^|\s)#.*", "", line) for line in path.read_text(encoding="utf-8").splitlines())
    return [f"{path.name} uses {hit}: that belongs in a role or a module" for hit in FORBIDDEN.findall(text)]


def selects_hosts_by_limit_only(path: Path) -> list[str]:
    """`hosts: production` that matches nothing exits 0: a migration that did not happen would look green."""
    complaints = []
    own = [play for play in plays(path) if "ansible.builtin.import_playbook" not in play]
    for play in own:
        if not str(play.get("name", "")).strip():
            complaints.append("a play has no name")
        if play.get("hosts") != "all":
            complaints.append(f"hosts is {play.get('hosts')!r}, not 'all'")
        if play.get("gather_facts") is not False:
            complaints.append("gathers facts, which costs a task and is never needed")
    return complaints or ([] if own else ["has no play"])


def fails_without_any_host(path: Path) -> list[str]:
    first = (plays(path) or [{}])[0].get("ansible.builtin.import_playbook")
    return [] if first == f"{FIRST}.yml" else [f"does not begin with {FIRST}.yml"]


def calls_the_role_of_its_name(path: Path) -> list[str]:
    wanted = f"dbops.postgres.{path.stem}"
    called = re.findall(r"(?:name|role):\s*(dbops\.postgres\.\w+)", path.read_text(encoding="utf-8"))
    return [] if wanted in called else [f"does not call {wanted}"]


RULES = [
    can_be_called_by_full_name,
    is_short,
    has_no_logic,
    selects_hosts_by_limit_only,
    fails_without_any_host,
    calls_the_role_of_its_name,
]


def test_every_operation_has_a_playbook_and_a_role() -> None:
    assert OPERATIONS
    assert {path.stem for path in OPERATIONS} == ROLES - INTERNAL_ROLES


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", OPERATIONS, ids=lambda path: path.stem)
def test_playbook_keeps_the_rule(path: Path, rule) -> None:
    assert rule(path) == []


# --- the rules themselves -------------------------------------------------------------------------------------------

GOOD = f"""---
- name: Require a database in the inventory
  ansible.builtin.import_playbook: {FIRST}.yml

- name: Fetch
  hosts: all
  gather_facts: false
  tasks:
    - name: Fetch
      ansible.builtin.import_role:
        name: dbops.postgres.fetch
"""

BROKEN = [
    (can_be_called_by_full_name, "fetch-all.yml", GOOD),
    (can_be_called_by_full_name, "fetch.yaml", GOOD),
    (is_short, "fetch.yml", GOOD + "# x\n" * 40),
    (has_no_logic, "fetch.yml", GOOD + "    - name: X\n      ansible.builtin.set_fact:\n        x: 1\n"),
    (has_no_logic, "fetch.yml", GOOD.replace("gather", "vars_prompt: []\n  gather")),
    (selects_hosts_by_limit_only, "fetch.yml", GOOD.replace("hosts: all", "hosts: production")),
    (selects_hosts_by_limit_only, "fetch.yml", GOOD.replace("  gather_facts: false\n", "")),
    (selects_hosts_by_limit_only, "fetch.yml", GOOD.replace("- name: Fetch\n  hosts", "- hosts")),
    (selects_hosts_by_limit_only, "fetch.yml", "---\n"),
    (selects_hosts_by_limit_only, "fetch.yml", GOOD.split("\n\n", maxsplit=1)[0]),
    (fails_without_any_host, "fetch.yml", GOOD.replace(FIRST, "other")),
    (fails_without_any_host, "fetch.yml", "---\n" + GOOD.split("\n\n", maxsplit=1)[1]),
    (fails_without_any_host, "fetch.yml", "---\n"),
    (calls_the_role_of_its_name, "fetch.yml", GOOD.replace("postgres.fetch", "postgres.backup")),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_good_playbook_breaks_no_rule(tmp_path: Path, rule) -> None:
    path = tmp_path / "fetch.yml"
    path.write_text(GOOD, encoding="utf-8")
    assert rule(path) == []


@pytest.mark.parametrize(("rule", "name", "text"), BROKEN)
def test_a_playbook_that_breaks_a_rule_is_caught(tmp_path: Path, rule, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert rule(path)


def test_every_rule_is_shown_to_bite() -> None:
    assert {rule for rule, *_rest in BROKEN} == set(RULES)


@pytest.mark.parametrize("name", ["ansible.cfg", "playbooks/ansible.cfg", "examples/own-repository/ansible.cfg"])
def test_nothing_is_printed_below_the_recap(name: str) -> None:
    """The facts of a run are for the next job, which is handed them all the same; a person reads the summary."""
    assert "show_custom_stats" not in (ROOT / name).read_text(encoding="utf-8")


def test_the_summary_is_the_last_thing_that_a_role_says() -> None:
    tasks = yaml.safe_load((ROOT / "roles" / "target" / "tasks" / "report.yml").read_text(encoding="utf-8"))
    assert [next(key for key in task if key.startswith("ansible.builtin.")) for task in tasks] == [
        "ansible.builtin.set_stats",
        "ansible.builtin.debug",
    ]
