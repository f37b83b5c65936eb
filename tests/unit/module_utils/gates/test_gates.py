# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each gate, open and closed; what makes no sense is refused; nobody overrules one without a reason."""

from __future__ import annotations

import datetime
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _journal
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.gates import _evidence
from ansible_collections.dbops.postgres.plugins.module_utils.gates._gates import Gate, GateOptions, asks_its_checklist, refusal, wanted
from ansible_collections.dbops.postgres.plugins.module_utils.gates._window import DAYS, parse_window
from ansible_collections.dbops.postgres.plugins.module_utils.rehearsal._record import write_rehearsal
from ansible_collections.dbops.postgres.plugins.module_utils.rehearsal._versions import Version
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import Plan
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import fingerprint, shape
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import moment
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeConnection, FakeDocker, container, operation, published
from ansible_collections.dbops.postgres.tests.unit.module_utils.rehearsal.test_record import rehearsal

BEFORE = {"table public.users": "owner chat_owner"}
AFTER = {**BEFORE, "table public.notes": "owner chat_owner grants reader=SELECT"}
PLAN = Plan((), BEFORE, AFTER, (), Outcome(0, "", ""))
#: The backup of the fakes was made at three o'clock of that day.
NOW = moment("2026-11-23T15:00:00Z")


@pytest.fixture(autouse=True)
def _at_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_evidence, "utc_now", lambda: NOW)


def evaluated(
    folder: Path, gates: dict[str, t.Any] | None, connection: FakeConnection | None = None, plan: Plan = PLAN, **more: t.Any
) -> dict[str, Gate]:
    approved = more.pop("approved", None)
    asked = operation(folder, connection, environment=more.pop("environment", "production"))
    return {gate.name: gate for gate in _evidence.evaluate(asked, plan, approved, GateOptions(gates, **more))}


# --- which gates there are --------------------------------------------------------------------------------------------------


def test_production_has_its_gates_and_the_preview_none(tmp_path: Path) -> None:
    assert list(evaluated(tmp_path, None)) == ["backup", "preview", "clean"]
    assert evaluated(tmp_path, None, environment="preview") == {}
    assert asks_its_checklist("prod", True), "another word for production"
    assert not asks_its_checklist("staging", False) and not asks_its_checklist("preview", True)
    assert evaluated(tmp_path, {}) == {}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (GateOptions({"backups": {}}), "There is no gate 'backups'"),
        (GateOptions({"backup": {"days": 1}}), "takes hours, nothing else"),
        (GateOptions({"clean": {"x": 1}}), "takes nothing: write {}"),
        (GateOptions({"backup": 26}), "takes hours, nothing else"),
        (GateOptions({"backup": {"hours": "many"}}), "'hours' is a number above 0, not 'many'"),
        (GateOptions({"load": {"sessions": 0}}), "'sessions' is a number above 0, not '0'"),
        (GateOptions({"preview": False}), "takes host, nothing else"),
        (GateOptions({"load": {}}), "says nothing: it takes sessions and transactions and lag_seconds"),
        (GateOptions({"window": None}), "says nothing"),
        (GateOptions({}, ("windows",), "why"), "There is no gate 'windows' to overrule"),
        (GateOptions({}, ("window",), " "), "A gate is overruled only with a reason"),
    ],
)
def test_what_makes_no_sense_is_refused(options: GateOptions, said: str) -> None:
    with pytest.raises(DbopsError) as refused:
        wanted(options, True)
    assert said in refused.value.message


def test_all_that_is_closed_is_said_at_once(tmp_path: Path) -> None:
    found = evaluated(tmp_path, {"backup": {}, "proved": {}, "reviewed": {}, "clean": {}}, approved=False)
    told = refusal(list(found.values()))
    assert "There is no backup of it at all. Type: ansible-playbook backup.yml -l" in told
    assert "No backup of it was restored and compared yet. Type: ansible-playbook verify_backups.yml -l" in told
    assert "Nobody has approved this plan." in told
    assert "-e dbops_override=backup,proved,reviewed -e dbops_reason='why it may be'" in told
    assert refusal([found["clean"]]) == ""


