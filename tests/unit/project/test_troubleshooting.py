# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every message that the collection can show has an entry in the troubleshooting guides, and every entry has a message.

An entry is a heading, ``### `beginning of the message` ``, in which an ellipsis stands for what differs from run to run. It is for
all messages that begin like that.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
GUIDES = ("docs/troubleshooting.md", "docs/troubleshooting.ja.md")

ERRORS = {"DbopsError", "Refused", "ServerError", "EngineError", "Busy", "Interrupted"}
#: The rooms, and what speaks on the controller.
PLACES = ("module_utils", "plugin_utils")
#: Functions that make sentences of which messages are put together.
SENTENCES = {
    "doubts",
    "foreign_files",
    "not_restorable",
    "wrong_server",
    "failure_of",
    "_trouble",
    "tool_failure",
    "_connect_sentence",
    "state_after_failure",
    "what_was_lost",
    "_server_lost",
    "_container_lost",
    "_second_way",
    "lost",
    "gone",
    "still_lost",
    "_refusal",
    "_gates_refusal",
}
#: Tables of sentences.
TABLES = {"_ENGINE_TROUBLE"}

GAP = "…"
_PLACEHOLDER = re.compile(r"%(?:[-+ #0]*\d*(?:\.\d+)?[diouxXeEfFgGcrsa])")


def shape(text: str) -> str:
    """A message with an ellipsis for all that differs."""
    text = _PLACEHOLDER.sub(GAP, text)
    text = re.sub(r"\{\{.*?\}\}", GAP, text, flags=re.DOTALL)
    return " ".join(text.split())


def template(node: ast.AST) -> str:
    """The text of an expression, with a placeholder for each part that is not known here."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return template(node.left)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return template(node.left) + template(node.right)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "%s" for part in node.values)
    return "%s"


def says_something(text: str) -> bool:
    """At least two words of its own, not only what others said."""
    return len(re.findall(r"[A-Za-z]{2,}", text)) >= 2 and not re.fullmatch(
        rf"{GAP}(?: {GAP}| The live database.*| It is cut off.*)?", text
    )


def messages_of(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        yield from filter(says_something, map(shape, _texts(node)))


def _texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call) and node.args and (getattr(node.func, "id", "") in ERRORS or _is_told(node.func)):
        yield template(node.args[0])
    elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "after":
        yield f"{GAP} {template(node.args[0])}"  # what had been done before the error that comes first
    elif isinstance(node, ast.AugAssign) and _is_of_warnings(node.target):
        values = node.value.elts if isinstance(node.value, ast.List) else [getattr(node.value, "elt", None)]
        yield from (template(value) for value in values if value)
    elif isinstance(node, ast.FunctionDef) and node.name in SENTENCES:
        yield from _sentences(node)
    elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in TABLES:
        yield from (pair.elts[1].value for pair in node.value.elts)


def _is_told(function: ast.AST) -> bool:
    return _is_of_warnings(function, ".append") or getattr(function, "attr", "") == "_say"


def _is_of_warnings(node: ast.AST, method: str = "") -> bool:
    return ast.unparse(node).endswith("warnings" + method)


def _sentences(function: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(function):
        value = node.value if isinstance(node, ast.Return) else None
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".append"):
            value = node.args[0]
        choices = [value.body, value.orelse] if isinstance(value, ast.IfExp) else value.elts if isinstance(value, ast.List) else [value]
        yield from (template(choice) for choice in choices if choice is not None)


def messages_of_yaml(text: str) -> Iterator[str]:
    def walk(value: object, of: str = "") -> Iterator[str]:
        if isinstance(value, dict):
            for key, item in value.items():
                yield from [shape(item)] if key == "fail_msg" or (of, key) == ("ansible.builtin.fail", "msg") else walk(item, key)
        elif isinstance(value, list):
            for item in value:
                yield from walk(item)

    yield from walk(yaml.safe_load(text))


def all_messages() -> list[str]:
    found = {
        message
        for place in PLACES
        for path in (ROOT / "plugins" / place).rglob("*.py")
        for message in messages_of(path.read_text(encoding="utf-8"))
    }
    for path in [*(ROOT / "playbooks").glob("*.yml"), *ROOT.glob("roles/*/tasks/*.yml")]:
        found.update(messages_of_yaml(path.read_text(encoding="utf-8")))
    return sorted(found)


def entries(guide: str) -> list[str]:
    return re.findall(r"^### `(.+)`$", (ROOT / guide).read_text(encoding="utf-8"), re.MULTILINE)


def entry_for(message: str, headings: list[str]) -> str:
    """The longest beginning; empty where there is none."""
    fitting = [heading for heading in headings if message.startswith(heading.rstrip(GAP + " "))]
    return max(fitting, key=len, default="")


@pytest.mark.parametrize("guide", GUIDES)
def test_every_message_has_an_entry(guide: str) -> None:
    messages, headings = all_messages(), entries(guide)
    assert len(messages) > 80
    assert [message for message in messages if not entry_for(message, headings)] == []


@pytest.mark.parametrize("guide", GUIDES)
def test_every_entry_is_for_a_message_and_begins_like_it(guide: str) -> None:
    headings = entries(guide)
    assert len(headings) == len(set(headings))
    assert [heading for heading in headings if not says_something(heading)] == []
    used = {entry_for(message, headings) for message in all_messages()}
    assert [heading for heading in headings if heading not in used] == []


def test_both_languages_have_the_same_entries() -> None:
    english, japanese = (entries(guide) for guide in GUIDES)
    assert english == japanese


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("raise DbopsError('The file %s is empty: %d bytes.' % (a, b))", "The file … is empty: … bytes."),
        ("raise Busy('Database is busy' + why + ' now.')", "Database is busy… now."),
        ("operation.warnings.append('It was %s before that.' % x)", "It was … before that."),
        ("operation.warnings += ['It was %s before that.' % x for x in y]", "It was … before that."),
        ("def doubts():\n    return ['This is %s in the end.' % x]", "This is … in the end."),
        ("_ENGINE_TROUBLE = (('a', 'The engine is gone.'),)", "The engine is gone."),
    ],
)
def test_messages_are_found_in_all_their_places(source: str, wanted: str) -> None:
    assert list(messages_of(source)) == [wanted]
