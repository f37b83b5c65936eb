# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The example for AWX: its playbook runs with awx.awx's own modules, up to where they would call AWX.

So their own argument specifications judge every option, and what they would send is known.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "examples" / "awx"
PROJECT = ROOT / "examples" / "own-repository"
MODULES = Path(sysconfig.get_path("purelib")) / "ansible_collections" / "awx" / "awx" / "plugins" / "modules"

#: Stands in for the class through which the modules talk to AWX: takes their specification, notes what they were given, ends.
INSTEAD_OF_AWX = """
import json
import os
from ansible.module_utils.basic import AnsibleModule

class ControllerAPIModule(AnsibleModule):
    def __init__(self, argument_spec, **kwargs):
        super().__init__(argument_spec=argument_spec, **kwargs)
        given = {name: value for name, value in self.params.items() if value is not None}
        with open(os.environ["RECORD"], "a") as record:
            record.write(json.dumps([self._name.rpartition(".")[2], given]) + "\\n")
        self.exit_json(changed=True)
"""

#: AWX's own names in a survey's question.
OF_A_QUESTION = {"question_name", "question_description", "variable", "type", "required", "default", "min", "max", "choices"}

Records = dict[str, dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """What AWX would be told: for each module, what it was given, by name."""
    folder = tmp_path_factory.mktemp("awx")
    plugins = folder / "ansible_collections" / "awx" / "awx" / "plugins"
    shutil.copytree(MODULES, plugins / "modules", ignore=shutil.ignore_patterns("__pycache__"))
    (plugins / "module_utils").mkdir()
    (plugins / "module_utils" / "controller_api.py").write_text(INSTEAD_OF_AWX)
    (folder / "key").write_text("the key\n")
    env = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    env |= {"ANSIBLE_COLLECTIONS_PATH": str(folder), "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "false", "ANSIBLE_HOME": str(folder / "home")}
    env |= {"RECORD": str(folder / "record"), "DBOPS_SSH_KEY_FILE": str(folder / "key"), "DBOPS_PASSWORD": "the-password"}
    env |= {"ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_PYTHON_INTERPRETER": sys.executable}
    argv = [str(Path(sys.executable).parent / "ansible-playbook"), str(EXAMPLE / "apply.yml"), "-vv"]
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the-password" not in done.stdout + done.stderr and "the key" not in done.stdout + done.stderr
    records: Records = {}
    for line in (folder / "record").read_text().splitlines():
        module, given = json.loads(line)
        assert given["name"] not in records.setdefault(module, {}), f"two of the name {given['name']}"
        records[module][given["name"]] = given
    return records


@pytest.fixture
def templates(made: Records) -> dict[str, dict[str, Any]]:
    return made["job_template"]


def variables_of(playbook: str) -> set[str]:
    """What the role behind a playbook takes."""
    names = set()
    for role in (playbook.removesuffix(".yml"), "target"):
        specification = yaml.safe_load((ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
        names |= set(specification["argument_specs"]["main"]["options"])
    return names


def suboptions(module: str, option: str) -> dict[str, Any]:
    """As documented: the modules check no deeper than the first level."""
    tree = ast.parse((MODULES / f"{module}.py").read_text(encoding="utf-8"))
    [text] = [
        node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "DOCUMENTATION" and isinstance(node.value, ast.Constant)
    ]
    return dict(yaml.safe_load(str(text))["options"][option]["suboptions"])


def unknown(given: Any, known: dict[str, Any]) -> list[str]:
    """The names in a structure that its documentation does not know."""
    entries = given if isinstance(given, list) else [given]
    found = []
    for entry in entries:
        for name, value in entry.items():
            if name not in known:
                found.append(name)
            elif known[name].get("suboptions"):
                found += unknown(value, known[name]["suboptions"])
    return found


def test_everything_is_made(made: Records) -> None:
    assert {module: len(entries) for module, entries in made.items() if module != "job_template"} == {
        "credential_type": 1,
        "credential": 2,
        "project": 1,
        "inventory": 1,
        "inventory_source": 1,
        "workflow_job_template": 1,
        "schedule": 4,
    }
    assert len(made["job_template"]) >= 8


class TestJobTemplates:
    def test_one_job_at_a_time_on_the_whole_inventory(self, templates: dict[str, dict[str, Any]]) -> None:
        """A slice of the inventory may hide production; two jobs at once would only refuse one another."""
        assert {(entry["allow_simultaneous"], entry["job_slice_count"]) for entry in templates.values()} == {(False, 1)}

    def test_nothing_is_asked_for_at_launch(self, templates: dict[str, dict[str, Any]]) -> None:
        assert {
            (name, value) for entry in templates.values() for name, value in entry.items() if name.startswith("ask_") and value
        } == set()
        fixed = {"limit", "inventory", "variables", "job_type", "job_slice_count", "tags", "skip_tags", "credential"}
        assert all({f"ask_{name}_on_launch" for name in fixed} <= set(entry) for entry in templates.values())

    def test_the_limit_is_one_group_of_the_inventory(self, templates: dict[str, dict[str, Any]]) -> None:
        inventory = yaml.safe_load((PROJECT / "inventory" / "hosts.yml").read_text(encoding="utf-8"))
        assert {entry["limit"] for entry in templates.values()} == set(inventory["all"]["children"])

    def test_the_name_tells_the_limit(self, templates: dict[str, dict[str, Any]]) -> None:
        assert all(name.startswith(f"chat {entry['limit']}, ") for name, entry in templates.items())

    def test_they_run_the_projects_own_playbooks(self, templates: dict[str, dict[str, Any]]) -> None:
        verbs = {path.name for path in PROJECT.glob("*.yml")} - {"requirements.yml", "schedule.yml"}  # AWX has schedules of its own
        assert {entry["playbook"] for entry in templates.values()} == verbs

    def test_production_is_never_reset(self, templates: dict[str, dict[str, Any]]) -> None:
        assert {entry["limit"] for entry in templates.values() if entry["playbook"] == "preview_reset.yml"} == {"preview"}

    def test_every_variable_is_one_of_the_role(self, templates: dict[str, dict[str, Any]]) -> None:
        for name, entry in templates.items():
            questions = entry["survey_spec"]["spec"]
            assert {question["variable"] for question in questions} | set(entry["extra_vars"]) <= variables_of(entry["playbook"]), name
            assert all(set(question) <= OF_A_QUESTION for question in questions), name
            assert entry["survey_enabled"] is bool(questions), name

    def test_consent_is_typed_for_each_job(self, templates: dict[str, dict[str, Any]]) -> None:
        for name, entry in templates.items():
            assert "dbops_confirm" not in entry["extra_vars"], name
            asked = [question for question in entry["survey_spec"]["spec"] if question["variable"] == "dbops_confirm"]
            assert all(question["required"] and question["default"] == "" for question in asked), name

    def test_a_plan_is_a_job_of_its_own(self, templates: dict[str, dict[str, Any]]) -> None:
        plan, migrate = templates["chat production, plan the migration"], templates["chat production, migrate"]
        assert (plan["job_type"], migrate["job_type"]) == ("run", "run")
        assert (plan["playbook"], migrate["playbook"]) == ("plan.yml", "migrate.yml") and plan["limit"] == migrate["limit"]


class TestCredentials:
    def test_the_password_is_an_environment_variable_and_nothing_else(self, made: Records) -> None:
        [entry] = made["credential_type"].values()
        assert entry["injectors"] == {"env": {"DBOPS_PASSWORD": "{{ password }}"}}
        assert [field["id"] for field in entry["inputs"]["fields"] if field.get("secret")] == entry["inputs"]["required"] == ["password"]
        inventory = yaml.safe_load((PROJECT / "inventory" / "group_vars" / "all.yml").read_text(encoding="utf-8"))
        assert inventory["dbops_password"] == "{{ lookup('ansible.builtin.env', 'DBOPS_PASSWORD') }}"

    def test_no_job_gets_it_as_an_extra_variable(self, made: Records) -> None:
        text = json.dumps([made["job_template"], made["workflow_job_template"], made["schedule"]])
        assert "dbops_password" not in text and "the-password" not in text

    def test_its_content_comes_from_where_configuration_says(self, made: Records) -> None:
        inputs = {name: entry["inputs"] for name, entry in made["credential"].items()}
        assert inputs["chat production password"] == {"password": "the-password"}
        assert inputs["deploy on the chat servers"]["ssh_key_data"] == "the key\n"

    def test_every_one_that_a_template_uses_is_made(self, made: Records) -> None:
        used = {name for entry in made["job_template"].values() for name in entry["credentials"]}
        assert used == set(made["credential"])
        types = {entry["credential_type"] for entry in made["credential"].values()}
        assert types == set(made["credential_type"]) | {"Machine"}


class TestWorkflow:
    def test_nothing_changes_before_somebody_approves(self, made: Records) -> None:
        [entry] = made["workflow_job_template"].values()
        plan, approve, migrate = entry["workflow_nodes"]
        assert [node["unified_job_template"]["type"] for node in (plan, approve, migrate)] == [
            "job_template",
            "workflow_approval",
            "job_template",
        ]
        templates = [made["job_template"][node["unified_job_template"]["name"]] for node in (plan, migrate)]
        assert [template["job_type"] for template in templates] == ["run", "run"]
        assert plan["related"] == {"success_nodes": [{"identifier": approve["identifier"]}]}
        assert approve["related"] == {"success_nodes": [{"identifier": migrate["identifier"]}]}
        assert "related" not in migrate and entry["allow_simultaneous"] is False

    def test_its_nodes_are_written_as_documented(self, made: Records) -> None:
        [entry] = made["workflow_job_template"].values()
        known = suboptions("workflow_job_template", "workflow_nodes")
        assert unknown([{"identifer": "x", "related": {"succes_nodes": []}}], known) == ["identifer", "succes_nodes"]
        assert unknown(entry["workflow_nodes"], known) == []


class TestSchedules:
    RULE = re.compile(r"DTSTART;TZID=([\w/]+):\d{8}T\d{6} RRULE:FREQ=(DAILY|WEEKLY);INTERVAL=1(;BYDAY=(MO|TU|WE|TH|FR|SA|SU))?")

    def test_each_names_its_time_zone(self, made: Records) -> None:
        for entry in made["schedule"].values():
            rule = self.RULE.fullmatch(entry["rrule"])
            assert rule, entry["rrule"]
            assert rule[1] == "Asia/Tokyo"

    def test_a_backup_every_night_and_a_reset_every_week(self, made: Records) -> None:
        found = {
            (entry["unified_job_template"], "WEEKLY" if "FREQ=WEEKLY" in entry["rrule"] else "DAILY") for entry in made["schedule"].values()
        }
        assert found == {
            ("chat production, back up", "DAILY"),
            ("chat production, prove the newest backup", "DAILY"),
            ("chat production, remove old backups", "DAILY"),
            ("chat preview, reset", "WEEKLY"),
        }

    def test_nobody_has_to_answer_a_question(self, made: Records) -> None:
        for entry in made["schedule"].values():
            questions = made["job_template"][entry["unified_job_template"]]["survey_spec"]["spec"]
            assert set(entry["extra_data"]) <= {question["variable"] for question in questions}
            assert [question for question in questions if question["required"]] == []
