# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every role promises: its defaults are its argument specification, its names are its own, its steps stay thin.

Each rule is a function that returns complaints; the tests below run it on every role, and on a made-up role that breaks it.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path for path in (ROOT / "roles").glob("*") if path.is_dir())

#: The one role that declares what all others share.
SHARED_ROLE = "target"

#: What the others hand to its entry points.
HANDED_OVER = f"__dbops_{SHARED_ROLE}_"

#: Shared variables whose name begins like a role's own.
SHARED_IN_SPITE_OF_PREFIX = {
    "dbops_backup_dir",  # where every operation finds and keeps backups
    "dbops_plan_timeout",  # of the looks; role plan has the migration's variables
}

#: A task that needs one of these holds logic that belongs in a module.
FORBIDDEN = {"ignore_errors", "changed_when", "failed_when", "until", "set_fact", "shell", "command", "raw", "script"}
#: Ansible's own check of variables shows the whole specification when it fails, unless the role tells by itself what it found.
MAY_FAIL_LATER = "ansible.builtin.validate_argument_spec"
MAX_TASK_LINES = 60

_VARIABLE = re.compile(r"(?<![\w.])(?:__)?dbops_\w+")
_FROM_WITH_EXTENSION = re.compile(r"\b(?:tasks|vars|defaults|handlers)_from:\s*\"?[\w/]+\.ya?ml\b")


def load(path: Path) -> dict:
    """A YAML file's mapping; empty where there is no such file."""
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.is_file() else {}


def options_of(role: Path) -> dict[str, dict]:
    """The options of all entry points."""
    points = load(role / "meta" / "argument_specs.yml").get("argument_specs") or {}
    return {name: spec for point in points.values() for name, spec in (point.get("options") or {}).items()}


def yaml_files(role: Path) -> list[Path]:
    return sorted(path for folder in ("tasks", "handlers", "vars", "defaults") for path in (role / folder).rglob("*.yml"))


def texts(role: Path, *folders: str) -> str:
    return "\n".join(
        path.read_text(encoding="utf-8") for folder in folders for path in sorted((role / folder).rglob("*")) if path.is_file()
    )


def own_name(role: Path) -> str:
    """What a role's variables begin with: ``verify`` for ``verify_backups``."""
    return role.name.removesuffix("_backups")


def without_comments(text: str) -> str:
    return "\n".join(re.sub(r"(^|\s)#.*", "", line) for line in text.splitlines())


def has_its_documents(role: Path) -> list[str]:
    return [f"{name} is missing" for name in ("README.md", "meta/argument_specs.yml", "tasks/main.yml") if not (role / name).is_file()]


def defaults_equal_specification(role: Path) -> list[str]:
    """Names and values: a documented default that is not the real one misleads exactly when it matters."""
    defaults = load(role / "defaults" / "main.yml")
    documented = {name: spec["default"] for name, spec in options_of(role).items() if "default" in spec}
    complaints = [f"{name} has a default but no documented one" for name in defaults if name not in documented]
    complaints += [f"{name} documents a default but has none" for name in documented if name not in defaults]
    complaints += [
        f"{name} is {defaults[name]!r} but documented as {documented[name]!r}"
        for name in documented
        if name in defaults and (defaults[name] != documented[name] or type(defaults[name]) is not type(documented[name]))
    ]
    return complaints


def public_names_are_its_own(role: Path) -> list[str]:
    names = {*load(role / "defaults" / "main.yml"), *options_of(role)}
    if role.name == SHARED_ROLE:
        others = tuple(f"dbops_{own_name(path)}_" for path in role.parent.iterdir() if path.name != SHARED_ROLE)
        return [
            f"{name} is no shared name"
            for name in sorted(names - SHARED_IN_SPITE_OF_PREFIX)
            if not name.startswith("dbops_") or name.startswith(others)
        ]
    own = f"dbops_{own_name(role)}_"
    return [f"{name} does not begin with {own}" for name in sorted(names) if not name.startswith(own)] + [
        f"{name} belongs to role {SHARED_ROLE}" for name in sorted(names & SHARED_IN_SPITE_OF_PREFIX)
    ]


