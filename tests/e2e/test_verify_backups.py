# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`verify_backups.yml`: a backup is proved by restoring it, and one that does not come back is found, marked and never 'latest' again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from controller import CheckThenRun, Controller, Run
from faults import Hand, damaged_backups, journal, left_behind, stop_in
from stack import Server, Stack, unused_volumes
from tampering import back_up, flip_a_bit, seal_again, swap_rows

#: Besides tables and indexes: what a proof compares as well.
AWKWARD = (
    'CREATE ROLE "Writers"; CREATE ROLE ann LOGIN SUPERUSER IN ROLE "Writers"',
    'CREATE TABLE notes (id serial PRIMARY KEY, body text COLLATE "C", at point, half float8, raw bytea, doubled int GENERATED ALWAYS AS (2 * 7) STORED)',
    "INSERT INTO notes (body, at, half, raw) SELECT 'note ' || n, point(n, 1), n / 3.0, decode(md5(n::text), 'hex') FROM generate_series(1, 500) n",
    'ALTER TABLE notes OWNER TO "Writers"; GRANT SELECT ON notes TO ann',
    "SELECT lo_from_bytea(0, decode(repeat(md5('a'), 100000), 'hex')), lo_from_bytea(0, '')",
    "CREATE SEQUENCE untouched; CREATE SEQUENCE far START 900; SELECT nextval('far'), setval('notes_id_seq', 5000)",
    "CREATE MATERIALIZED VIEW report AS SELECT count(*) FROM notes",
    "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.ddl_notes DEFAULT VALUES; END'",
    "CREATE TABLE ddl_notes (id serial); CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION watch()",
    "ALTER EVENT TRIGGER watching OWNER TO ann; ALTER DATABASE chat SET work_mem = '5MB'; COMMENT ON DATABASE chat IS 'it''s chat'",
)


def verify(controller: Controller, **variables: Any) -> Run:
    return controller.run("verify_backups", "-l", "production", **variables)


def proof_of(stack: Stack, server: Server, backup: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stack.as_deploy(f"cat {server.backups}/{backup}/proof.json 2>/dev/null || echo '{{}}'").stdout)
    return found


#: Before and after: a server keeps its roles whatever becomes of a database.
NOBODY = (
    'DO $$ BEGIN IF to_regrole(\'ann\') IS NOT NULL THEN DROP OWNED BY ann, "Writers" CASCADE; DROP ROLE ann, "Writers"; END IF; END $$'
)


@pytest.fixture
def awkward(v2: None, production: Server) -> Iterator[None]:
    production.do("DROP EVENT TRIGGER IF EXISTS watching", NOBODY, *AWKWARD)
    yield
    production.do("DROP EVENT TRIGGER watching", NOBODY)


@pytest.mark.core
def test_a_backup_is_proved(awkward: None, check_then_run: CheckThenRun, controller: Controller, stack: Stack, production: Server) -> None:
    backup = back_up(controller, production)
    before = production.contents()
    checked, done = check_then_run("verify_backups", "-l", "production")
    assert f"Would restore backup '{backup}'" in checked.summary
    assert f"Backup '{backup}' is proved: restored into" in done.summary
    [found] = done.result()["verified"]
    assert found["state"] == "proved" and found["failures"] == [] and found["not_compared"] == []
    said = "; ".join(found["compared"])
    for phrase in (
        "what every table holds",
        "what the large objects hold",
        "sequences",
        "schema, owners and grants",
        "own settings",
        "(amcheck)",
    ):
        assert phrase in said, said
    assert proof_of(stack, production, backup)["state"] == "proved"
    assert production.contents() == before
    assert left_behind(stack) == [] and damaged_backups(stack, production) == []

    listed = controller.run("backups", "-l", "production")
    assert listed.ok and found["at"] in listed.summary and not listed.changed
    again = verify(controller, dbops_verify_select="unverified")
    assert again.ok and not again.changed


def test_rows_that_were_exchanged_are_found_although_every_sum_is_right(
    v2: None, controller: Controller, stack: Stack, production: Server
) -> None:
    older = back_up(controller, production)
    production.do("UPDATE messages SET text = 'tampered' WHERE id = (SELECT min(id) FROM messages)")
    production.do("VACUUM")
    other = back_up(controller, production)
    swap_rows(stack, production, other, older)
    assert damaged_backups(stack, production) == []

    found = verify(controller)
    assert not found.ok
    assert "does NOT come back as it was made: table public.messages holds other values than were backed up" in found.message
    assert proof_of(stack, production, other)["state"] == "failed"

    listed = controller.run("backups", "-l", "production")
    assert "FAILED" in listed.summary
    checked = controller.run("restore", "-l", "production", "--check", dbops_restore_backup="latest")
    assert checked.ok and f"'{older}'" in checked.summary
    assert any(f"The newer backup '{other}' was passed over" in warning for warning in checked.result()["warnings"])
    refused = controller.run("restore", "-l", "production", dbops_restore_backup=other, dbops_confirm="restore:chat")
    assert not refused.ok and "dbops_restore_accept_differences" in refused.message


