# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a plan is judged, where no server is needed for it; each rule on a real server is in tests/e2e/test_risk_rules.py."""

from __future__ import annotations

import datetime
import re
import typing as t
from dataclasses import replace

import psycopg2
import psycopg2.errors
import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.risk import _estimates, _lookup, _told
from ansible_collections.dbops.postgres.plugins.module_utils.risk._accepted import accept, parse_acceptances
from ansible_collections.dbops.postgres.plugins.module_utils.risk._assessment import Assessment, assess, judge
from ansible_collections.dbops.postgres.plugins.module_utils.risk._columns import is_narrower
from ansible_collections.dbops.postgres.plugins.module_utils.risk._facts import Facts, Finding
from ansible_collections.dbops.postgres.plugins.module_utils.risk._locks import held_locks
from ansible_collections.dbops.postgres.plugins.module_utils.risk._measured import Measured, put_in
from ansible_collections.dbops.postgres.plugins.module_utils.risk._rules import RULES, Level
from ansible_collections.dbops.postgres.plugins.module_utils.risk._rules_ja import JAPANESE
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import Plan, PlannedStatement
from ansible_collections.dbops.postgres.plugins.module_utils.server import _activity
from ansible_collections.dbops.postgres.plugins.module_utils.server._activity import Activity
from ansible_collections.dbops.postgres.plugins.module_utils.server._objects import Column, Index, Objects, Relation
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeConnection

GB = 1024**3
TODAY = datetime.date(2026, 11, 27)
QUIET = Activity("public.users", rows=10**6, size=GB, reads=0.0, writes=0.0)
BUSY = replace(QUIET, reads=500.0, writes=0.0)
USERS = Objects(
    relations={7: Relation("public.users", "r", file=70)},
    columns={(7, 1): Column("id", "bigint", True), (7, 2): Column("name", "text")},
)


def plan(*statements: PlannedStatement, before: Objects = USERS, after: Objects = USERS, **more: t.Any) -> Plan:
    return Plan(statements, {}, {}, (), Outcome(0, "", ""), (), (before, after), **more)


def statement(sql: str, held: dict[int, str] | None = None, transaction: int = 1, **more: t.Any) -> PlannedStatement:
    return PlannedStatement(sql, "schema", held=held or {}, transaction=transaction, **more)


def rules(found: t.Iterable[Finding]) -> dict[str, str]:
    return {finding.rule: finding.level.word for finding in found}


# --- how bad a lock is ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "table", "level"),
    [
        (100, replace(BUSY, empty=True), "none"),
        (0.5, BUSY, "low"),
        (5, QUIET, "low"),
        (5, replace(QUIET, reads=1.0), "medium"),
        (5, BUSY, "high"),
        (30, QUIET, "medium"),
        (60, QUIET, "high"),
        (60, BUSY, "high"),
        (60, replace(QUIET, reads=None), "high"),
        (5, replace(QUIET, reads=None), "medium"),
        (5, None, "medium"),
    ],
)
def test_a_lock_is_as_bad_as_the_table_is_busy(seconds: float, table: Activity | None, level: str) -> None:
    assert _estimates.lock_level(seconds, table).word == level


def test_readers_do_not_wait_for_a_share_lock() -> None:
    assert _estimates.waiting_rate(BUSY, "ShareLock") == 0
    assert _estimates.waiting_rate(BUSY, "AccessExclusiveLock") == 500
    assert _estimates.lock_level(5, BUSY, "ShareLock") is Level.LOW


def test_a_lock_lasts_to_the_end_of_its_transaction() -> None:
    """ent does all in one transaction, so an index that is built later counts against the first ALTER's lock."""
    held = {7: "AccessExclusiveLock"}
    index = Index("public.users_name", 7, "CREATE INDEX users_name ON public.users USING btree (name)", columns=(2,), keys=("name",))
    after = replace(USERS, indexes={9: index})
    facts = Facts(
        plan(
            statement("ALTER TABLE users ADD x int", held),
            statement("CREATE TABLE other (id int)", {**held, 99: "AccessExclusiveLock"}),
            statement("CREATE INDEX users_name ON users (name)", held, objects=("create index public.users_name",)),
            statement("CREATE TABLE alone (id int)", {8: "AccessExclusiveLock"}, transaction=2),
            after=after,
        ),
        {"public.users": replace(BUSY, size=10 * GB)},
    )
    findings = judge(facts)
    [lock] = held_locks(facts, findings)
    assert (lock.table, lock.lock, lock.first, lock.last, lock.waiting) == ("public.users", "AccessExclusiveLock", 0, 2, 500.0)
    assert lock.seconds == pytest.approx(256) and lock.level is Level.HIGH
    assert rules(findings)["require-concurrent-index-creation"] == "high"


