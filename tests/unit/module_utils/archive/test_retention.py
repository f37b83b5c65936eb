# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is kept of a history of backups: the policy's words, and what is never removed, whatever the history."""

from __future__ import annotations

import datetime
import typing as t
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbops.postgres.plugins.module_utils.archive._proof import FAILED, NONE, PROVED
from ansible_collections.dbops.postgres.plugins.module_utils.archive._retention import (
    UNLIMITED,
    Candidate,
    Policy,
    Within,
    parse_within,
    why_kept,
)

UTC = datetime.timezone.utc
NOW = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def at(text: str, **changes: t.Any) -> Candidate:
    local = datetime.datetime.fromisoformat(text)
    made = Candidate(text, True, local.replace(tzinfo=UTC), local, proof=PROVED)
    return replace(made, **changes)


def kept(history: t.Iterable[Candidate], policy: Policy, now: datetime.datetime = NOW) -> list[str]:
    return sorted(name for name, reasons in why_kept(history, policy, now).items() if reasons)


#: What is said of one backup that is good in every way.
NEWEST = ["the newest", "the newest that is proved", "the newest proved that 'latest' can mean", "the newest that 'latest' can mean"]


# --- the policy's words ---------------------------------------------------------------------------------------------------


def test_of_each_period_the_newest_is_kept() -> None:
    history = [at("2026-11-%02d %02d:00" % (day, hour)) for day in range(1, 24) for hour in (3, 9)]
    reasons = why_kept(history, Policy(keep_daily=2, keep_weekly=3, keep_monthly=1), NOW)
    assert {name: list(why) for name, why in reasons.items() if why} == {
        "2026-11-23 09:00": [*NEWEST, "daily 2026-11-23", "weekly 2026-W48", "monthly 2026-11"],
        "2026-11-22 09:00": ["daily 2026-11-22", "weekly 2026-W47"],
        "2026-11-15 09:00": ["weekly 2026-W46"],
    }


def test_a_gap_of_a_month_does_not_use_up_the_days() -> None:
    history = [at("2026-11-23 03:00"), at("2026-10-20 03:00"), at("2026-10-19 03:00"), at("2026-10-18 03:00")]
    assert kept(history, Policy(keep_daily=3)) == ["2026-10-19 03:00", "2026-10-20 03:00", "2026-11-23 03:00"]


def test_hourly_backups_do_not_keep_dailies_from_being_made() -> None:
    """The defect of counting backups instead of periods: 24 hourly ones were all that was ever there."""
    start = datetime.datetime(2026, 11, 1)
    history: list[Candidate] = []
    for hour in range(23 * 24):
        moment = start + datetime.timedelta(hours=hour)
        history.append(at(moment.isoformat(sep=" ")))
        names = kept(history, Policy(keep_hourly=24, keep_daily=7), moment.replace(tzinfo=UTC))
        history = [candidate for candidate in history if candidate.id in names]
    days = {candidate.local.date() for candidate in history}
    assert len(days) == 7 and len(history) == 24 + 6


def test_a_late_run_that_falls_into_the_next_day_costs_no_day() -> None:
    """Due at 23:55, done at 00:05: the day has none, the next one two."""
    history = [at(text) for text in ("2026-11-20 23:55", "2026-11-22 00:05", "2026-11-22 23:55")]
    assert kept(history, Policy(keep_daily=2)) == ["2026-11-20 23:55", "2026-11-22 23:55"]


def test_two_in_one_minute_are_two() -> None:
    history = [at("2026-11-22 03:00", id="a"), at("2026-11-22 03:00", id="b"), at("2026-11-21 03:00")]
    assert kept(history, Policy(keep_last=2)) == ["a", "b"]
    assert kept(history, Policy(keep_daily=1)) == ["b"]


def test_a_day_is_the_operators() -> None:
    tokyo = [
        at("2026-11-22 16:00", local=datetime.datetime(2026, 11, 23, 1)),
        at("2026-11-22 14:00", local=datetime.datetime(2026, 11, 22, 23)),
    ]
    assert len(kept(tokyo, Policy(keep_daily=2))) == 2
    assert len(kept([at("2026-11-22 16:00"), at("2026-11-22 14:00")], Policy(keep_daily=2))) == 1


def test_within_counts_back_from_the_newest() -> None:
    history = [at("2026-11-23 03:00"), at("2026-10-23 03:01"), at("2026-10-23 03:00"), at("2026-10-01 03:00")]
    assert kept(history, Policy(keep_within=Within(months=1))) == ["2026-10-23 03:01", "2026-11-23 03:00"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1y6m", Within(1, 6)),
        ("2w3d", Within(days=17)),
        ("12h", Within(hours=12)),
        (" 7d ", Within(days=7)),
        ("", None),
        ("7", None),
        ("d7", None),
        ("3d1y", None),
        ("-1d", None),
    ],
)
def test_lengths_of_time(text: str, found: Within | None) -> None:
    assert parse_within(text) == found