def test_a_flipped_bit_and_a_changed_manifest_are_found(v2: None, controller: Controller, stack: Stack, production: Server) -> None:
    first, second, third = (back_up(controller, production) for _number in range(3))
    flip_a_bit(stack, production, first)
    assert verify(controller, dbops_verify_select=third).ok
    seal_again(stack, production, third, large_objects=3)
    found = verify(controller, dbops_verify_select="unverified")
    assert not found.ok
    assert sorted(found.result()["failed_backups"]) == sorted([first, third]), found.message
    assert [item["backup"] for item in found.result()["verified"] if item["state"] == "proved"] == [second]
    assert f"Backup '{first}' does NOT come back as it was made: Backup '{first}' is damaged" in found.message
    assert "0 large objects instead of 3" in found.message


def test_what_the_operator_expects_is_asked(v2: None, controller: Controller, stack: Stack, production: Server) -> None:
    backup = back_up(controller, production)
    queries = [
        {"name": "there are messages", "query": "SELECT count(*) > 0 FROM messages", "expected": True},
        {"name": "nobody writes", "query": "DELETE FROM messages RETURNING 1", "expected": 1},
    ]
    found = verify(controller, dbops_verify_queries=queries)
    assert not found.ok
    assert "the query 'nobody writes' failed: cannot execute DELETE in a read-only transaction" in found.message
    assert "there are messages" not in found.message
    assert proof_of(stack, production, backup)["state"] == "proved", "that says nothing about the backup"
    assert verify(controller, dbops_verify_queries=queries[:1]).ok


def test_on_the_engines_disk_and_within_limits(v2: None, controller: Controller, stack: Stack, production: Server) -> None:
    back_up(controller, production)
    before = unused_volumes()
    done = verify(controller, dbops_verify_place="disk", dbops_verify_cpus=1, dbops_verify_memory="512m")
    assert done.ok, done.output
    assert left_behind(stack) == []
    assert unused_volumes() <= before


def test_nobody_has_to_wait_for_a_proof(v2: None, controller: Controller, stack: Stack, production: Server, hand: Hand) -> None:
    """Neither a migration at night nor the way back waits for it; a second proof does."""
    backup = back_up(controller, production)
    started = controller.start("verify_backups", "-l", "production")
    caught = stop_in(hand, production, "verify_backups", "verify: server")
    assert caught
    try:
        meanwhile = controller.run("restore", "-l", "production", dbops_restore_backup="latest", dbops_confirm="restore:chat")
        assert meanwhile.ok, meanwhile.output
        second = verify(controller)
        assert not second.ok and "is busy: verify_backups by" in second.message
        pruned = controller.run("prune_backups", "-l", "production", dbops_retention={"keep_last": 1})
        assert not pruned.ok and "is busy: verify_backups by" in pruned.message
    finally:
        caught.go_on()
    assert started.wait().ok
    assert proof_of(stack, production, backup)["state"] == "proved"
    assert left_behind(stack) == []


@pytest.mark.parametrize("phase", ["verify: restore", pytest.param("verify: compare", marks=pytest.mark.long)])
def test_one_that_is_killed_proves_nothing_and_leaves_nothing(
    phase: str, v2: None, controller: Controller, stack: Stack, production: Server, hand: Hand
) -> None:
    backup = back_up(controller, production)
    for _time in range(5):
        started = controller.start("verify_backups", "-l", "production")
        caught = stop_in(hand, production, "verify_backups", phase)
        if caught:
            break
        started.wait()
        stack.as_deploy(f"rm -f {production.backups}/{backup}/proof.json")
    assert caught
    caught.kill()
    assert not started.wait().ok
    assert proof_of(stack, production, backup) == {}
    following = controller.run("backup", "-l", "production")
    assert following.ok, following.output
    assert left_behind(stack) == []
    assert verify(controller, dbops_verify_select="unverified").ok


def test_without_a_backup_it_fails(v2: None, controller: Controller) -> None:
    found = verify(controller)
    assert not found.ok and "There is no backup of database 'chat'" in found.message and "ansible-playbook backup.yml" in found.message


def test_it_is_in_the_journal(v2: None, controller: Controller, stack: Stack, production: Server) -> None:
    backup = back_up(controller, production)
    assert verify(controller).ok
    entry = journal(stack, production)[-1]
    assert (entry["operation"], entry["result"], entry["verified"]) == ("verify_backups", "ok", [backup])
