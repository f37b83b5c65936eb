# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a migration did on real rows, without their values: so it is told and written down."""

from __future__ import annotations

import re
import typing as t
from dataclasses import replace

from ansible_collections.dbops.postgres.plugins.module_utils.rehearsal._record import comparable
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import Plan
from ansible_collections.dbops.postgres.plugins.module_utils.server._objects import Objects
from ansible_collections.dbops.postgres.plugins.module_utils.server._statements import without_literals

#: What a sentence of the server's quotes: a name, or a value.
_QUOTED = re.compile(r'"((?:[^"]|"")*)"?')


def without_rows(plan: Plan) -> Plan:
    """What is told and written down holds no values of rows. What the runner itself has said may hold any, so it is not told at all."""
    names = {word.lower() for objects in plan.objects for word in _names(objects)}
    failed = (replace(item, sql=without_literals(item.sql), error=_without_values(item.error, item.sql, names)) for item in plan.failed)
    statements = (replace(statement, sql=comparable(statement)) for statement in plan.statements)
    return replace(
        plan,
        statements=tuple(statements),
        failed=tuple(failed),
        outcome=replace(plan.outcome, stdout="", stderr=""),
        left_open=tuple(map(without_literals, plan.left_open)),
    )


def _names(objects: Objects) -> t.Iterator[str]:
    """Of everything that there is, as far as a sentence of the server's may quote it."""
    for known in (objects.relations.values(), objects.indexes.values(), objects.types.values()):
        yield from (item.name.rpartition(".")[2].strip('"') for item in known)
    yield from (column.name for column in objects.columns.values())
    yield from (constraint.name for constraint in objects.constraints.values())
    yield from objects.schemas.values()


def _without_values(error: str, statement: str, names: t.Collection[str]) -> str:
    """A quoted word stays where it is the name of something, or stands in the statement as one."""
    said = without_literals(statement).lower()

    def kept(match: re.Match[str]) -> str:
        word = match.group(1).lower()
        return match.group() if word in names or (word and re.search(r"(?<!\w)%s(?!\w)" % re.escape(word), said)) else '"?"'

    return _QUOTED.sub(kept, error)