# --- rules that no migration of the catalogue plays -------------------------------------------------------------------------


def test_a_table_that_moves_to_another_tablespace() -> None:
    moved = replace(USERS, relations={7: Relation("public.users", "r", file=71, tablespace=5)})
    facts = Facts(plan(statement("ALTER TABLE users SET TABLESPACE fast"), after=moved), {"public.users": BUSY})
    assert rules(judge(facts)) == {"moving-tablespace": "high"}


def test_an_extension_that_the_server_has_not() -> None:
    wanted = replace(USERS, extensions={"postgis": "3.4"})
    connection = FakeConnection({"pg_available_extensions": [("pg_trgm",)], "stats_reset": [(1e6,)]})
    found = assess(connection, plan(statement("CREATE EXTENSION postgis"), after=wanted), None)
    assert rules(found.findings) == {"extension-not-available": "high"}


def test_what_cannot_be_read_is_said_and_costs_no_plan() -> None:
    connection = FakeConnection({"FROM pg_class": psycopg2.Error("permission denied"), "pg_sequence": psycopg2.Error("permission denied")})
    found = assess(connection, plan(statement("ALTER TABLE users DROP name"), after=replace(USERS, columns={})), None)
    assert rules(found.findings) == {"ban-drop-column": "destructive"}
    assert [note.partition(":")[0] for note in found.notes] == [
        "How large and how busy the tables are could not be read",
        "How far its sequences are could not be read",
    ]


@pytest.mark.parametrize(
    ("before", "after", "narrower"),
    [
        ("bigint", "integer", True),
        ("integer", "bigint", False),
        ("character varying(50)", "character varying(20)", True),
        ("character varying(20)", "character varying(50)", False),
        ("text", "character varying(20)", True),
        ("character varying(20)", "text", False),
        ("character varying", "text", False),
        ("numeric(10,2)", "numeric(10,4)", True),
        ("numeric(10,2)", "numeric(12,4)", False),
        ("numeric", "numeric(5,0)", True),
        ("timestamp(6) without time zone", "timestamp(3) without time zone", True),
        ("double precision", "real", True),
        ("text", "integer", False),
        ("public.mood", "text", False),
    ],
)
def test_narrower_is_what_a_value_may_not_fit(before: str, after: str, narrower: bool) -> None:
    assert is_narrower(before, after) is narrower


# --- asking the rows --------------------------------------------------------------------------------------------------------


def not_null(connection: FakeConnection, seconds: float = 10) -> Finding:
    after = replace(USERS, columns={**USERS.columns, (7, 2): Column("name", "text", True)})
    facts = Facts(plan(statement("ALTER TABLE users ALTER name SET NOT NULL"), after=after), {"public.users": QUIET})
    [finding] = _lookup.look_up(connection, facts, judge(facts), seconds)
    return finding


def test_rows_that_would_stop_it_are_counted() -> None:
    found = not_null(FakeConnection({"SELECT count(*)": [(3,)]}))
    assert (found.level, found.evidence) == (Level.HIGH, "3 rows of 'public.users' stop it.")


def test_what_could_not_be_asked_only_a_rehearsal_can_tell() -> None:
    refused = FakeConnection({"SELECT count(*)": psycopg2.errors.QueryCanceled("canceling statement due to statement timeout")})
    found = not_null(refused)
    assert (found.level, found.unknown) == (Level.MEDIUM, "the rows could not be asked (canceling statement due to statement timeout)")
    late = FakeConnection({"SELECT count(*)": [(0,)]})
    assert not_null(late, seconds=-1).unknown == "there was no time left for it"
    assert late.said("SELECT count(*)") == []


