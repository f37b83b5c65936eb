# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a program needs of a schema: whether it is there, and what stands in its way.

A program's needs are the schema that its own migration makes of an empty database. It can work with more than that, as long as
what is there has the types that it expects, and nothing that it does not know demands a value from it.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import Snapshot

#: What programs name in their statements; without an index or a constraint they still work.
VITAL = ("table ", "column ", "type ", "view ", "materialized view ", "foreign table ", "sequence ", "function ", "procedure ")

#: Where the type ends in the definition of a column (see ``_schema``).
_AFTER_TYPE = re.compile(r" (?:collate|not null|storage|compression|statistics|generated|default|identity|grants)\b")

_LABEL = re.compile(r"'(?:[^']|'')*'")


@dataclass(frozen=True)
class Fit:
    """How a schema fits a program.

    :param lacking: objects that it needs and that are not there.
    :param unfit: sentences on what is there but not as it needs it, or demands what it does not know.
    :param further: objects that it does not know.
    """

    lacking: tuple[str, ...]
    unfit: tuple[str, ...]
    further: tuple[str, ...]


def fit(schema: Snapshot, needs: Snapshot) -> Fit:
    lacking = tuple(key for key in sorted(needs) if key not in schema)
    further = tuple(key for key in sorted(schema) if key not in needs)
    return Fit(lacking, tuple(_unfit(schema, needs)), further)


def broken_by(before: Snapshot, after: Snapshot, needs: Snapshot) -> list[str]:
    """What of a program's needs a change of the schema takes away, one sentence each; what did not fit before is not counted."""
    gone = [key for key in sorted(needs) if key.startswith(VITAL) and key in before and key not in after]
    tables = [key for key in gone if key.startswith("table ")]
    gone = [key for key in gone if not any(key.startswith("column %s." % table.partition(" ")[2]) for table in tables)]
    unfit_before = set(_unfit(before, needs))
    return ["%s would be gone" % key for key in gone] + [said for said in _unfit(after, needs) if said not in unfit_before]


def can_break(before: Snapshot, after: Snapshot) -> bool:
    """Whether a change could break any program at all: one that only adds what may be left out cannot."""
    known = {key: definition for key, definition in before.items() if key.startswith(VITAL)}
    return bool(broken_by(before, after, known))


def leftovers(shared: Snapshot, present: t.Sequence[Snapshot], gone: t.Sequence[Snapshot]) -> list[str]:
    """Tables and columns that only programs which are gone have needed."""
    needed = {key for needs in present for key in needs}
    once = {key for needs in gone for key in needs}
    found = [key for key in sorted(shared) if key in once and key not in needed and key.startswith(("table ", "column "))]
    tables = [key.partition(" ")[2] for key in found if key.startswith("table ")]
    return [key for key in found if not any(key.startswith("column %s." % table) for table in tables)]


def _unfit(schema: Snapshot, needs: Snapshot) -> t.Iterator[str]:
    for key in sorted(needs):
        if key in schema and key.startswith(VITAL):
            why = _difference(key, schema[key], needs[key])
            if why:
                yield "%s %s" % (key, why)
    tables = {key.partition(" ")[2] for key in needs if key.startswith("table ")}
    for key in sorted(schema):
        if key.startswith("column ") and key not in needs and key.partition(" ")[2].rpartition(".")[0] in tables and _demands(schema[key]):
            yield "%s demands a value that it does not give" % key


def _difference(key: str, present: str, needed: str) -> str:
    """Why an object that is there does not do; empty where it does."""
    if key.startswith("column "):
        if _type_of(present) != _type_of(needed):
            return "is %s, not %s" % (_type_of(present), _type_of(needed))
        return "demands a value, which it may leave out" if _demands(present) and not _demands(needed) else ""
    if key.startswith("type "):
        missing = [label for label in _LABEL.findall(needed) if label not in _LABEL.findall(present)]
        return "lacks the value %s" % ", ".join(missing) if missing else ""
    if key.startswith(("view ", "materialized view ", "function ", "procedure ")) and present != needed:
        return "has another definition"
    return ""


def _type_of(definition: str) -> str:
    found = _AFTER_TYPE.search(definition)
    return definition[: found.start()] if found else definition


def _demands(definition: str) -> bool:
    """Whether an insert has to give the column a value."""
    return " not null" in definition and not re.search(r" (?:default|identity|generated) ", definition)
