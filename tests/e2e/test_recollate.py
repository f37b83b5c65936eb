# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`recollate.yml`: what a new C library leaves wrong is found, also in the rows, and put right while people go on working."""

from __future__ import annotations

from typing import Any

import pytest

from controller import CheckThenRun, Controller
from stack import Server, Stack

RECOLLATE = ("recollate", "-l", "production")

#: What a change of the image's C library leaves behind: the versions that were recorded are not the present ones.
OLD_VERSIONS = "UPDATE pg_database SET datcollversion = '2.31' WHERE datname IN ('chat', 'template1', 'postgres')"

#: A collation that sorts by bytes, and after `MOVED` as the image's library does: what no test can do to a library.
SHOP = (
    'CREATE COLLATION moving (provider = libc, locale = "C")',
    "CREATE TABLE shop (name text COLLATE moving, code text COLLATE moving CHECK (code < 'a'), UNIQUE (name))",
    "INSERT INTO shop SELECT chr(64 + g) || g, 'B' FROM generate_series(1, 26) g",
    "INSERT INTO shop SELECT chr(96 + g) || g, 'B' FROM generate_series(1, 26) g",
    "CREATE INDEX shop_expression ON shop (lower(name))",
    "CREATE INDEX shop_partial ON shop (code) WHERE name < 'm'",
    "CREATE INDEX shop_number ON shop (length(name))",
    "CREATE EXTENSION IF NOT EXISTS btree_gist",
    "CREATE TABLE booked (room text COLLATE moving, at tsrange, EXCLUDE USING gist (room WITH =, at WITH &&))",
    "CREATE INDEX booked_at ON booked (at)",
    "CREATE TABLE parted (name text COLLATE moving) PARTITION BY RANGE (name)",
    "CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (MINVALUE) TO ('m')",
    "CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM ('m') TO (MAXVALUE)",
)
MOVED = "UPDATE pg_collation SET collcollate = 'en_US.utf8', collctype = 'en_US.utf8', collversion = '1' WHERE collname = 'moving'"


@pytest.fixture
def shop(v2: None, production: Server) -> Server:
    production.do(*SHOP)
    return production


def versions(server: Server) -> dict[str, str]:
    return dict(server.rows("SELECT datname, datcollversion FROM pg_database WHERE datname IN ('chat', 'template1', 'postgres')"))