def test_a_closed_gate_is_overruled_by_name_and_reason(tmp_path: Path) -> None:
    found = evaluated(tmp_path, {"backup": {}, "proved": {}, "clean": {}}, override=("backup", "clean"), reason="an empty test")
    assert [gate.state for gate in found.values()] == ["overruled", "failed", "passed"]
    assert str(found["backup"]).endswith("There is no backup of it at all. Overruled: an empty test.")


# --- each of them -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hours", "state"), [(13, "passed"), (11, "failed")])
def test_a_backup_must_be_young_enough(tmp_path: Path, hours: float, state: str) -> None:
    published(tmp_path)
    found = evaluated(tmp_path, {"backup": {"hours": hours}})["backup"]
    assert found.state == state and "'chat_20261123_030000', is 12 h old" in found.evidence


@pytest.mark.parametrize("name", ["backup", "proved", "preview"])
def test_an_empty_database_has_nothing_to_lose(tmp_path: Path, name: str) -> None:
    first = Plan((), {}, AFTER, (), Outcome(0, "", ""))
    assert evaluated(tmp_path, {name: {}}, plan=first)[name].state == "not applicable"


def test_the_preview_has_run_the_very_schema_whoever_owns_it_there(tmp_path: Path) -> None:
    there = {
        key: definition.replace("chat_owner", '"preview owner"').replace(" grants reader=SELECT", "") for key, definition in AFTER.items()
    }
    previewed = {fingerprint(shape(there)): "2026-11-22T20:00:00Z"}
    found = evaluated(tmp_path, {"preview": {}}, previewed=previewed, preview_host="chat-preview")["preview"]
    assert (found.state, found.evidence) == (
        "passed",
        "Preview 'chat-preview' has run the very schema that comes of it, since 2026-11-22T20:00:00Z.",
    )


def test_what_the_preview_has_not_run_is_closed(tmp_path: Path) -> None:
    found = evaluated(tmp_path, {"preview": {}}, previewed={"other": ""}, preview_host="chat-preview")["preview"]
    assert (found.state, found.line) == ("failed", "Type: ansible-playbook migrate.yml -l chat-preview")
    unknown = evaluated(tmp_path, {"preview": {}}, previewed=None, preview_host="chat-preview", preview_unknown="timed out")["preview"]
    assert (unknown.state, unknown.evidence) == ("failed", "What has run on preview 'chat-preview' is not known: timed out.")
    assert evaluated(tmp_path, None)["preview"].state == "not applicable"
    assert evaluated(tmp_path, {"preview": {}})["preview"].evidence == "The inventory has no preview to ask."


@pytest.mark.parametrize(("approved", "state"), [(None, "not applicable"), (True, "passed"), (False, "failed")])
def test_a_plan_must_have_been_approved(tmp_path: Path, approved: bool | None, state: str) -> None:
    assert evaluated(tmp_path, {"reviewed": {}}, approved=approved)["reviewed"].state == state


def at(*times: str) -> FakeConnection:
    moments = [(datetime.datetime.fromisoformat(time),) for time in times]
    return FakeConnection({"pg_timezone_names": [(1,)], "generate_series": moments})


def test_the_window_says_when_it_opens(tmp_path: Path) -> None:
    gate = {"window": {"time_zone": "Asia/Tokyo", "days": ["mon", "tue"], "from": "20:00", "to": "23:00", "holidays": ["2026-11-24"]}}
    opened = evaluated(tmp_path, gate, at("2026-11-23T20:05"))["window"]
    assert (opened.state, opened.evidence) == ("passed", "It is Mon 20:05 there; open is mon, tue, 20:00 to 23:00, Asia/Tokyo.")
    closed = evaluated(tmp_path, gate, at("2026-11-23T23:00", "2026-11-24T20:00", "2026-11-30T20:00"))["window"]
    assert (closed.state, closed.line) == ("failed", "It opens at 2026-11-30 20:00.")
    assert evaluated(tmp_path, gate, at("2026-11-25T20:00"))["window"].line == "It does not open within the next 60 days."