def set_inside(role: Path) -> set[str]:
    """Names that the role's own files give a value: registered, looped over, or set as vars."""
    text = without_comments(texts(role, "tasks", "handlers"))
    found = set(re.findall(r"(?:register|loop_var|index_var):\s*\"?(\w+)", text))
    for block in re.findall(r"^( *)(?:- )?vars:\n((?:\1 {2,}.*\n?)+)", text, re.MULTILINE):
        indent = re.match(r" *", block[1])
        found.update(re.findall(rf"^{indent.group() if indent else ''}(\w+):", block[1], re.MULTILINE))
    return found | set(load(role / "vars" / "main.yml"))


def internal_names_are_its_own(role: Path) -> list[str]:
    own = f"__dbops_{own_name(role)}"
    return [
        f"{name} is set inside the role but is not called {own} or {own}_..."
        for name in sorted(set_inside(role))
        if name != own and not name.startswith((f"{own}_", HANDED_OVER, *(f"__dbops_{of.name}_" for of in imported(role))))
    ]


def imported(role: Path) -> list[Path]:
    """The roles whose steps it takes over: their names are known there too."""
    names = re.findall(r"^ +name: dbops\.postgres\.(\w+)$", texts(role, "tasks"), re.MULTILINE)
    return [role.parent / name for name in sorted(set(names)) if (role.parent / name).is_dir()]


def used_names_are_declared(role: Path) -> list[str]:
    """A typing error in a variable's name is an undefined variable only on the path that reads it."""
    shared = role.parent / SHARED_ROLE
    known = {name for of in (role, shared, *imported(role)) for name in (*options_of(of), *set_inside(of))}
    if role == shared:
        known |= {name for other in role.parent.iterdir() for name in set_inside(other) if name.startswith(HANDED_OVER)}
    used = set(_VARIABLE.findall(without_comments(texts(role, "tasks", "handlers", "vars", "templates"))))
    prefix = f"dbops_{own_name(role)}_"  # of which names are put together
    return [f"{name} is used but declared nowhere" for name in sorted(used - known - {prefix})]


def handed_on(role: Path) -> dict[str, str]:
    """``{module option: variable}`` of all that role target hands on for a role, by name."""
    if f"{{{{ {HANDED_OVER}options }}}}" not in texts(role, "tasks"):
        return {}
    prefix = f"dbops_{own_name(role)}_"
    kept = load(role.parent / SHARED_ROLE / "vars" / "main.yml").get(f"{HANDED_OVER}not_options", {}).get(role.name, [])
    return {name.removeprefix(prefix): name for name in options_of(role) if name.removeprefix(prefix) not in kept}


def declared_names_are_used(role: Path) -> list[str]:
    users = role.parent.iterdir() if role.name == SHARED_ROLE else [role]
    used = {name for user in users for name in _VARIABLE.findall(without_comments(texts(user, "tasks", "handlers", "vars", "templates")))}
    playbooks = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "playbooks").glob("*.yml")))
    used |= set(_VARIABLE.findall(without_comments(playbooks))) if role.name == SHARED_ROLE else set()
    used |= set(handed_on(role).values()) | {
        f"dbops_{name}" for name in load(role / "vars" / "main.yml").get(f"{HANDED_OVER}stand_ins", [])
    }
    return [f"{name} is documented but has no effect" for name in sorted(set(options_of(role)) - used)]


def names_entry_points_without_extension(role: Path) -> list[str]:
    """`tasks_from: x.yml` switches the argument validation off, silently (ansible/ansible#75456)."""
    return [f"{path.name}: {hit}" for path in yaml_files(role) for hit in _FROM_WITH_EXTENSION.findall(path.read_text(encoding="utf-8"))]


def tasks_of(tasks: list[dict]) -> list[dict]:
    """All tasks, those inside blocks included."""
    return [
        found
        for task in tasks
        for found in [task, *(inner for part in ("block", "rescue", "always") for inner in tasks_of(task.get(part) or []))]
    ]


