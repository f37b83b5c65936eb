# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One wording for definitions that PostgreSQL writes in two: as it stored them at first, and as it stores them from its own text.

A dump holds that text, so a copy that was made from a dump (a sandbox, a restored database) may differ from its original by wording alone:
``kind IN ('a', 'b')`` of a varchar is written ``(ARRAY['a'::varchar, 'b'::varchar])::text[]`` at first and
``ARRAY[('a'::varchar)::text, ('b'::varchar)::text]`` from then on, and ``((a AND b) AND c)`` becomes ``(a AND b AND c)``
(planetscale/migration-scripts#75; flattening: makeAndExpr in PostgreSQL's gram.y). Pure.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

#: What is written as it was typed stays as it is: quoted text, quoted names.
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")

_ARRAY = "ARRAY["
_CAST = re.compile(r"\]\)?::((?:\"[^\"]+\"|[\w.]+)(?: [a-z]+)*)\[\]")
_OPERATORS = (" AND ", " OR ")


@dataclass
class _Group:
    """What stands between two parentheses: texts, and further groups. ``text``: all of it, once it is closed, however deep it is."""

    parts: list[str | _Group] = field(default_factory=list)
    text: str = ""

    def close(self) -> None:
        self.text = "(%s)" % self.joined()

    def joined(self) -> str:
        return "".join(part if isinstance(part, str) else part.text for part in self.parts)


def canonical(text: str) -> str:
    """The second wording of a definition; one that is in it already is returned as it is."""
    if _ARRAY in text:
        text = _with_casts_inside(text)
    if any(operator in text for operator in _OPERATORS):
        text = _flat(text)
    return text


def _with_casts_inside(text: str) -> str:
    """The cast of an array as casts of its items. Definitions of statistics come without parentheses that are not needed."""
    start = text.find(_ARRAY)
    while start >= 0:
        items, end = _items(text, start + len(_ARRAY))
        cast = _CAST.match(text, end)
        enclosed = text[end + 1 : end + 2] == ")"
        if cast and items != [""] and (text[:start].endswith("(") or not enclosed):
            form = "(%s)::%s" if enclosed else "%s::%s"
            replaced = "ARRAY[%s]" % ", ".join(form % (item, cast.group(1)) for item in items)
            text = text[: start - enclosed] + replaced + text[cast.end() :]
        start = text.find(_ARRAY, start + 1)
    return text


def _items(text: str, position: int) -> tuple[list[str], int]:
    """The items of an array up to its closing bracket, and where that is."""
    items: list[str] = []
    begin, depth = position, 0
    while position < len(text):
        quoted = _QUOTED.match(text, position)
        if quoted:
            position = quoted.end()
            continue
        letter = text[position]
        if letter in "([":
            depth += 1
        elif letter in ")]" and depth:
            depth -= 1
        elif letter == "]":
            return [*items, text[begin:position]], position
        elif letter == "," and not depth:
            items.append(text[begin:position])
            begin = position + 2  # a comma and a blank
        position += 1
    return items, position


def _flat(text: str) -> str:
    whole = _Group()
    groups = [whole]
    position = begin = 0
    while position < len(text):
        quoted = _QUOTED.match(text, position)
        if quoted:
            position = quoted.end()
            continue
        if text[position] in "()":
            groups[-1].parts.append(text[begin:position])
            begin = position + 1
            if text[position] == "(":
                groups.append(_Group())
                groups[-2].parts.append(groups[-1])
            elif len(groups) > 1:
                _flatten(groups[-1])
                groups.pop().close()
            else:
                return text  # no expression of PostgreSQL's
        position += 1
    whole.parts.append(text[begin:])
    return whole.joined() if len(groups) == 1 else text


def _flatten(group: _Group) -> None:
    """Take the parentheses from an operand that is a chain of the same operator."""
    for operator in _OPERATORS:
        if _is_chain(group, operator):
            parts: list[str | _Group] = []
            for part in group.parts:
                inner = isinstance(part, _Group) and _is_chain(part, operator)
                parts += t.cast(_Group, part).parts if inner else [part]
            group.parts = parts


def _is_chain(group: _Group, operator: str) -> bool:
    """Whether it is operands in parentheses with nothing but this operator between them."""
    texts = [part for part in group.parts if isinstance(part, str)]
    between = [text for text in texts if text]
    return len(between) > 0 and all(text == operator for text in between) and len(group.parts) - len(texts) == len(between) + 1
