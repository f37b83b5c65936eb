# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rooms of `plugins/module_utils`: each says in its `__init__.py` which others it uses, and the arrows go one way only."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from pathlib import Path

import graphlib
import pytest

ROOT = Path(__file__).resolve().parents[3]
_spec = importlib.util.spec_from_file_location("generate_architecture", ROOT / "docs" / "generate_architecture.py")
house = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = house  # its data classes look themselves up there
_spec.loader.exec_module(house)
ROOMS = house.read_rooms()
FILES = house.read_files()
ARROWS = house.arrows(FILES)
FACE, _OWN = house.FACE, house.OWN

#: What only some files may use, because the knowledge lives there.
ONLY = {
    "subprocess": {"engine/_process.py"},
    "psycopg2": {"server/_postgres.py"},
    "ansible": {FACE},
}


def keeps_to_the_rooms_it_may_enter(path: str, source: str) -> list[str]:
    room = house.room_in(path)
    complaints = []
    for name in house.imports_of(source):
        if name.startswith("."):
            complaints.append(f"{path} imports {name} by a relative name, which Ansible cannot pack reliably")
    for other in house.own_imports(source):
        entered = house.room_in(other)
        if other == FACE or (room and entered != room and entered not in ROOMS[room].uses):
            complaints.append(f"{path} imports {other}, which room '{room}' may not enter")
    return complaints


def stays_in_the_house(path: str, source: str) -> list[str]:
    complaints = []
    for imported in house.imports_of(source):
        top = imported.split(".")[0]
        if path not in ONLY.get(top, {path}):
            complaints.append(f"{path} imports {imported}, which only {', '.join(sorted(ONLY[top]))} may")
    return complaints


def uses_no_shell(path: str, source: str) -> list[str]:
    complaints = []
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.keyword)
            and node.arg in ("shell", "use_unsafe_shell")
            and not (isinstance(node.value, ast.Constant) and node.value.value is False)
        ):
            complaints.append(f"{path} line {node.value.lineno}: {node.arg}=")
        if isinstance(node, ast.Attribute) and (getattr(node.value, "id", ""), node.attr) in (("os", "system"), ("os", "popen")):
            complaints.append(f"{path} line {node.lineno}: os.{node.attr}")
    return complaints


def is_private_and_licensed(path: str, source: str) -> list[str]:
    complaints = [] if path.rpartition("/")[2].startswith("_") else [f"{path} is not private by name"]
    complaints += [] if "SPDX-License-Identifier: GPL-3.0-or-later" in source else [f"{path} carries no license line"]
    lazy = "from __future__ import annotations" in source
    return complaints + ([] if lazy else [f"{path} does not keep its annotations lazy, so Python 3.8 cannot read new ones"])


RULES = [keeps_to_the_rooms_it_may_enter, stays_in_the_house, uses_no_shell, is_private_and_licensed]


def test_every_file_is_in_a_room() -> None:
    assert {house.room_in(path) for path in FILES} - {""} == set(ROOMS)
    assert [path for path in FILES if not house.room_in(path)] == [FACE]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", FILES)
def test_file_keeps_the_rule(path: str, rule) -> None:
    assert rule(path, FILES[path]) == []


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_uses_each_room_that_it_says(name: str) -> None:
    assert ARROWS[name] == ROOMS[name].uses


def test_the_arrows_go_one_way_between_rooms_and_inside_them() -> None:
    graphlib.TopologicalSorter({name: room.uses for name, room in ROOMS.items()}).prepare()
    graphlib.TopologicalSorter({path: house.own_imports(source) for path, source in FILES.items()}).prepare()


@pytest.mark.parametrize("name", ROOMS)
def test_the_tests_mirror_the_rooms(name: str) -> None:
    tests = ROOT / "tests" / "unit" / "module_utils"
    assert list((tests / name).glob("test_*.py"))
    assert {path.parent.name for path in tests.rglob("test_*.py")} == set(ROOMS)


