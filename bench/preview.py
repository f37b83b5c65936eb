# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The preview as its branches see it: thrown away and made anew, while they ask and write."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Iterator

import psycopg2

from controller import Controller
from measure import Application, Results, must, seconds_of
from stack import Server, Stack

#: Messages that the seed makes for a database of about 100 MB.
MESSAGES = "480000"

RESETS = 20
CLIENTS = 50


def measure_resets(stack: Stack, controller: Controller, rounds: int) -> Results:
    migrate = must(controller.run("migrate", "-l", "preview"))
    seed = must(controller.run("seed", "-l", "preview"))
    options = {"dbops_preview_reset_seed": ["/app/backend", "seed", MESSAGES]}
    first = seconds_of(lambda: must(controller.run("preview_reset", "-l", "preview", **options)))  # this one makes the baseline
    seconds = []
    with Application(stack.preview, "SELECT 1 FROM rooms LIMIT 1") as application:
        for _round in range(rounds):
            begun = time.monotonic()
            run = must(controller.run("preview_reset", "-l", "preview", **options))
            seconds.append(time.monotonic() - begun)
    megabytes = stack.preview.value("SELECT pg_database_size(current_database())") / 1e6
    status = must(controller.run("preview_status", "-l", "preview"))
    enroll = must(controller.run("enroll", "-l", "preview", dbops_confirm="enroll:chat_preview"))
    tasks = {"migrate": migrate, "seed": seed, "preview_reset": run, "preview_status": status, "enroll": enroll}
    return {
        "reset_mb": megabytes,
        "reset_unusable_seconds": application.unusable / rounds,
        "reset_seconds": statistics.median(seconds),
        "reset_seconds_rounds": seconds,
        "reset_seconds_without_baseline": first,
        "reset_seconds_phases": run.result()["operation"]["phases"],
        "preview_status_seconds": status.result()["operation"]["duration_seconds"],
        "remote_tasks": {name: done.remote_tasks for name, done in tasks.items()},
    }


def measure_under_load(stack: Stack, controller: Controller) -> Results:
    """Shares of resets that succeeded under clients that write and connect again at once: ours, and the runbook's commands."""
    stack.fill("v2")
    with _clients(stack.preview):
        ours = sum(controller.run("preview_reset", "-l", "preview").ok for _number in range(RESETS))
    stack.fill("v2")
    with _clients(stack.preview):
        by_hand = sum(_dropped_by_hand(stack.preview) for _number in range(RESETS))
    return {"reset_success_with_backends": ours / RESETS, "reset_success_with_backends_runbook": by_hand / RESETS, "remote_tasks": {}}


def _dropped_by_hand(server: Server) -> bool:
    """The runbook's two commands; whether the database is an empty one afterwards."""
    for statement in (f"DROP DATABASE IF EXISTS {server.database};", f"CREATE DATABASE {server.database};"):
        server.exec("psql", "-U", "postgres", "-c", statement, check=False)
    return server.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0


@contextlib.contextmanager
def _clients(server: Server) -> Iterator[None]:
    """Clients that write a row ten times a second each, whatever happens to their connections."""
    stopping = threading.Event()
    options = {"host": server.address, "user": "postgres", "password": server.env["POSTGRES_PASSWORD"], "dbname": server.database}

    def write() -> None:
        while not stopping.is_set():
            with contextlib.suppress(psycopg2.Error), contextlib.closing(psycopg2.connect(connect_timeout=2, **options)) as connection:
                connection.autocommit = True
                cursor = connection.cursor()
                while not stopping.wait(0.1):
                    cursor.execute("UPDATE rooms SET topic = clock_timestamp()::text WHERE id = 1")
            stopping.wait(0.1)

    threads = [threading.Thread(target=write, daemon=True) for _number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        for thread in threads:
            thread.join(timeout=10)
