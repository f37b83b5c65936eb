# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a program needs of a schema: what fits, what is in its way, and what a change takes away from it."""

from __future__ import annotations

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.server._schema_needs import broken_by, can_break, fit, leftovers

USERS = {
    "table public.users": "owner postgres with ",
    "column public.users.id": "bigint not null identity by default",
    "column public.users.name": "character varying not null",
    "column public.users.nickname": "character varying",
    "index public.users_name": "CREATE INDEX users_name ON public.users USING btree (name)",
    "type public.mood": "owner postgres enum 'glad', 'sad'",
}


def without(*keys: str) -> dict[str, str]:
    return {key: text for key, text in USERS.items() if key not in keys}


def test_the_same_schema_fits() -> None:
    found = fit(USERS, USERS)
    assert (found.lacking, found.unfit, found.further) == ((), (), ())


def test_more_than_is_needed_is_no_trouble() -> None:
    found = fit({**USERS, "table public.reactions": "", "column public.users.age": "integer"}, USERS)
    assert (found.lacking, found.unfit) == ((), ())
    assert found.further == ("column public.users.age", "table public.reactions")


def test_what_is_not_there_is_lacking() -> None:
    assert fit(without("column public.users.nickname", "index public.users_name"), USERS).lacking == (
        "column public.users.nickname",
        "index public.users_name",
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"column public.users.nickname": "text"}, "column public.users.nickname is text, not character varying"),
        (
            {"column public.users.nickname": "character varying not null"},
            "column public.users.nickname demands a value, which it may leave out",
        ),
        ({"column public.users.tenant": "bigint not null"}, "column public.users.tenant demands a value that it does not give"),
        ({"type public.mood": "owner postgres enum 'glad'"}, "type public.mood lacks the value 'sad'"),
    ],
)
def test_what_is_there_in_another_way_is_unfit(change: dict[str, str], why: str) -> None:
    assert fit({**USERS, **change}, USERS).unfit == (why,)
    assert broken_by(USERS, {**USERS, **change}, USERS) == [why]
    assert can_break(USERS, {**USERS, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"column public.users.tenant": "bigint not null default 0"},
        {"column public.users.tenant": "bigint not null identity always"},
        {"column public.users.tenant": "bigint generated s as (id + 1)"},
        {"column public.users.nickname": "character varying default 'x'::character varying"},
        {"type public.mood": "owner postgres enum 'glad', 'so so', 'sad'"},
        {"column public.others.id": "bigint not null"},
        {"constraint users_check on public.users": "CHECK (id > 0)"},
    ],
)
def test_what_can_be_left_out_is_in_nobodys_way(change: dict[str, str]) -> None:
    assert fit({**USERS, **change}, USERS).unfit == ()
    assert not can_break(USERS, {**USERS, **change})


def test_a_change_breaks_who_uses_what_it_takes_away() -> None:
    assert broken_by(USERS, without("column public.users.nickname"), USERS) == ["column public.users.nickname would be gone"]
    assert broken_by(USERS, {}, USERS) == ["table public.users would be gone", "type public.mood would be gone"]
    assert broken_by(USERS, without("index public.users_name"), USERS) == [], "it still works without"
    older = without("column public.users.nickname")
    assert broken_by(USERS, older, older) == [], "who does not know it does not miss it"


def test_what_did_not_fit_before_is_not_blamed_on_the_change() -> None:
    retyped = {**USERS, "column public.users.nickname": "text"}
    assert broken_by(retyped, {**retyped, "column public.users.age": "integer"}, USERS) == []


def test_what_only_branches_that_are_gone_have_needed_is_left_over() -> None:
    login = {
        **USERS,
        "table public.logins": "",
        "column public.logins.id": "bigint",
        "column public.users.seen": "timestamp with time zone",
    }
    shared = {**login, "column public.users.nickname": "character varying", "table public.by_hand": ""}
    assert leftovers(shared, [USERS], [login]) == ["column public.users.seen", "table public.logins"]
    assert leftovers(shared, [USERS, login], [login]) == []
    assert leftovers(shared, [USERS], []) == []