def stays_thin(role: Path) -> list[str]:
    complaints = []
    for path in sorted((role / "tasks").rglob("*.yml")):
        text = path.read_text(encoding="utf-8")
        if len(text.splitlines()) > MAX_TASK_LINES:
            complaints.append(f"{path.name} has {len(text.splitlines())} lines, more than {MAX_TASK_LINES}")
        keys = {key for task in tasks_of(yaml.safe_load(text) or []) for key in task if key != "failed_when" or MAY_FAIL_LATER not in task}
        complaints += [f"{path.name} uses {key}: that belongs in a module" for key in sorted(keys) if key.rpartition(".")[2] in FORBIDDEN]
    return complaints


def empty_variables_are_not_given(role: Path) -> list[str]:
    """A survey gives an empty text (AWX makes null of it) for a field that nobody filled in: where there is a default, that counts then."""
    defaults = load(role.parent / SHARED_ROLE / "defaults" / "main.yml") | load(role / "defaults" / "main.yml")
    handed_on = re.findall(r"^ +(\w+): \"\{\{ (dbops_\w+) ", texts(role, "tasks", "vars"), re.MULTILINE)
    return [
        f"{option}: {name} is handed on although it may be empty: \"{{{{ omit if {name} in ['', none] else {name} }}}}\""
        for option, name in handed_on
        if name in defaults and option != "confirm"
    ]


RULES = [
    has_its_documents,
    defaults_equal_specification,
    public_names_are_its_own,
    internal_names_are_its_own,
    used_names_are_declared,
    declared_names_are_used,
    names_entry_points_without_extension,
    empty_variables_are_not_given,
    stays_thin,
]


def test_there_are_roles() -> None:
    assert SHARED_ROLE in [role.name for role in ROLES]
    assert len(ROLES) > 1


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_role_keeps_the_rule(role: Path, rule) -> None:
    assert rule(role) == []