def test_a_time_zone_that_the_server_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DbopsError, match="The server knows no time zone 'Tokyo/Asia'"):
        evaluated(tmp_path, {"window": {"time_zone": "Tokyo/Asia"}}, FakeConnection({}))


def test_the_load_is_shown_also_where_it_is_low(tmp_path: Path) -> None:
    connection = FakeConnection({"pg_stat_activity": [(3,)], "pg_stat_replication": [(12.5, 1)]})
    low = evaluated(tmp_path, {"load": {"sessions": 3}}, connection)["load"]
    assert (low.state, low.evidence) == ("passed", "There are 3 sessions at work (at most 3).")
    late = evaluated(tmp_path, {"load": {"lag_seconds": 10}}, connection)["load"]
    assert (late.state, late.evidence) == ("failed", "There are 3 sessions at work, replicas 12.5 s behind (at most 10).")


def test_what_is_not_clean_is_named(tmp_path: Path) -> None:
    invalid = FakeConnection({"indisvalid": [("public.users_name",)]})
    assert evaluated(tmp_path, {"clean": {}}, invalid)["clean"].line == "Drop it first: DROP INDEX CONCURRENTLY public.users_name;"
    entry = {
        "operation": "restore",
        "database": "chat",
        "finished": "2026-11-23T04:00:00Z",
        "phases": {"restore: check": 1, "restore: load": 2},
    }
    _journal.append(str(tmp_path), {**entry, "result": "failed"})
    assert evaluated(tmp_path, {"clean": {}})["clean"].evidence == "The last restore failed at 2026-11-23T04:00:00Z."
    _journal.append(str(tmp_path), {**entry, "result": "failed", "operation": "migrate"})  # says by itself what it left
    _journal.append(str(tmp_path), {**entry, "result": "ok"})
    _journal.append(str(tmp_path), {**entry, "result": "failed", "phases": {"restore: check": 1}})  # a mistake at the keyboard
    assert evaluated(tmp_path, {"clean": {}})["clean"].state == "passed"


