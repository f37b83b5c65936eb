# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a judgement stands on: the plan as it was seen in the sandbox, and the live database's tables."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ansible_collections.dbops.postgres.plugins.module_utils.risk._rules import RULES, Level
from ansible_collections.dbops.postgres.plugins.module_utils.risk._rules_ja import JAPANESE
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import Plan, PlannedStatement
from ansible_collections.dbops.postgres.plugins.module_utils.server._activity import Activity
from ansible_collections.dbops.postgres.plugins.module_utils.server._objects import Objects, Relation

#: What a finding is without a statement of its own.
NOWHERE = -1

#: Tables hold rows; the other kinds of relations do not.
TABLE_KINDS = "rpm"


@dataclass(frozen=True)
class Finding:
    """One hazard of a plan. ``statement``: its place in the plan, ``NOWHERE`` where none can be named.

    ``seconds``: how long it works while others wait, an estimate unless ``measured``, ``None`` where nobody has to; ``evidence``: what the live database's rows
    say; ``unknown``: why they could not be asked, so that only a rehearsal can tell; ``accepted``: the reason given in the inventory;
    ``subject``: the numbers of what is meant, as ``_lookup`` needs them; ``ja``: why and the safer way in Japanese.
    """

    rule: str
    level: Level
    object: str
    statement: int = NOWHERE
    why: str = ""
    safer: str = ""
    table: str = ""
    seconds: float | None = None
    evidence: str = ""
    unknown: str = ""
    accepted: str = ""
    subject: tuple[int, ...] = ()
    measured: bool = False
    ja: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """``tables``: the live database's, by full name, as far as they could be looked at."""

    plan: Plan
    tables: dict[str, Activity] = field(default_factory=dict)

    @property
    def before(self) -> Objects:
        return self.plan.objects[0]

    @property
    def after(self) -> Objects:
        return self.plan.objects[1]

    def was(self, oid: int) -> Relation | None:
        """A relation that was there before: what the plan itself creates is nobody's yet."""
        return self.before.relations.get(oid)

    def name_of(self, oid: int) -> str:
        """Of any relation; what belongs to an extension is nobody's here, and has none."""
        relation = self.after.relations.get(oid) or self.before.relations.get(oid)
        return relation.name if relation else "a table of an extension"

    def live(self, oid: int) -> Activity | None:
        relation = self.was(oid)
        return self.tables.get(relation.name) if relation else None

    def is_empty(self, oid: int) -> bool:
        """Known to have no row: made by the plan, or looked at."""
        table = self.live(oid)
        return self.was(oid) is None or bool(table and table.empty)

    def rewritten(self, oid: int) -> bool:
        names = {objects.relations[oid].name for objects in (self.before, self.after) if oid in objects.relations}
        return any(names & set(statement.rewrites) for statement in self.plan.statements)

    def changes_type(self, table: int, numbers: t.Iterable[int]) -> bool:
        """Whether one of these columns gets another type: the server then makes anew what stands on it, under new numbers."""
        for number in numbers:
            before, after = self.before.columns.get((table, number)), self.after.columns.get((table, number))
            if before and after and (before.type, before.collation) != (after.type, after.collation):
                return True
        return False

    def keeps_file(self, index: int) -> bool:
        """Whether an index was there before, by its number or else its name, and is not built anew."""
        now, before = self.after.indexes.get(index), self.before.indexes
        same = [before[index]] if index in before else [old for old in before.values() if now and old.name == now.name]
        return bool(now and any(old.file == now.file for old in same))

    def statement_about(self, oid: int, *words: str) -> int:
        """The first statement that touched a relation and holds every word, else that touched it, else that holds every word."""
        names = {objects.relations[oid].name for objects in (self.before, self.after) if oid in objects.relations}
        best = [
            (2 * _touches(statement, names) + _says(statement, words), -position) for position, statement in enumerate(self.plan.statements)
        ]
        score, position = max(best, default=(0, 0))
        return -position if score else NOWHERE

    def statement_creating(self, kind: str, name: str) -> int:
        """The one that the event triggers saw make an object."""
        wanted = "create %s %s" % (kind, name)
        return next((place for place, statement in enumerate(self.plan.statements) if wanted in statement.objects), NOWHERE)

    def statement_saying(self, *words: str) -> int:
        return next((place for place, statement in enumerate(self.plan.statements) if _says(statement, words)), NOWHERE)

    def held(self, statement: int, oid: int) -> str:
        """The strongest lock on a table when a statement ended, empty where there was none."""
        return self.plan.statements[statement].held.get(oid, "") if statement >= 0 else ""

    def finding(
        self,
        rule: str,
        level: Level,
        what: str,
        statement: int,
        oid: int = 0,
        seconds: float | None = None,
        subject: tuple[int, ...] = (),
        **names: str,
    ) -> Finding:
        relation = self.was(oid)
        known = {"name": what.partition(" ")[2], "table": relation.name if relation else "", **names}
        return Finding(
            rule,
            level,
            what,
            statement,
            why=_filled(RULES[rule].why, known),
            safer=_filled(RULES[rule].safer, known),
            ja=tuple(_filled(text, known) for text in JAPANESE[rule]),
            table=relation.name if relation else "",
            seconds=seconds,
            subject=subject,
        )


class _Names(t.Dict[str, str]):
    """A name that a rule's sentence holds, and nobody knows for this object, stands there as an ellipsis."""

    def __missing__(self, key: str) -> str:
        return "..."


def _filled(text: str, names: t.Mapping[str, str]) -> str:
    return text.format_map(_Names(names))


def _touches(statement: PlannedStatement, names: t.Collection[str]) -> bool:
    """By what the event triggers saw: ``alter table public.users``, ``drop table column public.users.name``."""
    return any(seen.endswith(" " + name) or " %s." % name in seen for seen in statement.objects for name in names)


def _says(statement: PlannedStatement, words: t.Sequence[str]) -> bool:
    text = statement.sql.lower()
    return bool(words) and all(re.search(r"(?<![\w$])%s(?![\w$])" % re.escape(word.lower()), text) for word in words)


def quoted(name: str) -> str:
    """An identifier as it is typed, whatever is in it."""
    return '"%s"' % name.replace('"', '""')
