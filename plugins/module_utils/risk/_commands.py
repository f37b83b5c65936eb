# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What no event trigger and no catalogue shows: statements that act on rows, on whole tables, on the server; how the runner works.

Here the text is all there is, so it is read no further than its first words and the tables that it names.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import replace

from ansible_collections.dbops.postgres.plugins.module_utils.risk import _estimates
from ansible_collections.dbops.postgres.plugins.module_utils.risk._dropped import describe, last_part
from ansible_collections.dbops.postgres.plugins.module_utils.risk._facts import NOWHERE, TABLE_KINDS, Facts, Finding
from ansible_collections.dbops.postgres.plugins.module_utils.risk._rules import Level
from ansible_collections.dbops.postgres.plugins.module_utils.server._statements import split_statements, without_strings, written_tables

_ALWAYS = re.compile(r"\s*(?:true|1\s*=\s*1)\s*;?\s*(?:$|RETURNING\b)", re.IGNORECASE)
_WHERE = re.compile(r"\bWHERE\b", re.IGNORECASE)
_SERVER = re.compile(
    r"^(?:(?:ALTER\s+SYSTEM|(?:CREATE|ALTER|DROP)\s+(?:ROLE|USER|GROUP|DATABASE|TABLESPACE)|REASSIGN\s+OWNED|DROP\s+OWNED))\b",
    re.IGNORECASE,
)
#: A name of 64 bytes and more is cut off; quoted or not.
_NAME = re.compile(r'"((?:[^"]|"")+)"|\b([A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]{62,})')
_LONGEST = 63

#: Statements that may write whatever they like. In a block's text, between dollars, words are all there is.
_BLOCK = re.compile(r"^(?:DO|CALL|WITH|SELECT|EXPLAIN|MERGE)\b", re.IGNORECASE)
_WRITES = re.compile(r"\b(?:INSERT\s+INTO|UPDATE|DELETE|MERGE\s+INTO|TRUNCATE)\b|^CALL\b", re.IGNORECASE)
_REMOVES = re.compile(r"\b(?:DELETE|TRUNCATE)\b", re.IGNORECASE)

#: Rows that are changed within the blink of an eye, and those that are not.
_FEW, _MANY = 1000, 100000


def commands(facts: Facts) -> t.Iterator[Finding]:
    for place, statement in enumerate(facts.plan.statements):
        if statement.kind == "state":
            continue
        for single in split_statements(statement.sql):
            yield from _on_rows(facts, place, single)
            yield from _on_tables(facts, place, single)
        yield from _long_names(facts, place, statement.sql)


def _named(facts: Facts, single: str) -> list[int]:
    """The tables that were there before, and that a statement names, by the last part of the name."""
    words = set(re.findall(r'"((?:[^"]|"")+)"', single)) | {word.lower() for word in re.findall(r"[\w$]+", without_strings(single))}
    return [oid for oid, relation in facts.before.relations.items() if relation.kind in TABLE_KINDS and last_part(relation.name) in words]


def _written(facts: Facts, single: str) -> list[int]:
    names = written_tables(single)
    return [oid for oid, relation in facts.before.relations.items() if relation.kind in TABLE_KINDS and last_part(relation.name) in names]


def _on_rows(facts: Facts, place: int, single: str) -> t.Iterator[Finding]:
    word = single.split(None, 1)[0].upper()
    if word == "TRUNCATE":
        for oid in _written(facts, single):
            level = Level.LOW if facts.is_empty(oid) else Level.DESTRUCTIVE
            yield facts.finding("ban-truncate", level, describe(facts.before.relations[oid]), place, oid)
    elif _BLOCK.match(single) and _WRITES.search(single):
        level = Level.HIGH if _REMOVES.search(single) and not _all_empty(facts, single) else Level.MEDIUM
        finding = facts.finding("unseen-writes", level, "statement '%s'" % " ".join(single.split())[:100], place)
        yield replace(finding, unknown="what it writes depends on the rows that are there")
    elif word in ("UPDATE", "DELETE") and _is_without_limit(single):
        for oid in _written(facts, single):
            yield _without_limit(facts, place, oid, word)


