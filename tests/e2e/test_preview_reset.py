# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`preview_reset.yml`: a fresh preview database while its backends are connected and written to. Never production."""

from __future__ import annotations

import pytest

from controller import CheckThenRun, Controller
from stack import Server, Stack, wait_until
from traffic import Writer

SEEDED = {"messages": 60, "reactions": 20, "rooms": 3, "users": 5}


def clients(server: Server) -> set[str]:
    """The addresses of the clients that are connected to the database."""
    query = "SELECT DISTINCT host(client_addr) FROM pg_stat_activity WHERE datname = %s AND client_addr IS NOT NULL"
    return {address for (address,) in server.rows(query, server.database, database="postgres")}


@pytest.mark.core
def test_a_reset_does_what_its_check_has_shown(v1: None, check_then_run: CheckThenRun, preview: Server) -> None:
    preview.do("UPDATE rooms SET topic = 'left by a branch'", "CREATE TABLE left_by_a_branch (id int)")
    _checked, done = check_then_run("preview_reset", "-l", "preview")
    assert preview.tables() == SEEDED
    assert preview.value("SELECT count(*) FROM rooms WHERE topic <> ''") == 0
    assert preview.marker == "preview"
    assert done.result()["baseline_rebuilt"] is True
    [replaced] = [name for name in preview.databases() if name not in ("postgres", "chat_preview")]
    assert replaced.startswith("chat_preview_before_reset_") and replaced == done.result()["replaced"]


def test_the_next_reset_is_a_copy_of_the_baseline_until_what_made_it_changes(
    v2: None, check_then_run: CheckThenRun, controller: Controller, preview: Server
) -> None:
    first = controller.run("preview_reset", "-l", "preview")
    assert first.ok and first.result()["baseline_rebuilt"] is True
    made = preview.value("SELECT oid FROM pg_database WHERE datname = 'chat_preview_baseline' AND datistemplate AND NOT datallowconn")
    assert made

    preview.do("UPDATE rooms SET topic = 'left by a branch'", "CREATE TABLE left_by_a_branch (id int)")
    _checked, second = check_then_run("preview_reset", "-l", "preview")
    assert second.result()["baseline_rebuilt"] is False
    assert not any(phase in second.result()["operation"]["phases"] for phase in ("reset: sandbox", "reset: build"))
    assert preview.tables() == SEEDED
    assert preview.value("SELECT count(*) FROM rooms WHERE topic <> ''") == 0
    assert preview.marker == "preview"
    assert preview.value("SELECT oid FROM pg_database WHERE datname = 'chat_preview_baseline'") == made
    again = controller.run("seed", "-l", "preview")
    assert again.ok and not again.changed, "the copy knows which seed it holds"

    other = controller.run("preview_reset", "-l", "preview", dbops_preview_reset_seed=["/app/backend", "seed", "10"])
    assert other.ok and other.result()["baseline_rebuilt"] is True
    assert preview.tables() != SEEDED
    assert preview.value("SELECT oid FROM pg_database WHERE datname = 'chat_preview_baseline'") != made


def test_a_baseline_that_somebody_has_changed_never_goes_live(v2: None, controller: Controller, preview: Server) -> None:
    assert controller.run("preview_reset", "-l", "preview").ok
    preview.do("ALTER DATABASE chat_preview_baseline ALLOW_CONNECTIONS true", database="postgres")
    preview.do("DELETE FROM reactions", database="chat_preview_baseline")
    preview.do("UPDATE rooms SET topic = 'still here'")
    refused = controller.run("preview_reset", "-l", "preview")
    assert not refused.ok
    assert "The baseline 'chat_preview_baseline' was changed after it was made: table public.reactions has 0 rows" in refused.message
    assert preview.value("SELECT count(*) FROM rooms WHERE topic = 'still here'") == 3
    assert controller.run("preview_reset", "-l", "preview", dbops_preview_reset_rebuild=True).ok
    assert preview.tables() == SEEDED


def test_backends_that_are_connected_and_written_to_go_on_by_themselves(v2: None, controller: Controller, preview: Server) -> None:
    started = [backend.started_at for backend in preview.backends]
    wait_until(lambda: {backend.address for backend in preview.backends} <= clients(preview))
    with Writer(preview.backends[0]) as writer:
        wait_until(lambda: writer.accepted > 5)
        done = controller.run("preview_reset", "-l", "preview")
        accepted = writer.accepted
        wait_until(lambda: writer.accepted > accepted + 5)
    assert done.ok, done.output
    assert SEEDED["messages"] < preview.tables()["messages"] <= SEEDED["messages"] + writer.accepted
    assert [backend.started_at for backend in preview.backends] == started
    for backend in preview.backends:
        assert backend.exec("/app/backend", "health").returncode == 0
        assert backend.name in done.summary


def test_only_the_newest_replaced_databases_are_kept_and_undo_brings_one_back(v2: None, controller: Controller, preview: Server) -> None:
    preview.do("UPDATE rooms SET topic = 'first'")
    started = [backend.started_at for backend in preview.backends]
    first = controller.run("preview_reset", "-l", "preview", dbops_backend_restart="always")
    assert first.ok, first.output
    assert all(backend.started_at > before for backend, before in zip(preview.backends, started, strict=True))
    preview.do("UPDATE rooms SET topic = 'second'")
    second = controller.run("preview_reset", "-l", "preview", dbops_preview_reset_seed=[])
    assert second.ok, second.output
    assert second.result()["dropped"] == [first.result()["replaced"]]
    assert preview.databases() == ["chat_preview", second.result()["replaced"], "postgres"]
    assert set(preview.tables().values()) == {0}

    undone = controller.run("restore", "-l", "preview", dbops_restore_backup="undo")
    assert undone.ok, undone.output
    assert {topic for (topic,) in preview.rows("SELECT topic FROM rooms")} == {"second"}


@pytest.mark.parametrize(
    "options",
    [
        {"dbops_preview_reset_seed": ["/app/backend", "seed", "not-a-number"]},
        {"dbops_preview_reset_runner": ["/app/backend", "nonsense"]},
    ],
    ids=["seed", "migration"],
)
def test_what_cannot_be_built_replaces_nothing(options: dict[str, list[str]], v2: None, controller: Controller, stack: Stack) -> None:
    before = stack.preview.contents()
    failed = controller.run("preview_reset", "-l", "preview", **options)
    assert not failed.ok
    assert "The live database is untouched: 'chat_preview' is still the one with OID" in failed.message
    assert stack.preview.contents() == before
    assert stack.leftovers() == []