# --- windows ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_window", "said"),
    [
        ({"days": []}, "it never opens: 'days' is empty"),
        ({"days": ["someday"]}, "'days' is a list of mon"),
        ({"days": "mon"}, "'days' is a list of mon"),
        ({"from": "20:00", "to": "20:00"}, "it never opens: 'from' and 'to' are the same"),
        ({"from": "25:00"}, "'from' is a time such as '20:00', not '25:00'"),
        ({"from": 22}, "'from' is a time such as '20:00', not '22'"),
        ({"from": True}, "not 'True'"),
        ({"holidays": ["Christmas"]}, "'holidays' is a list of days"),
        ({"zone": "UTC"}, "it has no 'zone'"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(given_window: dict[str, t.Any], said: str) -> None:
    with pytest.raises(DbopsError, match="The gate 'window' in dbops_migrate_gates is not right") as refused:
        parse_window(given_window)
    assert said in refused.value.message


def test_a_window_may_go_over_midnight() -> None:
    """It belongs to the day on which it opens, so Saturday's early morning is Friday's."""
    window = parse_window({"days": ["fri"], "from": "22:00", "to": "02:00", "holidays": [datetime.date(2026, 12, 4)]})
    times = ["2026-11-27T21:59", "2026-11-27T22:00", "2026-11-28T01:59", "2026-11-28T02:00", "2026-11-27T01:00", "2026-12-05T01:00"]
    assert [window.is_open(datetime.datetime.fromisoformat(time)) for time in times] == [False, True, True, False, False, False]


def test_what_yaml_makes_of_a_time_without_quotes_is_understood() -> None:
    assert parse_window({"from": 1200, "to": "24:00"}).begin == parse_window({"from": "20:00"}).begin == 1200


@given(st.integers(60, 1439), st.integers(60, 1440), st.datetimes(datetime.datetime(2026, 1, 1), datetime.datetime(2027, 1, 1)))
def test_a_window_and_the_rest_of_the_day_are_the_whole_day(begin: int, end: int, local: datetime.datetime) -> None:
    if begin == end or end == 1440:
        return
    window, rest = parse_window({"from": begin, "to": end}), parse_window({"from": end, "to": begin})
    assert window.is_open(local) != rest.is_open(local)
    weekdays = [parse_window({"days": [day], "from": begin, "to": end}) for day in DAYS]
    assert window.is_open(local) == any(one.is_open(local) for one in weekdays)


# --- what a rehearsal has shown ---------------------------------------------------------------------------------------------

REHEARSED = replace(PLAN, runner=("sha256:backend", "migrate"))


def rehearsed(folder: Path, **changes: t.Any) -> dict[str, Gate]:
    work = folder / "work"
    work.mkdir(exist_ok=True)
    record = rehearsal(REHEARSED, **{"image_id": "sha256:backend", "backup_created": "2026-11-23T03:00:00Z", "statements": (), **changes})
    write_rehearsal(str(folder), record, str(work))
    backend = container()
    asked = operation(folder, FakeConnection(), FakeDocker(backend), backends=(backend,), environment="production")
    gates = _evidence.evaluate(asked, REHEARSED, None, GateOptions({"rehearsed": {"hours": 13}, "compatible": {}}))
    return {gate.name: gate for gate in gates}


def test_a_rehearsal_opens_its_gates(tmp_path: Path) -> None:
    found = rehearsed(tmp_path)
    assert [gate.state for gate in found.values()] == ["passed", "passed"]
    assert (
        "on the rows of backup 'chat_20261127_030000', which is 12 h old, it took 2.5 s; 13 h are allowed." in found["rehearsed"].evidence
    )
    assert found["compatible"].evidence == "With the new schema 'chat-backend:v1' works. It starts."


@pytest.mark.parametrize(
    ("changes", "said", "line"),
    [
        ({"shape_after": "0" * 64}, "was not rehearsed", "rehearse.yml"),
        ({"state": "failed", "exceeded": ("It took 9 s.",)}, "Its rehearsal at 2026-11-28T03:00:00Z failed: It took 9 s.", "rehearse.yml"),
        ({"proved": False}, "which is not a proved one of this server", "rehearse.yml"),
        ({"server_identifier": "1"}, "which is not a proved one of this server", "rehearse.yml"),
        ({"backup_created": "2026-11-23T01:00:00Z"}, "which is 14 h old", "backup.yml"),
    ],
)
def test_one_that_says_nothing_of_this_migration_does_not(tmp_path: Path, changes: dict[str, t.Any], said: str, line: str) -> None:
    found = rehearsed(tmp_path, **changes)["rehearsed"]
    assert found.state == "failed" and said in found.evidence and line in found.line


@pytest.mark.parametrize(
    ("versions", "said", "line"),
    [
        ((Version("running", "chat-backend:v1", "sha256:backend", "fails", "no column."),), "does not work. no column.", "in two steps"),
        ((Version("running", "chat-backend:v1", "sha256:backend", "not known", "?"),), "may or may not work", "in two steps"),
        (
            (Version("running", "chat-backend:v0", "sha256:old", "works", "?"),),
            "another version than the one that runs now",
            "rehearse.yml",
        ),
        ((), "another version than the one that runs now", "rehearse.yml"),
    ],
)
def test_the_version_that_runs_now_has_to_be_the_one_that_works(tmp_path: Path, versions: t.Any, said: str, line: str) -> None:
    found = rehearsed(tmp_path, versions=versions)["compatible"]
    assert found.state == "failed" and said in found.evidence and line in found.line


def test_without_any_rehearsal_both_are_closed(tmp_path: Path) -> None:
    found = evaluated(tmp_path, {"rehearsed": {}, "compatible": {}})
    assert [gate.state for gate in found.values()] == ["failed", "failed"]
