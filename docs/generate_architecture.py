# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Draws the rooms of `plugins/module_utils` and the arrows between them into the guides, from the imports as they are.

    python3 docs/generate_architecture.py           brings the pictures up to date
    python3 docs/generate_architecture.py --check   changes nothing, and fails where a picture is stale

A picture stands between `<!-- the rooms: ... -->` and `<!-- end of the rooms -->`. An arrow that follows from others is left out.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOUSE = ROOT / "plugins" / "module_utils"
DOCUMENTS = ("docs/architecture.md", "docs/architecture.ja.md")

#: Stands in front of the rooms: the modules' shared face.
FACE = "_module.py"

OWN = "ansible_collections.dbops.postgres.plugins.module_utils."
_PICTURE = re.compile(r"(<!-- the rooms: [^\n]*-->\n).*?(<!-- end of the rooms -->)", re.DOTALL)


@dataclass(frozen=True)
class Room:
    """What a room's docstring says: the subject, the rooms that it uses, who may enter."""

    subject: str
    uses: frozenset[str]
    entry: str


def room_of(docstring: str) -> Room:
    """:raises ValueError: where it has not the three lines."""
    subject, _empty, uses, entry = docstring.strip().splitlines()
    if not uses.startswith("Uses: ") or not subject.endswith(".") or not entry.endswith("."):
        raise ValueError(docstring)
    named = uses[len("Uses: ") :].rstrip(".")
    return Room(subject, frozenset() if named == "nothing of ours" else frozenset(named.split(", ")), entry)


def read_rooms() -> dict[str, Room]:
    found = {}
    for path in sorted(HOUSE.glob("*/__init__.py")):
        found[path.parent.name] = room_of(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")
    return found


def read_files() -> dict[str, str]:
    """The text of every file of the house, by its path below it."""
    return {
        path.relative_to(HOUSE).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(HOUSE.rglob("*.py"))
        if path.name != "__init__.py"
    }


def room_in(path: str) -> str:
    """The room in which a file is; the face stands in none."""
    return path.rpartition("/")[0]


def imports_of(source: str) -> list[str]:
    """Dotted names of what a file imports; a relative one begins with a dot."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            # `from ...engine import _docker` names a file, `from ...engine._docker import Docker` what is in one.
            is_room = f"{module}.".startswith(OWN) and not module.rpartition(".")[2].startswith("_")
            names += [f"{module}.{alias.name}" for alias in node.names] if is_room else [module]
    return names


def own_imports(source: str) -> list[str]:
    """The files of the house that a file imports, as paths below it."""
    return [name[len(OWN) :].replace(".", "/") + ".py" for name in imports_of(source) if name.startswith(OWN)]


def arrows(files: Mapping[str, str]) -> dict[str, set[str]]:
    """Which other rooms each room enters; the face is called `_module`."""
    found: dict[str, set[str]] = {}
    for path, source in files.items():
        name = room_in(path) or "_module"
        found.setdefault(name, set()).update(room_in(other) for other in own_imports(source) if room_in(other) != name)
    return found


def direct(graph: Mapping[str, set[str]]) -> dict[str, list[str]]:
    """The arrows that do not follow from others."""

    def below(name: str) -> set[str]:
        return {name}.union(*(below(other) for other in graph[name]))

    return {
        name: sorted(other for other in others if not any(other in below(third) for third in others - {other}))
        for name, others in sorted(graph.items())
    }


def picture() -> str:
    lines = [
        "```mermaid",
        "flowchart TD",
        '    playbooks(["playbooks"]) --> roles(["roles"]) --> modules(["modules"]) --> _module',
        "    modules --> operations & looks & diagnosis",
    ]
    lines += [f"    {name} --> {' & '.join(others)}" for name, others in direct(arrows(read_files())).items() if others]
    return "\n".join([*lines, "```", ""])


def filled(text: str) -> str:
    """A document with its picture up to date."""
    return _PICTURE.sub(lambda found: found[1] + picture() + found[2], text)


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print("usage: docs/generate_architecture.py [--check]", file=sys.stderr)
        return 2
    stale = []
    for name in DOCUMENTS:
        present = (ROOT / name).read_text(encoding="utf-8")
        if filled(present) != present:
            stale.append(name)
            if not arguments:
                (ROOT / name).write_text(filled(present), encoding="utf-8")
    for name in stale:
        print(f"{name}: {'stale, run docs/generate_architecture.py' if arguments else 'written'}")
    return 1 if stale and arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
