# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`seed.yml`: the backend's seed, once for each version of it."""

from __future__ import annotations

from urllib.parse import quote

from controller import CheckThenRun, Controller
from stack import Server, Stack

NONE = {"messages": 0, "reactions": 0, "rooms": 0, "users": 0}
SEEDED = {"messages": 60, "reactions": 20, "rooms": 3, "users": 5}


def test_a_seed_runs_once(v2_empty: None, check_then_run: CheckThenRun, controller: Controller, preview: Server) -> None:
    assert preview.tables() == NONE
    _checked, done = check_then_run("seed", "-l", "preview")
    assert preview.tables() == SEEDED
    assert done.result()["rows_added"] == {f"public.{table}": rows for table, rows in SEEDED.items()}

    again = controller.run("seed", "-l", "preview")
    assert again.ok and not again.changed
    assert preview.tables() == SEEDED


def test_a_seed_runs_again_when_asked_and_after_a_backup(v2_empty: None, controller: Controller, stack: Stack, preview: Server) -> None:
    assert controller.run("seed", "-l", "preview").ok
    assert stack.backups(preview) == []
    again = controller.run("seed", "-l", "preview", dbops_seed_again=True)
    assert again.ok and again.changed
    assert preview.tables()["messages"] == 2 * SEEDED["messages"]
    [backup] = stack.backups(preview)
    assert backup.endswith("_before_seed")


def test_production_is_seeded_with_consent_only(v2_empty: None, controller: Controller, stack: Stack, production: Server) -> None:
    before = stack.everything()
    refused = controller.run("seed", "-l", "production")
    assert not refused.ok
    assert refused.message.endswith("Add: -e dbops_confirm=seed:chat")
    assert stack.everything() == before

    done = controller.run("seed", "-l", "production", dbops_confirm="seed:chat")
    assert done.ok, done.output
    assert production.tables() == SEEDED
    assert len(stack.backups(production)) == 1


def test_a_seed_that_fails_tells_what_it_left(v2: None, controller: Controller, stack: Stack, preview: Server) -> None:
    preview.do("ALTER TABLE reactions ADD CONSTRAINT no_more CHECK (id <= 20)")
    before = preview.tables()
    failed = controller.run("seed", "-l", "preview")
    assert not failed.ok
    assert "violates check constraint" in failed.message
    assert "No table has more or fewer rows than before." in failed.message
    assert preview.tables() == before
    retried = controller.run("seed", "-l", "preview", "--check")
    assert retried.changed, "a seed that failed did not run"


def test_a_seed_that_is_stopped_writes_nothing_any_more(v2: None, controller: Controller, stack: Stack, preview: Server) -> None:
    """A statement goes on in the server after its client was killed; this one would delete rows later."""
    before = preview.tables()
    slow = "DO $$ BEGIN PERFORM pg_sleep(60); DELETE FROM reactions; END $$"
    url = f"postgresql://postgres:{quote(preview.env['POSTGRES_PASSWORD'], safe='')}@{preview.name}:5432/{preview.database}"
    command = ["psql", "--no-psqlrc", "--dbname", url, "--command", slow]
    failed = controller.run(
        "seed", "-l", "preview", dbops_seed_image=stack.postgres_image, dbops_seed_command=command, dbops_seed_timeout=3
    )
    assert not failed.ok
    assert "did not end within 3 s and was stopped (dbops_seed_timeout)" in failed.message
    assert preview.rows("SELECT pid FROM pg_stat_activity WHERE query LIKE %s", "DO $$ BEGIN PERFORM pg_sleep%") == []
    assert preview.tables() == before
    assert stack.leftovers() == []
