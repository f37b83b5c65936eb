# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The catalogue as data: fingerprints, differences and how they are shown. The queries themselves are tested on real servers."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbops.postgres.plugins.module_utils.server import _schema
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import (
    Snapshot,
    brief,
    difference,
    fingerprint,
    read_snapshot,
    render,
    tables,
)
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeConnection

snapshots = st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=8)

BEFORE = {
    "table public.users": "owner chat",
    "column public.users.id": "integer not null",
    "column public.users.name": "text",
    "index public.users_name": "CREATE INDEX users_name ON public.users (name)",
}
AFTER = {
    "table public.users": "owner chat",
    "column public.users.id": "bigint not null",
    "column public.users.name": "text",
    "table public.rooms": "owner chat",
    "column public.rooms.id": "integer",
}


# --- fingerprint ----------------------------------------------------------------------------------------------------------


@given(snapshots, st.randoms())
def test_a_fingerprint_does_not_depend_on_the_order(snapshot: Snapshot, rng: random.Random) -> None:
    items = list(snapshot.items())
    rng.shuffle(items)
    assert fingerprint(dict(items)) == fingerprint(snapshot)


@given(snapshots, snapshots)
def test_different_schemas_have_different_fingerprints(one: Snapshot, other: Snapshot) -> None:
    assert (fingerprint(one) == fingerprint(other)) == (one == other)


def test_a_fingerprint_never_changes_between_versions() -> None:
    """Manifests and journals keep it."""
    assert fingerprint({"b": "é", "a": ""}) == "b0eef5224b74ffb691f5ad79dd57d22211e8b3be660246856b9a38fcdf8ace0c"


# --- difference -----------------------------------------------------------------------------------------------------------


@given(snapshots, snapshots)
def test_a_difference_turns_one_snapshot_into_the_other(before: Snapshot, after: Snapshot) -> None:
    change = difference(before, after)
    made = {key: definition for key, definition in before.items() if key not in change.removed}
    made.update(change.added)
    made.update({key: new for key, (_old, new) in change.changed.items()})
    assert made == after
    assert bool(change) == (before != after)


@given(snapshots)
def test_a_schema_does_not_differ_from_itself(snapshot: Snapshot) -> None:
    change = difference(snapshot, dict(snapshot))
    assert not change and render(change) == [] and brief(change) == ""


def test_a_difference_is_shown_like_a_diff() -> None:
    assert render(difference(BEFORE, AFTER)) == [
        "- index public.users_name CREATE INDEX users_name ON public.users (name)",
        "+ column public.rooms.id integer",
        "+ table public.rooms owner chat",
        "~ column public.users.id: integer not null -> bigint not null",
    ]


def test_a_definition_of_several_lines_is_shown_on_one() -> None:
    assert render(difference({}, {"view public.v": "as\n SELECT 1;\n", "schema x": ""})) == ["+ schema x", "+ view public.v as SELECT 1;"]


def test_in_brief_what_belongs_to_a_new_table_is_not_named_again() -> None:
    assert brief(difference(BEFORE, AFTER)) == "- index public.users_name, + table public.rooms, ~ column public.users.id"


def test_in_brief_there_is_a_limit() -> None:
    change = difference({}, {"view v%d" % number: "" for number in range(9)})
    assert brief(change, most=2) == "+ view v0, + view v1, and 7 more"


@pytest.mark.parametrize(
    ("key", "definition"),
    [
        ("column public.chat.id", "integer"),
        ("constraint chat_pkey on public.chat", "PRIMARY KEY (id)"),
        ("index public.chat_pkey", "CREATE UNIQUE INDEX chat_pkey ON public.chat USING btree (id)"),
        ("sequence public.chat_id_seq", "owner chat owned by public.chat.id"),
        ("trigger t on public.chat", "x"),
        ("comment on table public.chat", "words"),
        ("comment on column public.chat.id", "words"),
    ],
)
def test_parts_of_a_new_table_are_known(key: str, definition: str) -> None:
    assert brief(difference({}, {"table public.chat": "", key: definition})) == "+ table public.chat"


@pytest.mark.parametrize(
    ("key", "definition"),
    [
        ("column public.chats.id", "integer"),
        ("constraint x on public.chats", "CHECK (true)"),
        ("index public.chat_rooms_idx", "CREATE INDEX chat_rooms_idx ON public.chat_rooms USING btree (id)"),
        ("sequence public.chat_numbers", "owner chat"),
        ("view public.chat_view", "x"),
        ("function public.chat()", "x"),
        ("comment on view public.chat_view", "words"),
    ],
)
def test_what_only_looks_like_a_part_is_named(key: str, definition: str) -> None:
    assert key in brief(difference({}, {"table public.chat": "", key: definition}))


def test_tables_are_listed_by_name() -> None:
    assert tables({**AFTER, "materialized view public.m": "", "foreign table public.f": ""}) == ["public.rooms", "public.users"]


# --- reading --------------------------------------------------------------------------------------------------------------


def test_reading_asks_for_every_kind_of_object_with_full_names() -> None:
    connection = FakeConnection(
        {"format('schema %I'": [("schema app", "owner chat")], "FROM pg_constraint": [("constraint c on app.t", "CHECK (true)")]}
    )
    snapshot = read_snapshot(connection)
    assert connection.statements[0] == "SET search_path = ''"
    assert len(connection.statements) == 1 + len(_schema._QUERIES)
    assert snapshot["schema app"] == "owner chat"
    assert snapshot["constraint c on app.t"] == "CHECK (true)"


def test_no_query_sees_what_the_plan_itself_puts_into_a_sandbox() -> None:
    guarded = [query for query in _schema._QUERIES if _schema.OBSERVATION_SCHEMA in query]
    unguarded = [query.strip() for query in _schema._QUERIES if query not in guarded]
    assert len(guarded) > 10
    # what is in no schema, and what the plan makes none of
    without = ("extension", "publication", "default privileges", "%s %s', o.type")
    assert [query for query in unguarded if not query.startswith(tuple("SELECT format('" + kind for kind in without))] == []


def test_no_query_takes_parameters_so_a_percent_sign_is_only_a_percent_sign() -> None:
    connection = FakeConnection()
    read_snapshot(connection)
    assert set(connection.parameters) == {None}