@pytest.mark.core
def test_what_sorts_text_is_rebuilt_in_every_database(
    v2: None, check_then_run: CheckThenRun, controller: Controller, stack: Stack, production: Server
) -> None:
    if stack.major < 15:
        run = controller.run(*RECOLLATE)
        assert run.ok and not run.changed and "-e dbops_recollate_everything=true" in run.text
        checked, _done = check_then_run(*RECOLLATE, dbops_recollate_everything=True)
        assert "users_name_key" in checked.result()["diff"]["prepared"]
        return
    production.do(OLD_VERSIONS, database="postgres")
    built = production.value("SELECT relfilenode FROM pg_class WHERE oid = 'users_name_key'::regclass")
    checked, done = check_then_run(*RECOLLATE)
    assert "Would rebuild 2 indexes" in checked.summary and "Rebuilt 2 indexes" in done.summary
    assert production.value("SELECT relfilenode FROM pg_class WHERE oid = 'users_name_key'::regclass") != built
    assert set(versions(production).values()) == {production.value("SELECT pg_database_collation_actual_version(1)")}
    assert production.value("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0
    again = controller.run(*RECOLLATE)
    assert again.ok and not again.changed and "Nothing to rebuild" in again.summary


def test_an_index_that_lost_its_order_finds_its_rows_again(shop: Server, controller: Controller) -> None:
    """The very harm: a row that is there is not found, until it is rebuilt."""
    shop.do("ALTER TABLE shop DROP CONSTRAINT shop_code_check", MOVED)
    found = "SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT count(*) FROM shop WHERE name = %s"
    names = [name for (name,) in shop.rows("SELECT name FROM shop")]
    assert 0 in [shop.value(found, name) for name in names]
    run = controller.run(*RECOLLATE, "--diff")
    assert run.ok and run.changed, run.output
    assert {shop.value(found, name) for name in names} == {1}
    [chat] = [item for item in run.result()["databases"] if item["database"] == "chat"]
    rebuilt = {index["name"]: index["concurrently"] for index in chat["indexes"]}
    assert rebuilt == {
        "public.shop_name_key": True,
        "public.shop_expression": True,
        "public.shop_partial": True,
        "public.shop_number": True,  # what a function makes of text may hang on its order
        "public.booked_room_at_excl": False,
    }
    assert chat["collations"] == ["public.moving"]
    assert not controller.run(*RECOLLATE).changed


def test_rows_that_the_new_order_does_not_allow_are_named_before_anything_is_rebuilt(
    shop: Server, controller: Controller, stack: Stack
) -> None:
    shop.do("INSERT INTO parted VALUES ('Z'), ('a')", MOVED)
    names = [name for (name,) in shop.rows("SELECT name FROM shop ORDER BY name")]
    for name in names:  # the unique index does not find some of them, and lets them in again
        shop.rows("INSERT INTO shop VALUES (%s, '!') ON CONFLICT DO NOTHING", name)
    twice = shop.value("SELECT count(*) FROM (SELECT 1 FROM shop GROUP BY name HAVING count(*) > 1) g")
    assert twice > 0
    before = shop.dump()
    run = controller.run(*RECOLLATE)
    assert not run.ok and "Nothing was touched" in run.message
    assert f"{twice} keys of unique index public.shop_name_key on public.shop are there more than once" in run.message
    assert "1 rows of public.parted_low belong into another part of the table" in run.message
    assert "rows of public.shop do not pass constraint shop_code_check any more" in run.message
    assert shop.dump() == before
    checked = controller.run(*RECOLLATE, "--check")
    assert checked.ok and "A run would be refused" in checked.text
    [wrong] = [item for item in checked.result()["databases"] if item["database"] == "chat"]
    shown = next(item for item in wrong["wrong"] if item["kind"] == "duplicates")["statement"]
    assert len({row[1] for row in shop.rows(shown)}) == 1 and len(shop.rows(shown)) == 2

    skipped = controller.run(*RECOLLATE, dbops_recollate_wrong="skip")
    assert skipped.ok and skipped.changed, skipped.output
    assert shop.value("SELECT collversion FROM pg_collation WHERE collname = 'moving'") == "1", "it is not called well"
    shop.do("DELETE FROM shop a USING shop b WHERE a.name = b.name AND a.ctid > b.ctid", "DELETE FROM ONLY parted_low WHERE name = 'Z'")
    shop.do("DELETE FROM shop WHERE NOT code < 'a'")
    run = controller.run(*RECOLLATE)
    assert run.ok and run.changed and not controller.run(*RECOLLATE).changed, run.output
    assert stack.leftovers() == []


def test_odd_things_neither_stop_it_nor_are_passed_over(v2: None, controller: Controller, production: Server) -> None:
    """Text inside other values, keys that are constants, parts without bounds, a key that sorts otherwise than its column."""
    production.do(
        "CREATE TABLE odd (doc jsonb UNIQUE, kind text, hidden text)",
        "CREATE TYPE person AS (name text, age int)",
        "CREATE TYPE words AS RANGE (subtype = text)",
        "CREATE TABLE inside (who person, span words, many person[])",
        "CREATE INDEX inside_who ON inside (who)",
        "CREATE INDEX inside_span ON inside (span)",
        "CREATE INDEX inside_many ON inside (many)",
        "CREATE UNIQUE INDEX only_one ON odd ((true)) WHERE kind > 'main'",
        "CREATE INDEX compared ON odd ((ROW(kind, hidden) < ROW('a', 'b')))",
        "CREATE TABLE alone (name text) PARTITION BY RANGE (name)",
        "CREATE TABLE alone_rest PARTITION OF alone DEFAULT",
        'CREATE TABLE bytes (name text COLLATE "C") PARTITION BY RANGE (name COLLATE "default")',
        "CREATE TABLE bytes_low PARTITION OF bytes FOR VALUES FROM ('a') TO ('zz')",
        "INSERT INTO bytes VALUES ('B'), ('b')",
        "INSERT INTO odd (kind) VALUES ('a'), ('a')",
    )
    run = controller.run(*RECOLLATE, "--check", dbops_recollate_everything=True)
    assert run.ok, run.output
    [chat] = [item for item in run.result()["databases"] if item["database"] == "chat"]
    assert chat["wrong"] == [] and not chat["unknown"]
    found = {index["name"] for index in chat["indexes"]}
    assert found >= {f"public.{name}" for name in ("odd_doc_key", "inside_who", "inside_span", "inside_many", "only_one", "compared")}
    assert "rows of public.bytes_low in 'chat' lie in the right part" in run.text
    done = controller.run(*RECOLLATE, dbops_recollate_everything=True)
    assert done.ok and done.changed, done.output


def test_one_that_cannot_be_rebuilt_is_named_and_the_version_stays_the_old_one(shop: Server, controller: Controller) -> None:
    shop.do("CREATE FUNCTION fails(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN $1; END $$")
    shop.do("CREATE INDEX shop_fails ON shop (fails(name))", MOVED, "ALTER TABLE shop DROP CONSTRAINT shop_code_check")
    shop.do("CREATE OR REPLACE FUNCTION fails(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE 'it fails'; END $$")
    run = controller.run(*RECOLLATE)
    assert not run.ok and "Index public.shop_fails in 'chat': it fails" in run.message and "type the same line again" in run.message
    assert shop.value("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0, "what it has begun is gone"
    assert shop.value("SELECT collversion FROM pg_collation WHERE collname = 'moving'") == "1"
    shop.do("CREATE OR REPLACE FUNCTION fails(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1'")
    result: dict[str, Any] = controller.run(*RECOLLATE).result()
    assert result["changed"]