def documented_options(path: Path) -> dict[str, dict]:
    """The options of a module or a documentation fragment, and those of a fragment that not every module has."""
    found = re.search(r"DOCUMENTATION = r\"\"\"\n(.*?)\"\"\"", path.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    documentation = yaml.safe_load(found[1]) or {}
    options = dict(documentation.get("options") or {})
    for fragment in ("gates", "migrating", "offsite", "planning", "retention"):
        if f"dbops.postgres.{fragment}" in documentation.get("extends_documentation_fragment", ()):
            options.update(documented_options(ROOT / "plugins" / "doc_fragments" / f"{fragment}.py"))
    return options


def left_out() -> list[tuple[str, str, str]]:
    """``(role, module option, variable)`` of all that is left out where the variable is empty."""
    found = []
    for role in ROLES:
        found += [(role.name, option, name) for option, name in handed_on(role).items()]
        pairs = re.findall(r"^ +(\w+): \"\{\{ omit if (dbops_\w+) in \['', none\] else", texts(role, "tasks", "vars"), re.MULTILINE)
        found += [(role.name, option, name) for option, name in pairs]
    return found


@pytest.mark.parametrize(("role", "option", "name"), left_out())
def test_what_is_left_out_has_the_same_default_in_the_module(role: str, option: str, name: str) -> None:
    """Else an empty field in a survey would mean something else than no field."""
    plugins = ROOT / "plugins"
    options = documented_options(plugins / "doc_fragments" / "target.py")
    nested = next((of for of in ("encryption", "offsite", "notify") if name.startswith(f"dbops_{of}_")), "")
    if nested:
        fragment = "offsite" if nested == "offsite" else "target"
        options = documented_options(plugins / "doc_fragments" / f"{fragment}.py")[nested]["suboptions"]
    for module in re.findall(r"^ +dbops\.postgres\.(\w+):$", texts(ROOT / "roles" / role, "tasks"), re.MULTILINE):
        options.update(documented_options(plugins / "modules" / f"{module}.py"))
    assert option in options, f"{name} is no option of the module: name it in {HANDED_OVER}not_options"
    if options[option].get("required"):
        return  # refused by the module then
    shared = ROOT / "roles" / SHARED_ROLE
    if not nested and option in load(shared / "vars" / "main.yml")[f"{HANDED_OVER}stand_ins"]:
        assert name not in load(ROOT / "roles" / role / "defaults" / "main.yml"), "it would hide the shared variable"
        name = f"dbops_{option}"
    defaults = load(shared / "defaults" / "main.yml") | load(ROOT / "roles" / role / "defaults" / "main.yml")
    assert (defaults.get(name) or "") == (options[option].get("default") or "")


# --- the rules themselves -------------------------------------------------------------------------------------------

GOOD = {
    "target/README.md": "# target\n",
    "target/defaults/main.yml": "---\ndbops_container: db\ndbops_backup_dir: /opt/backups\n",
    "target/meta/argument_specs.yml": (
        "---\nargument_specs:\n  main:\n    options:\n      dbops_container: {type: str, default: db}\n"
        "      dbops_backup_dir: {type: path, default: /opt/backups}\n"
    ),
    "target/vars/main.yml": "---\n__dbops_target:\n  container: \"{{ omit if dbops_container in ['', none] else dbops_container }}\"\n"
    "  backup_dir: \"{{ omit if dbops_backup_dir in ['', none] else dbops_backup_dir }}\"\n"
    '__dbops_target_options: "{{ {} }}"\n',
    "target/tasks/main.yml": "---\n- name: Nothing\n  ansible.builtin.debug:\n",
    "fetch/README.md": "# fetch\n",
    "fetch/defaults/main.yml": "---\n# dbops_fetch_never: commented out\ndbops_fetch_jobs: 2\n",
    "fetch/meta/argument_specs.yml": (
        "---\nargument_specs:\n  main:\n    options:\n      dbops_fetch_jobs: {type: int, default: 2}\n"
        "      dbops_fetch_id: {type: str, required: true}\n"
        "      dbops_fetch_retries: {type: int}\n"
    ),
    "fetch/tasks/main.yml": (
        "---\n- name: Describe\n  ansible.builtin.import_role:\n    name: dbops.postgres.target\n"
        '- name: Fetch\n  dbops.postgres.fetch:\n    command: x\n    id: "{{ dbops_fetch_id }}"\n'
        "    jobs: \"{{ omit if dbops_fetch_jobs in ['', none] else dbops_fetch_jobs }}\"\n"
        '    more: "{{ __dbops_target }}"\n  register: __dbops_fetch_result\n'
        '  module_defaults:\n    dbops.postgres.fetch: "{{ __dbops_target_options }}"\n'
    ),
}

BROKEN = [
    (has_its_documents, "fetch/README.md", None, "README.md is missing"),
    (defaults_equal_specification, "fetch/defaults/main.yml", "---\ndbops_fetch_jobs: 3\n", "is 3 but documented as 2"),
    (defaults_equal_specification, "fetch/defaults/main.yml", '---\ndbops_fetch_jobs: "2"\n', "documented as 2"),
    (defaults_equal_specification, "fetch/defaults/main.yml", "---\n", "documents a default but has none"),
    (defaults_equal_specification, "fetch/defaults/main.yml", "---\ndbops_fetch_jobs: 2\ndbops_fetch_x: 1\n", "no documented one"),
    (public_names_are_its_own, "fetch/defaults/main.yml", "---\njobs: 2\n", "jobs does not begin with"),
    (public_names_are_its_own, "fetch/defaults/main.yml", "---\ndbops_container: x\n", "dbops_container does not begin with"),
    (public_names_are_its_own, "target/defaults/main.yml", "---\ndbops_fetch_jobs: 2\n", "is no shared name"),
    (internal_names_are_its_own, "fetch/vars/main.yml", "---\n__dbops_x: 2\n", "__dbops_x is set inside"),
    (internal_names_are_its_own, "fetch/tasks/main.yml", "---\n- name: A\n  debug:\n  register: result\n", "result is set inside"),
    (internal_names_are_its_own, "fetch/tasks/main.yml", "---\n- name: A\n  debug:\n  vars:\n    x: 1\n", "x is set inside"),
    (
        used_names_are_declared,
        "fetch/tasks/main.yml",
        '---\n- name: A\n  debug:\n    msg: "{{ dbops_fetch_jbos }}"\n',
        "dbops_fetch_jbos is used",
    ),
    (
        used_names_are_declared,
        "fetch/tasks/main.yml",
        '---\n- name: A\n  debug:\n    msg: "{{ __dbops_fetch_y }}"\n',
        "__dbops_fetch_y is used",
    ),
    (
        declared_names_are_used,
        "fetch/tasks/main.yml",
        "---\n- name: A\n  debug:\n    # dbops_fetch_id dbops_fetch_jobs\n",
        "dbops_fetch_id is documented",
    ),
    (names_entry_points_without_extension, "fetch/tasks/main.yml", "---\n- import_role:\n    tasks_from: x.yml\n", "tasks_from: x.yml"),
    (
        empty_variables_are_not_given,
        "fetch/tasks/main.yml",
        '---\n- name: A\n  fetch:\n    jobs: "{{ dbops_fetch_jobs }}"\n',
        "jobs: dbops_fetch_jobs is handed on although it may be empty",
    ),
    (
        empty_variables_are_not_given,
        "target/vars/main.yml",
        '---\n__dbops_target:\n  container: "{{ dbops_container | string }}"\n',
        "container: dbops_container is handed on",
    ),
    (stays_thin, "fetch/tasks/main.yml", "---\n- name: A\n  ansible.builtin.shell: x\n", "ansible.builtin.shell"),
    (stays_thin, "fetch/tasks/main.yml", "---\n- name: A\n  debug:\n  ignore_errors: true\n", "ignore_errors"),
    (stays_thin, "fetch/tasks/main.yml", "---\n- name: A\n  debug:\n  failed_when: false\n", "failed_when"),
    (stays_thin, "fetch/tasks/main.yml", "---\n- name: A\n  block:\n    - name: B\n      command: x\n", "command"),
    (stays_thin, "fetch/tasks/main.yml", "---\n" + "# x\n" * 60, "has 61 lines"),
]


def write_roles(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_good_role_breaks_no_rule(tmp_path: Path, rule) -> None:
    roles = write_roles(tmp_path, GOOD)
    assert rule(roles / "fetch") == []
    assert rule(roles / SHARED_ROLE) == []


@pytest.mark.parametrize(("rule", "name", "text", "complaint"), BROKEN)
def test_a_role_that_breaks_a_rule_is_caught(tmp_path: Path, rule, name: str, text: str | None, complaint: str) -> None:
    roles = write_roles(tmp_path, GOOD)
    (roles / name).unlink(missing_ok=True)
    if text is not None:
        write_roles(roles, {name: text})
    assert any(complaint in found for found in rule(roles / name.split("/")[0]))


def test_every_rule_is_shown_to_bite() -> None:
    assert {rule for rule, *_rest in BROKEN} == set(RULES)


def test_every_secret_travels_to_a_schedule_as_a_secret() -> None:
    """What a module must not show must not be shown by the one that takes all variables along."""
    fragments = ROOT / "plugins" / "module_utils"
    text = (fragments / "_module.py").read_text(encoding="utf-8") + (fragments / "operations" / "_offsite_options.py").read_text(
        encoding="utf-8"
    )
    names = re.findall(r'"(\w+)": \{[^{}]*"no_log": True', text)
    assert sorted(names) == ["apprise", "environment", "heartbeats", "identity", "password", "password", "webhook"]
    secret = set(load(ROOT / "roles" / "schedule" / "vars" / "main.yml")["__dbops_schedule_secret"])
    shared = set(options_of(ROOT / "roles" / SHARED_ROLE))
    assert secret <= shared
    wanted = {
        name
        for name in shared
        for option in set(names)
        if name in {f"dbops_{option}", f"dbops_offsite_{option}", f"dbops_notify_{option}", f"dbops_encryption_{option}"}
    }
    assert wanted - {"dbops_environment"} <= secret
