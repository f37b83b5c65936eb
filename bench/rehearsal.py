# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a rehearsal costs beside the restore and the migration that it is about, how long an innocent reader waits, and how large a report is."""

from __future__ import annotations

import statistics
import threading
import time
from pathlib import Path
from typing import Any

from controller import Controller, Run
from measure import must
from runners import psql
from stack import Server, Stack
from traffic import Reader, holding

#: Rewrites the largest table and builds an index on it: what one rehearses.
HEAVY = "ALTER TABLE messages ALTER COLUMN text TYPE varchar(5000); CREATE INDEX heavy ON messages (user_messages, created_at)"

#: Seconds that somebody reads in one transaction while a column is added.
READING = 6.0


def rehearsals(stack: Stack, controller: Controller, rounds: int, scratch: Path) -> dict[str, Any]:
    """On the data that is there: the whole of `rehearse.yml`, less what restore and runner took in it, over these."""
    must(controller.run("backup", "-l", "production"))
    must(controller.run("verify_backups", "-l", "production"))
    heavy = psql(stack, stack.production, HEAVY)
    ratios: list[float] = []
    runs: list[Run] = []
    for _round in range(rounds):
        begun = time.monotonic()
        runs.append(must(controller.run("rehearse", "-l", "production", dbops_rehearse_health_timeout=2, **heavy)))
        whole = time.monotonic() - begun
        rehearsal = runs[-1].result()["rehearsal"]
        bare = rehearsal["parts"]["restore"] + rehearsal["seconds"]
        ratios.append((whole - bare) / bare)
    last = runs[-1].result()
    must(controller.run("rehearse", "-l", "production", dbops_report_dir=str(scratch), dbops_rehearse_health_timeout=2, **heavy))
    [page] = scratch.glob("*.html")
    return {
        "rehearsal_overhead_ratio": statistics.median(ratios),
        "rehearsal_seconds_parts": last["rehearsal"]["parts"],
        "rehearsal_seconds_phases": last["operation"]["phases"],
        "report_kb": page.stat().st_size / 1000,
        "remote_tasks": {"rehearse": runs[-1].remote_tasks},
    }


def blocked(stack: Stack, controller: Controller) -> dict[str, Any]:
    """The longest that a reader of a table waits while a column is added to it behind somebody who reads for six seconds."""
    stack.fill("v1")
    server = stack.production
    statement = "ALTER TABLE users ADD COLUMN blocked int"
    by_hand = _longest_read(server, lambda: server.exec("psql", "-U", "postgres", "-d", server.database, "-c", statement))
    server.do("ALTER TABLE users DROP COLUMN blocked")
    adding = psql(stack, server, statement)
    runs: list[Any] = []
    ours = _longest_read(server, lambda: runs.append(must(controller.run("migrate", "-l", "production", **adding))))
    return {
        "blocked_select_ratio": ours / by_hand,
        "blocked_select_seconds": ours,
        "blocked_select_seconds_by_hand": by_hand,
        "remote_tasks": {"migrate": runs[0].remote_tasks},
    }


def _longest_read(server: Server, change: Any) -> float:
    """The six seconds begin when the change is about to need its lock: when somebody waits, or after ten."""
    with holding(server, "SELECT count(*) FROM users") as let_go, Reader(server, "users") as reader:
        working = threading.Thread(target=change)
        working.start()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and working.is_alive() and not _waits(server):
            time.sleep(0.02)
        time.sleep(READING)
        let_go()
        working.join()
    return reader.longest


def _waits(server: Server) -> bool:
    query = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"
    return bool(server.value(query, server.database, database="postgres"))
