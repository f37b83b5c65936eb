# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The schema that an image's own migration makes of an empty database: known from an earlier look, else found out in a sandbox.

What was found out lies in the backup folder, one file for an image and a command: the same image makes the same schema.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.archive._files import write_file
from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import (
    STATE_TABLES,
    Runner,
    failure_of,
    last_lines,
    run_in_sandbox,
)
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._live_schema import open_with_live_schema
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._sandbox import keep_as_template, renew
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._throwaway_server import Sandbox
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import Snapshot, read_snapshot

#: The folder in the backup folder.
FOLDER = "expected_schemas"

#: Seconds that a runner may take in the sandbox.
_TIMEOUT = 600


@dataclass(frozen=True)
class Trial:
    """What a runner made of a database in the sandbox. ``trouble``: why it failed, empty where it did not."""

    schema: Snapshot
    trouble: str


@dataclass
class Trials:
    """One sandbox in which runners are tried, each on a database of its own. ``live``: the schema of the real one."""

    operation: Operation
    sandbox: Sandbox
    live: Snapshot
    _tried: int = 0

    def on_empty(self, runner: Runner) -> Trial:
        return self._try(runner, from_live=False)

    def on_live(self, runner: Runner) -> Trial:
        return self._try(runner, from_live=True)

    def _try(self, runner: Runner, from_live: bool) -> Trial:
        operation = self.operation
        renew(operation, self.sandbox, from_live)
        self._tried += 1
        name = "dbops-%s-trial-%d" % (operation.run_id, self._tried)
        outcome = run_in_sandbox(operation.docker, runner, name, operation.labels, self.sandbox.network, _TIMEOUT)
        trouble = failure_of(runner, outcome, _TIMEOUT, "a limit of this look")
        if trouble:
            trouble = "%s. It says: %s" % (trouble, last_lines(outcome) or "(nothing)")
        with self.sandbox.session() as connection:
            return Trial(read_snapshot(connection), trouble)


@contextlib.contextmanager
def open_trials(operation: Operation) -> t.Iterator[Trials]:
    with open_with_live_schema(operation, "try", STATE_TABLES) as (sandbox, live):
        keep_as_template(sandbox)
        yield Trials(operation, sandbox, live)


def file_name(operation: Operation, runner: Runner) -> str:
    facts = [runner.image_id, list(runner.argv), operation.server.major]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16] + ".json"


def known(operation: Operation, name: str) -> Snapshot | None:
    """What lies in the backup folder under a name, ``None`` where nothing does that can be read."""
    try:
        with open(os.path.join(operation.archive.folder, FOLDER, name), encoding="utf-8") as stream:
            found = json.load(stream)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def remember(operation: Operation, name: str, schema: Snapshot) -> None:
    """Keep a schema for the next look; in check mode, or where there is no backup folder yet, it is found out again then."""
    folder = os.path.join(operation.archive.folder, FOLDER)
    if operation.check_mode or not os.path.isdir(operation.archive.folder):
        return
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = os.path.join(folder, name)
    temporary = "%s.%s" % (path, operation.run_id)
    write_file(temporary, json.dumps(schema, sort_keys=True) + "\n")
    os.replace(temporary, path)


def expected_schemas(operation: Operation, runners: t.Iterable[Runner]) -> dict[str, Trial]:
    """``{image id: what its migration makes of an empty database}``; a sandbox is opened only for images that are not known yet."""
    found: dict[str, Trial] = {}
    unknown: dict[str, Runner] = {}
    for runner in runners:
        schema = known(operation, file_name(operation, runner))
        if schema is not None:
            found[runner.image_id] = Trial(schema, "")
        else:
            unknown[runner.image_id] = runner
    if unknown:
        with open_trials(operation) as trials:
            for image_id, runner in unknown.items():
                found[image_id] = find_out(trials, runner)
    return found


def find_out(trials: Trials, runner: Runner) -> Trial:
    """Try an image on an empty database, and remember what came of it unless it failed."""
    trial = trials.on_empty(runner)
    if not trial.trouble:
        remember(trials.operation, file_name(trials.operation, runner), trial.schema)
    return trial
