# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the Ansible community asks of a collection, one test a line
(https://docs.ansible.com/ansible/latest/community/collection_contributors/collection_requirements.html, whose part is named at each).

What no file can show (a public issue tracker, a release on Galaxy, a tag for each) is not here. What is not met, by decision, is in ``NOT_MET``
with its reason.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
GALAXY = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODULES = sorted(path for path in (ROOT / "plugins" / "modules").glob("*.py"))

#: Modules that change nothing and have another name than ``..._info``, and why.
NOT_MET = {
    "database_status": "it judges, and fails a job where something is red, which is more than to gather facts",
    "database_diagnosis": "it finds causes and says what to do; its result is no description of the database",
    "operation_progress": "it follows an operation that works meanwhile, for as long as that takes",
}

#: Folders of plugins that ansible-core knows, as far as there are any here, and ``plugin_utils`` (#modules-plugins).
PLUGIN_FOLDERS = {"action", "doc_fragments", "filter", "module_utils", "modules", "plugin_utils"}


def documentation(path: Path, name: str) -> dict:
    found = re.search(rf'^{name} = r"""\n(.*?)^"""', path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return yaml.safe_load(found[1]) if found else {}


def own_files(pattern: str) -> list[Path]:
    return [path for path in sorted(ROOT.glob(pattern)) if "__pycache__" not in path.parts]


def test_there_is_a_code_of_conduct_compatible_with_ansibles() -> None:
    """#collection-infrastructure"""
    text = (ROOT / "CODE_OF_CONDUCT.md").read_text(encoding="utf-8")
    assert "https://docs.ansible.com/ansible/latest/community/code_of_conduct.html" in text


def test_nothing_is_large() -> None:
    """#collection-infrastructure: no large objects"""
    ignored = {path.split("/")[0] for path in GALAXY["build_ignore"]}
    sizes = {
        path: path.stat().st_size for path in own_files("[a-z]*/**/*") if path.is_file() and path.relative_to(ROOT).parts[0] not in ignored
    }
    assert sizes and max(sizes.values()) < 1_000_000


def test_shared_code_is_marked_private() -> None:
    """#standards-for-developing-module-and-plugin-utilities: a leading underscore, or documented otherwise"""
    names = [path.name for path in own_files("plugins/module_utils/**/*.py")]
    assert names and [name for name in names if not name.startswith("_")] == []


@pytest.mark.parametrize(
    "field", ["namespace", "name", "version", "readme", "authors", "description", "license_file", "tags", "repository", "issues"]
)
def test_galaxy_is_told(field: str) -> None:
    """#galaxy-yml: tags must be set"""
    assert GALAXY[field]


def test_dependencies_have_a_stable_lower_bound() -> None:
    """#collection-dependencies"""
    assert GALAXY["dependencies"]
    for bounds in GALAXY["dependencies"].values():
        lower = re.match(r">=(\d+)\.\d+\.\d+", bounds)
        assert lower and int(lower[1]) >= 1


def test_the_version_is_semantic() -> None:
    """#versioning-and-deprecation"""
    assert re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", GALAXY["version"])


def test_there_is_a_readme_and_it_says_what_it_needs() -> None:
    """#readme-md, #python-documentation-requirements"""
    assert "Python 3.8" in README and "ansible-core" in README


def test_the_least_ansible_is_declared() -> None:
    """#meta-runtime-yml"""
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    assert re.fullmatch(r">=2\.\d+\.\d+", runtime["requires_ansible"])


def test_plugins_are_where_ansible_core_looks_for_them() -> None:
    """#modules-plugins"""
    assert {path.name for path in (ROOT / "plugins").iterdir() if path.is_dir() and path.name != "__pycache__"} == PLUGIN_FOLDERS


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_is_documented(path: Path) -> None:
    """#documentation-requirements: DOCUMENTATION, EXAMPLES, RETURN, a version, full names"""
    told = documentation(path, "DOCUMENTATION")
    assert told["module"] == path.stem and told["version_added"]
    assert all(name.startswith("dbops.postgres.") for name in told["extends_documentation_fragment"])
    tasks = documentation(path, "EXAMPLES")
    assert tasks and all(any(key.startswith(("dbops.postgres.", "ansible.builtin.")) for key in task) for task in tasks)
    assert documentation(path, "RETURN")


def test_contributions_are_spoken_of() -> None:
    """#documentation-requirements: what types of contributions are accepted"""
    assert (ROOT / "CONTRIBUTING.md").stat().st_size > 500


def test_changes_are_written_down_for_antsibull() -> None:
    """#changelogs"""
    config = yaml.safe_load((ROOT / "changelogs" / "config.yaml").read_text(encoding="utf-8"))
    assert config["title"] and own_files("changelogs/fragments/*.yml")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_what_only_gathers_information_is_called_so(path: Path) -> None:
    """#module-naming"""
    only_looks = "Risk.READ" in path.read_text(encoding="utf-8")
    if path.stem in NOT_MET:
        assert only_looks, f"{path.stem} is met by now: {NOT_MET[path.stem]}"
        return
    assert only_looks == path.stem.endswith("_info")


def test_facts_are_not_returned_by_the_way() -> None:
    """#module-naming: what returns ansible_facts is named ..._facts"""
    assert [path.stem for path in MODULES if "ansible_facts" in path.read_text(encoding="utf-8")] == []


def test_everything_is_under_the_gpl() -> None:
    """#collection-licensing-requirements"""
    sources = [path for path in own_files("plugins/**/*.py") + own_files("tests/**/*.py") if path.stat().st_size]
    assert len(sources) > 200
    assert [path for path in sources if "GPL-3.0-or-later" not in path.read_text(encoding="utf-8")[:400]] == []
    assert "GNU GENERAL PUBLIC LICENSE" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_no_sanity_test_is_ignored() -> None:
    """#ci-testing: no ignored entries"""
    assert own_files("tests/sanity/ignore*.txt") == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_module_says_what_it_does_in_check_mode(path: Path) -> None:
    """#development-conventions: check mode in all ..._info modules"""
    attributes = documentation(path, "DOCUMENTATION")["attributes"]
    assert attributes["check_mode"]["support"] in ("full", "partial")
    if path.stem.endswith("_info"):
        assert attributes["check_mode"]["support"] == "full"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_state_asks_for_information(path: Path) -> None:
    """#development-conventions: no state=get, list, query or info"""
    options = documentation(path, "DOCUMENTATION").get("options") or {}
    assert not {"get", "list", "query", "info"} & set((options.get("state") or {}).get("choices") or ())


def test_what_works_in_a_release_works_from_four_folders() -> None:
    """#other-directories: stage ``package`` installs the tarball, deletes all but these, and loads every playbook"""
    tree = ast.parse((ROOT / "tests" / "run" / "checks_package.py").read_text(encoding="utf-8"))
    [content] = [node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CONTENT"]
    assert {"meta", "plugins", "roles", "playbooks"} <= set(ast.literal_eval(content))
