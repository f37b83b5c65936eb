# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a deploy costs beside what it is made of, and for how long the application's users see errors."""

from __future__ import annotations

import statistics
import subprocess
import threading
import time
import urllib.request
from typing import Any

from controller import Controller
from measure import must
from stack import BACKEND, ROOT, Server, Stack

#: Seconds between two questions to the application, and how long one may take.
PROBE_SECONDS, PATIENCE = 0.05, 0.5

#: Seconds that the new version has to stay well: the user's wish, and no overhead.
SETTLE = 3.0

DEPLOY = {"dbops_deploy_settle": SETTLE, "dbops_image": f"{BACKEND}:v2", "dbops_deploy_pull": "missing", "dbops_migrate_gates": {}}


class Probe:
    """Asks the application for its newest messages all the time, at whichever address its container has."""

    def __init__(self, server: Server) -> None:
        self._backend = server.backends[0]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.errors = 0
        self.seconds = 0.0

    def __enter__(self) -> Probe:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        """``seconds``: between the last answer before an error and the first one after it, of all such gaps together."""
        address, answered, failing = self._backend.address, time.monotonic(), False
        while not self._stop.wait(PROBE_SECONDS):
            try:
                with urllib.request.urlopen(f"http://{address}:8080/messages", timeout=PATIENCE) as answer:
                    answer.read()
            except OSError:
                self.errors, failing, address = self.errors + 1, True, self._known(address)
                continue
            now = time.monotonic()
            self.seconds += now - answered if failing else 0.0
            answered, failing = now, False

    def _known(self, address: str) -> str:
        try:
            return self._backend.address or address
        except (AssertionError, StopIteration, KeyError):
            return address


def deploys(stack: Stack, controller: Controller, rounds: int) -> dict[str, Any]:
    """The runbook's backend from v1 to v2, whose migration only adds: the whole of `deploy.yml`, less backup, migration, start, and the watch."""
    overheads: list[float] = []
    errors: list[float] = []
    last: dict[str, Any] = {}
    for _round in range(rounds):
        stack.fill("v1")
        _backend(stack, "v1")
        with Probe(stack.production) as probe:
            begun = time.monotonic()
            run = must(controller.run("deploy", "-l", "production", **DEPLOY))
            whole = time.monotonic() - begun
        last = run.result()
        phases, deployment = last["operation"]["phases"], last["deployment"]
        parts = sum(seconds for phase, seconds in phases.items() if phase.startswith("backup:") or phase == "pull the image")
        overheads.append(whole - parts - last["runner_seconds"] - deployment["start_seconds"] - deployment["well_seconds"] - SETTLE)
        errors.append(probe.seconds)
    looked = must(controller.run("recollate", "-l", "production"))
    return {
        "deploy_overhead_seconds": statistics.median(overheads),
        "deploy_error_seconds": statistics.median(errors),
        "deploy_seconds_phases": last["operation"]["phases"],
        "remote_tasks": {"deploy": run.remote_tasks, "recollate": looked.remote_tasks},
    }


def _backend(stack: Stack, version: str) -> None:
    place = ["--name", stack.name, "--dir", str(stack.folder), "--owner", "deploy", "--only", "production"]
    subprocess.run([str(ROOT / "demo" / "stack"), "backend", version, *place], check=True, capture_output=True)