def test_the_picture_in_the_guides_is_the_house_as_it_is() -> None:
    assert house.main(["--check"]) == 0


@pytest.mark.parametrize("name", house.DOCUMENTS)
def test_the_guides_name_every_room_and_only_files_that_there_are(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert {f"`{room}/`" for room in ROOMS} <= set(re.findall(r"`\w+/`", text))
    paths = set(re.findall(r"`([\w.-]+/[\w./-]+\.(?:py|yml|md|toml))`", text))
    assert len(paths) > 20
    assert {path for path in paths if not ((ROOT / path).exists() or path in FILES)} == set()


# --- the rules themselves -------------------------------------------------------------------------------------------

HEAD = "# SPDX-License-Identifier: GPL-3.0-or-later\nfrom __future__ import annotations\n"

GOOD = [
    ("operations/_backup.py", HEAD + f"import json\nfrom {_OWN}archive._catalogue import x\nfrom {_OWN}engine import _docker\n"),
    ("operations/_backup.py", HEAD + f"from {_OWN}operations._seed import x\n"),
    (FACE, HEAD + f"from ansible.module_utils.basic import AnsibleModule\nfrom {_OWN}operations._backup import x\n"),
    ("engine/_process.py", HEAD + "import subprocess\nsubprocess.Popen([], shell=False)\n"),
    ("text/_errors.py", HEAD),
]

BROKEN = [
    (keeps_to_the_rooms_it_may_enter, "engine/_docker.py", f"from {_OWN}archive._catalogue import x\n"),
    (keeps_to_the_rooms_it_may_enter, "text/_errors.py", f"import {_OWN}engine._docker\n"),
    (keeps_to_the_rooms_it_may_enter, "engine/_docker.py", f"from {_OWN}server import _postgres\n"),
    (keeps_to_the_rooms_it_may_enter, "engine/_docker.py", f"from {_OWN}server import _schema, _postgres\n"),
    (keeps_to_the_rooms_it_may_enter, "archive/_catalogue.py", f"from {_OWN}operations._migration import x\n"),
    (keeps_to_the_rooms_it_may_enter, "sandbox/_plan.py", f"from {_OWN}operations._restore import x\n"),
    (keeps_to_the_rooms_it_may_enter, "operations/_backup.py", f"from {_OWN}_module import x\n"),
    (keeps_to_the_rooms_it_may_enter, "operations/_backup.py", "def f():\n    from ._docker import x\n"),
    (stays_in_the_house, "operations/_backup.py", "import subprocess\n"),
    (stays_in_the_house, "operations/_backup.py", "def f():\n    import psycopg2.extras\n"),
    (stays_in_the_house, "engine/_docker.py", "from ansible.module_utils.common.process import get_bin_path\n"),
    (uses_no_shell, "engine/_process.py", "run(x, shell=True)\n"),
    (uses_no_shell, "engine/_process.py", "run(x, shell=wanted)\n"),
    (uses_no_shell, "engine/_process.py", "import os\nos.system('x')\n"),
    (is_private_and_licensed, "engine/docker.py", HEAD),
    (is_private_and_licensed, "engine/_docker.py", "x = 1\n"),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize(("path", "source"), GOOD)
def test_a_good_file_breaks_no_rule(path: str, source: str, rule) -> None:
    assert rule(path, source) == []


@pytest.mark.parametrize(("rule", "path", "source"), BROKEN)
def test_a_file_that_breaks_a_rule_is_caught(rule, path: str, source: str) -> None:
    assert rule(path, source)


def test_every_rule_is_shown_to_bite() -> None:
    assert {rule for rule, *_rest in BROKEN} == set(RULES)


@pytest.mark.parametrize(
    "text", ["", "One line.", "Subject.\n\nuses: text.\nAll.", "Subject\n\nUses: text.\nAll.", "S.\n\nUses: text.\nAll.\nMore."]
)
def test_a_room_without_its_three_lines_is_caught(text: str) -> None:
    with pytest.raises(ValueError):
        house.room_of(text)