def test_nothing_is_asked_where_that_was_not_wanted() -> None:
    connection = FakeConnection({"stats_reset": [(1e6,)]})
    after = replace(USERS, columns={**USERS.columns, (7, 2): Column("name", "text", True)})
    found = assess(connection, plan(statement("ALTER TABLE users ALTER name SET NOT NULL"), after=after), None, seconds=0)
    assert rules(found.findings) == {"adding-not-nullable-field": "medium"}
    assert connection.said("SELECT count(*)") == []
    assert "The rows were not asked (dbops_migrate_look_up_seconds is 0)." in found.notes


# --- rates ------------------------------------------------------------------------------------------------------------------


def look(at: float, scans: int, written: int) -> _activity.Look:
    return _activity.Look(at, {"public.users": Activity("public.users")}, {"public.users": (scans, written)})


def test_rates_are_what_happened_between_two_looks() -> None:
    table = _activity.activity(look(0, 100, 10), look(4, 500, 30))["public.users"]
    assert (table.reads, table.writes) == (100, 5)


@pytest.mark.parametrize(
    ("first", "second"),
    [(look(0, 100, 10), look(0.5, 500, 30)), (look(0, 100, 10), look(4, 5, 30)), (_activity.Look(0, {}, {}), look(4, 5, 30))],
    ids=["too near", "reset meanwhile", "new"],
)
def test_rates_that_are_not_known_are_not_guessed(first: _activity.Look, second: _activity.Look) -> None:
    table = _activity.activity(first, second)["public.users"]
    assert (table.reads, table.writes) == (None, None)


def test_a_partitioned_table_is_as_large_as_its_partitions() -> None:
    rows = [
        ("public.events", "p", 0, 0, True, 0, 0, 0, 1, 0, []),
        ("public.events_1", "r", 5, 5, False, 100, 1, 10, 2, 3, ["public.events"]),
        ("public.events_1a", "r", 7, 6, False, 200, 2, 20, 4, 5, ["public.events_1"]),
    ]
    found = _activity.look(FakeConnection({"FROM pg_class": rows, "stats_reset": [(None,)]}), lambda: 1.0)
    whole = found.tables["public.events"]
    assert (whole.rows, whole.size, whole.toast, whole.indexes, whole.empty) == (12, 300, 3, 30, False)
    assert found.counters["public.events"] == (7, 8)


# --- what the inventory accepts ---------------------------------------------------------------------------------------------

DROPPED = Finding("ban-drop-column", Level.DESTRUCTIVE, 'column public.users."name"', 0, why="Gone.", safer="Wait.", table="public.users")


def test_what_is_accepted_does_not_count() -> None:
    given = [{"rule": "ban-drop-column", "object": "column public.users.*", "reason": "not read", "until": "2026-11-27"}]
    found, told = accept([DROPPED], parse_acceptances(given), TODAY)
    assert found[0].accepted == "not read" and told == []
    assert Assessment(tuple(found)).level is Level.NONE
    assert Assessment((DROPPED,)).level is Level.DESTRUCTIVE
    assert 'Accepted: ban-drop-column of column public.users."name" (not read).' in _told.lines(Assessment(tuple(found)))


def test_what_has_run_out_or_covers_nothing_is_reported() -> None:
    given = [
        {"rule": "ban-drop-column", "reason": "old", "until": datetime.date(2026, 11, 26)},
        {"rule": "ban-drop-column", "object": "column other.*", "reason": "elsewhere"},
    ]
    found, told = accept([DROPPED], parse_acceptances(given), TODAY)
    assert found[0].accepted == ""
    assert "has run out (until 2026-11-26)" in told[0] and "covers nothing in this migration" in told[1]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"rule": "no-such", "reason": "x"}, "there is no rule 'no-such'"),
        ({"rule": "ban-drop-column"}, "'reason' says why"),
        ({"rule": "ban-drop-column", "reason": "x", "until": "soon"}, "'until' is a day such as 2026-12-31, not 'soon'"),
        ({"rule": "ban-drop-column", "reason": "x", "objekt": "y"}, "no other keys"),
        ("ban-drop-column", "no other keys"),
    ],
)
def test_an_acceptance_that_makes_no_sense_is_refused(entry: t.Any, said: str) -> None:
    with pytest.raises(DbopsError, match="Entry 1 of dbops_migrate_risk_accepted is not right") as refused:
        parse_acceptances([entry])
    assert said in refused.value.message