@pytest.mark.parametrize(
    ("within", "expected"),
    [
        (Within(months=1), "2026-02-28"),
        (Within(years=2, months=1), "2024-02-29"),
        (Within(months=3), "2025-12-31"),
        (Within(days=31), "2026-02-28"),
        (Within(years=5000), "0001-01-01"),
    ],
)
def test_months_are_those_of_the_calendar(within: Within, expected: str) -> None:
    assert within.before(datetime.datetime(2026, 3, 31, tzinfo=UTC)).date().isoformat() == expected


def test_all_can_be_kept() -> None:
    history = [at("20%02d-01-01 03:00" % year) for year in range(10, 26)]
    assert len(kept(history, Policy(keep_yearly=UNLIMITED))) == 16
    assert len(kept(history, Policy(keep_last=UNLIMITED))) == 16
    assert len(kept(history, Policy(keep_yearly=3))) == 3


# --- what is never removed ------------------------------------------------------------------------------------------------


def test_nothing_goes_while_the_newest_is_not_proved() -> None:
    history = [at("2026-11-23 03:00", proof=NONE), at("2026-11-22 03:00"), at("2026-11-01 03:00")]
    reasons = why_kept(history, Policy(keep_last=1), NOW)
    assert reasons["2026-11-01 03:00"] == ("the newest, '2026-11-23 03:00', is not proved",)
    assert kept(history, Policy(keep_last=1, without_proof=True)) == ["2026-11-22 03:00", "2026-11-23 03:00"]


def test_one_that_does_not_come_back_stands_for_nothing() -> None:
    history = [at("2026-11-23 09:00"), at("2026-11-22 09:00", proof=FAILED), at("2026-11-22 03:00"), at("2026-11-20 03:00", proof=FAILED)]
    assert kept(history, Policy(keep_daily=2)) == ["2026-11-22 03:00", "2026-11-22 09:00", "2026-11-23 09:00"]


def test_what_was_made_before_an_operation_is_pinned() -> None:
    before = {"reason": "before_migration"}
    history = [at("2026-11-23 03:00"), at("2026-11-22 03:00", **before), at("2026-10-23 03:00", **before)]
    assert why_kept(history, Policy(keep_last=1), NOW)["2026-11-22 03:00"] == ("pinned until 2026-12-22 (before_migration)",)
    assert kept(history, Policy(keep_last=1)) == ["2026-11-22 03:00", "2026-11-23 03:00"]
    assert len(kept(history, Policy(keep_last=1, pin_days=40))) == 3


def test_what_a_restore_replaced_does_not_stand_for_its_day() -> None:
    history = [at("2026-11-23 09:00"), at("2026-10-02 09:00", reason="before_restore"), at("2026-10-02 03:00")]
    assert kept(history, Policy(keep_daily=9)) == ["2026-10-02 03:00", "2026-11-23 09:00"]


def test_the_backup_of_a_replaced_database_stays_as_long_as_that() -> None:
    history = [at("2026-11-23 09:00"), at("2026-09-02 09:00", reason="before_restore", kept_database="chat_before_restore_1")]
    assert why_kept(history, Policy(keep_last=1), NOW)["2026-09-02 09:00"] == ("the replaced database 'chat_before_restore_1' is kept",)


def test_a_clock_that_was_set_back_does_not_cost_the_last_one() -> None:
    history = [at("2026-11-20 03:00", transaction=50), at("2026-11-19 03:00", transaction=70), at("2026-11-18 03:00", transaction=40)]
    assert kept(history, Policy(keep_last=1)) == ["2026-11-19 03:00", "2026-11-20 03:00"]


def test_one_from_the_future_is_neither_removed_nor_the_newest() -> None:
    history = [at("2027-11-23 03:00", proof=NONE), at("2026-11-23 03:00"), at("2026-11-22 03:00")]
    reasons = why_kept(history, Policy(keep_last=1), NOW)
    assert reasons["2027-11-23 03:00"] == ("its time lies in the future",)
    assert reasons["2026-11-23 03:00"][0] == "the newest" and not reasons["2026-11-22 03:00"]


def test_what_another_server_made_is_left_alone() -> None:
    history = [at("2026-11-23 03:00"), at("2026-11-22 03:00", own=False), at("2026-11-21 03:00", own=False)]
    reasons = why_kept(history, Policy(keep_last=1), NOW)
    assert reasons["2026-11-22 03:00"] == ("of another server: remove it by hand when nobody needs it any more",)
    assert len(kept(history, Policy(keep_last=1))) == 3


def test_the_state_that_a_restore_replaced_stands_for_nothing() -> None:
    """Proved though it is, it is the damaged state: the last good one stays, and the newest of the good ones has to be proved too."""
    replaced = at("2026-11-23 09:00", reason="before_restore")
    history = [replaced, at("2026-11-23 03:00", proof=NONE), at("2026-11-22 03:00"), at("2026-11-21 03:00")]
    reasons = why_kept(history, Policy(keep_last=1), NOW)
    assert reasons["2026-11-21 03:00"] == ("the newest, '2026-11-23 03:00', is not proved",)
    assert "the newest proved that 'latest' can mean" in reasons["2026-11-22 03:00"]