def _is_without_limit(single: str) -> bool:
    """No WHERE of its own, or one that is always true; a subquery's does not count."""
    text, before = without_strings(single), ""
    while text != before:
        before, text = text, re.sub(r"\([^()]*\)", " ", text)
    found = _WHERE.search(text)
    return found is None or bool(_ALWAYS.match(text[found.end() :]))


def _all_empty(facts: Facts, single: str) -> bool:
    named = _named(facts, single)
    return bool(named) and all(map(facts.is_empty, named))


def _without_limit(facts: Facts, place: int, oid: int, word: str) -> Finding:
    relation, live = facts.before.relations[oid], facts.live(oid)
    if word == "DELETE":
        level = Level.LOW if facts.is_empty(oid) else Level.DESTRUCTIVE
        return facts.finding("delete-without-limit", level, describe(relation), place, oid)
    rows = live.rows if live else _FEW
    level = Level.NONE if facts.is_empty(oid) else Level.LOW if rows < _FEW else Level.MEDIUM if rows < _MANY else Level.HIGH
    return facts.finding("update-without-limit", level, describe(relation), place, oid, _estimates.update(live))


def _on_tables(facts: Facts, place: int, single: str) -> t.Iterator[Finding]:
    words = single.upper().split()
    named = _named(facts, single) or ([0] if len(words) < 3 else [])
    if words[0] == "LOCK":
        for oid in named:
            level = Level.LOW if facts.is_empty(oid) else Level.MEDIUM
            yield facts.finding("lock-table", level, _whole(facts, oid), place, oid)
    elif words[0] == "CLUSTER" or (words[0] == "VACUUM" and "FULL" in re.findall(r"\w+", single.upper())[:6]):
        for oid in named:
            yield _rewriting(facts, place, oid, "prefer-repack")
    elif words[:3] == ["REFRESH", "MATERIALIZED", "VIEW"] and "CONCURRENTLY" not in words:
        for oid in named:
            yield _rewriting(facts, place, oid, "refreshing-materialized-view")
    elif _SERVER.match(single):
        level = Level.DESTRUCTIVE if words[:2] in (["DROP", "DATABASE"], ["DROP", "OWNED"]) else Level.MEDIUM
        yield facts.finding("altering-server", level, "the server (%s)" % " ".join(words[:3]), place)


def _whole(facts: Facts, oid: int) -> str:
    return describe(facts.before.relations[oid]) if oid else "every table"


def _rewriting(facts: Facts, place: int, oid: int, rule: str) -> Finding:
    if not oid:
        return facts.finding(rule, Level.HIGH, "every table", place)
    live = facts.live(oid)
    seconds = _estimates.rewrite(live)
    return facts.finding(rule, _estimates.lock_level(seconds, live), describe(facts.before.relations[oid]), place, oid, seconds)


def _long_names(facts: Facts, place: int, text: str) -> t.Iterator[Finding]:
    for quoted_name, bare in _NAME.findall(without_strings(text)):
        name = (quoted_name or bare).replace('""', '"')
        if len(name.encode()) > _LONGEST:
            yield facts.finding("identifier-too-long", Level.MEDIUM, "name '%s'" % name, place)


def runner(facts: Facts) -> t.Iterator[Finding]:
    """How the runner works, whatever it does."""
    plan = facts.plan
    transactions = {statement.transaction for statement in plan.statements if statement.kind != "state"}
    if len(transactions) > 1 and len(plan.statements) > 1:
        what = "the migration (%d statements in %d transactions)" % (len(plan.statements), len(transactions))
        yield facts.finding("statements-outside-transaction", Level.LOW, what, NOWHERE)
    for text in plan.left_open:
        yield facts.finding("ban-uncommitted-transaction", Level.HIGH, "statement '%s'" % " ".join(text.split())[:100], NOWHERE)
    for statement in plan.again[:3]:
        what = "statement '%s'" % " ".join(statement.sql.split())[:100]
        yield facts.finding("runner-not-content", Level.MEDIUM, what, facts.statement_saying(statement.sql))