# --- as people read it ------------------------------------------------------------------------------------------------------


def test_the_worst_comes_first_and_the_harmless_by_name() -> None:
    low = Finding("changing-default", Level.LOW, 'column public.users."name"')
    asked = replace(DROPPED, unknown="there was no time left for it", seconds=75.0)
    told = _told.lines(Assessment((asked, low), notes=("Noted.",)))
    assert told[0] == "Risk for this database: destructive (1 finding above low, 1 of them only a rehearsal can tell)."
    assert told[1].startswith(
        'destructive: column public.users."name" (ban-drop-column, statement 1). Gone. About 1 min 15 s, an estimate.'
    )
    assert "Only a rehearsal can tell: there was no time left for it." in told[1]
    assert told[2:] == ["  Safer: Wait.", 'low: column public.users."name" (changing-default).', "Noted."]
    data = _told.facts(Assessment((asked, low)))
    assert [finding["statement"] for finding in data["findings"]] == [1, None]
    assert data["level"] == "destructive" and "subject" not in data["findings"][0]


def test_every_rule_says_why_and_what_is_safer() -> None:
    for rule in RULES.values():
        assert rule.why.endswith((".", "!")) and len(rule.safer) > 5, rule.id
        assert rule.id == rule.id.lower() and " " not in rule.id


# --- what a rehearsal has measured ------------------------------------------------------------------------------------------


def test_what_was_measured_stands_in_the_place_of_what_was_estimated() -> None:
    after = replace(USERS, columns={**USERS.columns, (7, 2): Column("name", "text", True)})
    done = plan(statement("ALTER TABLE users ALTER name SET NOT NULL", held={7: "AccessExclusiveLock"}), after=after)
    facts = Facts(done, {"public.users": BUSY})
    [estimated] = judge(facts)
    assert (estimated.level, estimated.measured) == (Level.HIGH, False)
    measured = Measured("chat_1", (0.2,), {"public.users": 0.3})
    [found] = put_in([estimated], facts, measured)
    assert (found.level, found.seconds, found.measured) == (Level.LOW, 0.2, True)
    assert found.evidence == "It went through on the rows of backup 'chat_1'."
    [lock] = held_locks(facts, [found], measured)
    assert (lock.level, lock.seconds, lock.measured) == (Level.LOW, 0.3, True)
    [slow] = put_in([estimated], facts, Measured("chat_1", (70.0,)))
    assert slow.level is Level.HIGH


def test_a_hazard_that_is_not_about_time_stays_one_however_quick_it_was() -> None:
    after = replace(USERS, columns={**USERS.columns, (7, 2): Column("name", "character varying(5)")})
    done = plan(statement("ALTER TABLE users ALTER name TYPE varchar(5)", rewrites=("public.users",)), after=after)
    facts = Facts(done, {"public.users": BUSY})
    [narrower] = judge(facts)
    assert narrower.rule == "narrowing-column-type"
    [found] = put_in([narrower], facts, Measured("chat_1", (0.1,)))
    assert found.level is Level.HIGH


def test_where_one_statement_was_not_measured_what_was_seen_of_the_lock_still_counts() -> None:
    done = plan(statement("ALTER TABLE users ADD x int", held={7: "AccessExclusiveLock"}), statement("INSERT INTO state VALUES (1)"))
    facts = Facts(done, {"public.users": QUIET})
    [lock] = held_locks(facts, [], Measured("chat_1", (0.1, None), {"public.users": 300.0}))
    assert (lock.seconds, lock.measured) == (300.0, False)


def test_every_rule_is_there_in_japanese_with_the_same_names_to_fill_in() -> None:
    names = re.compile(r"\{\w+\}")
    assert set(JAPANESE) == set(RULES)
    for name, rule in RULES.items():
        assert set(names.findall(rule.why + rule.safer)) == set(names.findall("".join(JAPANESE[name]))), name