def test_one_that_failed_goes_no_earlier_than_it_would_without_a_proof() -> None:
    """Nobody deletes a history with a query that has a typing error."""
    history = [at("2026-11-23 03:00"), *(at("2026-11-%02d 03:00" % day, proof=FAILED) for day in range(1, 23))]
    assert len(kept(history, Policy(keep_daily=14))) == 14


def test_of_a_period_the_proved_one_stays_as_well() -> None:
    history = [at("2026-11-23 03:00"), at("2026-10-02 20:00", proof=NONE), at("2026-10-02 03:00"), at("2026-10-01 03:00")]
    assert kept(history, Policy(keep_daily=2)) == ["2026-10-02 03:00", "2026-10-02 20:00", "2026-11-23 03:00"]


def test_the_backup_of_a_replaced_database_outlives_it() -> None:
    """Dropped after 30 days, and its backup the night after: what was promised to be there would be gone."""
    history = [at("2026-11-23 03:00"), at("2026-10-10 03:00", reason="before_restore")]
    assert len(kept(history, Policy(keep_last=1, kept_database_days=30))) == 2
    assert len(kept(history, Policy(keep_last=1))) == 1


AHEAD = datetime.timedelta(minutes=5)
COUNTS = st.integers(min_value=-1, max_value=4)
POLICIES = st.builds(
    Policy,
    keep_last=COUNTS,
    keep_hourly=COUNTS,
    keep_daily=COUNTS,
    keep_weekly=COUNTS,
    keep_monthly=COUNTS,
    keep_yearly=COUNTS,
    keep_within=st.none() | st.builds(Within, months=st.integers(0, 2), days=st.integers(0, 9)),
    pin_days=st.integers(0, 40),
    without_proof=st.booleans(),
)
HISTORIES = st.lists(
    st.builds(
        lambda hours, proof, reason, own, transaction, number: Candidate(
            "%d-%d" % (hours, number),
            own,
            NOW - datetime.timedelta(hours=hours),
            (NOW - datetime.timedelta(hours=hours)).replace(tzinfo=None),
            reason,
            proof,
            transaction,
        ),
        st.integers(-100, 20000),  # the clock was ahead, or set back
        st.sampled_from([PROVED, FAILED, NONE]),
        st.sampled_from(["", "", "nightly", "before_migration", "before_restore"]),
        st.sampled_from([True, True, False]),
        st.integers(0, 1000),
        st.integers(0, 1000000),
    ),
    max_size=40,
    unique_by=lambda candidate: candidate.id,
)


@given(HISTORIES, POLICIES)
def test_whatever_the_history_no_rule_is_broken(history: list[Candidate], policy: Policy) -> None:
    reasons = why_kept(history, policy, NOW)
    assert set(reasons) == {candidate.id for candidate in history}
    gone = [candidate for candidate in history if not reasons[candidate.id]]
    assert all(candidate.own and candidate.created <= NOW + AHEAD for candidate in gone)
    pinned = NOW - datetime.timedelta(days=policy.pin_days)
    assert not any(candidate.reason.startswith("before_") and candidate.created > pinned for candidate in gone)
    own = sorted(
        (candidate for candidate in history if candidate.own and candidate.created <= NOW + AHEAD),
        key=lambda candidate: (candidate.created, candidate.id),
        reverse=True,
    )
    stays = [candidate for candidate in own if candidate not in gone]
    regular = [candidate for candidate in own if candidate.reason != "before_restore"]
    good = [candidate for candidate in regular if candidate.proof != FAILED]
    for kind in (own, regular and good, [c for c in own if c.proof == PROVED], [c for c in good if c.proof == PROVED]):
        assert not kind or kind[0] in stays
    assert not own or max(candidate.transaction for candidate in stays) == max(candidate.transaction for candidate in own)
    if any(kind and kind[0].proof != PROVED for kind in (own, regular)) and not policy.without_proof:
        assert stays == own


@given(HISTORIES, POLICIES)
def test_what_is_left_is_left_the_next_time(history: list[Candidate], policy: Policy) -> None:
    """Removing twice removes nothing more."""
    reasons = why_kept(history, policy, NOW)
    left = [candidate for candidate in history if reasons[candidate.id]]
    again = why_kept(left, policy, NOW)
    assert [candidate.id for candidate in left if not again[candidate.id]] == []


@given(HISTORIES, POLICIES)
def test_every_day_that_the_policy_names_has_its_backup(history: list[Candidate], policy: Policy) -> None:
    good = [c for c in history if c.own and c.created <= NOW and c.proof != FAILED and c.reason != "before_restore"]
    days = sorted({candidate.local.date() for candidate in good}, reverse=True)
    wanted = days if policy.keep_daily == UNLIMITED else days[: policy.keep_daily]
    reasons = why_kept([c for c in history if c.created <= NOW], policy, NOW)
    assert set(wanted) <= {candidate.local.date() for candidate in good if reasons[candidate.id]}
