# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The migration runner: presets, and running it in a one-shot container of the backend's image."""

from __future__ import annotations

import os
import shlex
import stat
import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.dbops.postgres.plugins.module_utils.engine._docker import Docker
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container
from ansible_collections.dbops.postgres.plugins.module_utils.engine._one_shot import OneShot
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

#: Runners known by name: the command that migrates, the command that seeds.
PRESETS = {
    "ent": (("/app/backend", "migrate"), ("/app/backend", "seed")),
}

#: Tables in which versioned runners keep which migrations they ran; without their contents they would start from zero in a sandbox.
STATE_TABLES = (
    "alembic_version",  # Alembic
    "atlas_schema_revisions",  # Atlas
    "django_migrations",  # Django
    "flyway_schema_history",  # Flyway
    "databasechangelog",  # Liquibase
    "databasechangeloglock",
    "schema_migrations",  # golang-migrate, Rails, dbmate
    "ar_internal_metadata",  # Rails
    "goose_db_version",  # goose
    "_prisma_migrations",  # Prisma
    "changes",  # Sqitch, in its schema "sqitch"
    "dependencies",
    "events",
    "projects",
    "releases",
    "tags",
    "knex_migrations",  # knex
    "knex_migrations_lock",
)

#: Sqitch's names are everyday words: they only count in its own schema.
_ONLY_IN_SCHEMA = dict.fromkeys(("changes", "dependencies", "events", "projects", "releases", "tags"), "sqitch")

#: The names that nobody gives to a table of his own.
UNMISTAKABLE = frozenset(STATE_TABLES) - frozenset(_ONLY_IN_SCHEMA)

#: Exit status of a program that was killed (128 + SIGKILL), for example for using too much memory.
_KILLED = 137


@dataclass(frozen=True)
class Runner:
    """A command in an image, with the environment that the backend's container adds to it."""

    argv: tuple[str, ...]
    image: str
    image_id: str
    container: Container
    env: dict[str, str] = field(default_factory=dict)

    @property
    def command(self) -> str:
        return " ".join(self.argv)


def command_of(runner: t.Sequence[str], purpose: str) -> tuple[str, ...]:
    """The command for ``purpose`` (``migrate`` or ``seed``): a preset's name, or the command itself.

    :raises DbopsError: where there is none.
    """
    if len(runner) == 1 and runner[0] in PRESETS:
        return PRESETS[runner[0]][0 if purpose == "migrate" else 1]
    if len(runner) == 1:
        runner = _split(runner[0])
    if not any(word.strip() for word in runner):
        raise DbopsError("No %s command was given: set it to a preset (%s) or to a list of words." % (purpose, ", ".join(sorted(PRESETS))))
    return tuple(runner)


def _split(text: str) -> list[str]:
    """``-e dbops_migrate_runner='/app/backend migrate'`` arrives as one word."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise DbopsError("The command '%s' cannot be split into words (%s): give it as a list." % (text, error)) from None


def find_runner(docker: Docker, backend: Container, argv: tuple[str, ...], image: str) -> Runner:
    """The runner in the backend's image, or in another ``image`` (a version that is not deployed yet).

    What the container adds to its own image's environment goes along; the new image keeps its own defaults.
    """
    own = docker.image(backend.image_id)
    chosen = docker.image(image) if image else own
    env = {name: text for name, text in backend.env.items() if own.env.get(name) != text}
    return Runner(argv, image or backend.image, chosen.id, backend, env)


def run_in_sandbox(docker: Docker, runner: Runner, name: str, labels: dict[str, str], network: str, timeout: float) -> Outcome:
    """Run where nothing real can be reached; of the backend's mounts only harmless ones go along, read-only."""
    return docker.run(replace(_one_shot(runner, name, labels, (network,)), mounts=harmless_mounts(runner.container)), timeout=timeout)


def run_for_real(docker: Docker, runner: Runner, name: str, labels: dict[str, str], application: str, timeout: float) -> Outcome:
    """Run in the backend's own networks, with all its mounts. ``PGAPPNAME`` names the sessions, for drivers that honour it."""
    networks = tuple(endpoint.network for endpoint in runner.container.endpoints) or ("container:" + runner.container.id,)
    job = _one_shot(runner, name, labels, networks)
    return docker.run(replace(job, env=dict(job.env, PGAPPNAME=application), volumes_from=runner.container.id), timeout=timeout)


def _one_shot(runner: Runner, name: str, labels: dict[str, str], networks: tuple[str, ...]) -> OneShot:
    return OneShot(
        name=name,
        image=runner.image_id,
        argv=runner.argv,
        labels=labels,
        env=runner.env,
        network=networks[0],
        further_networks=networks[1:],
        user=runner.container.user,
    )


def harmless_mounts(container: Container) -> tuple[tuple[str, str, bool], ...]:
    """Mounted files and folders (secrets, configuration, migrations) that give no way to a real server: no sockets, no volumes."""
    return tuple(
        (mount.source, mount.destination, False) for mount in container.mounts if mount.kind == "bind" and _is_harmless(mount.source)
    )


def _is_harmless(path: str) -> bool:
    if os.path.isfile(path):
        return True
    if not os.path.isdir(path) or not os.access(path, os.R_OK | os.X_OK):
        return False
    found = (os.path.join(parent, name) for parent, _folders, names in os.walk(path) for name in names)
    return not any(stat.S_ISSOCK(os.lstat(name).st_mode) for name in found)


def failure_of(runner: Runner, outcome: Outcome, timeout: float, limit: str) -> str:
    """Why a runner did not succeed, in a sentence; empty where it did.

    :param timeout: seconds, which the variable named ``limit`` sets.
    """
    where = "'%s' in image '%s'" % (runner.command, runner.image)
    if outcome.timed_out:
        return "%s did not end within %d s and was stopped (%s)" % (where, timeout, limit)
    if outcome.rc == _KILLED:
        return "%s was killed (exit status 137): did it run out of memory?" % where
    if outcome.rc in (126, 127):
        return "%s could not be started: is that program in the image? The command is set with dbops_runner (or dbops_seed)" % where
    return "%s failed with exit status %d" % (where, outcome.rc) if outcome.rc else ""


def last_lines(outcome: Outcome, number: int = 3, most: int = 400) -> str:
    """The end of what a runner said, in one line, for a message."""
    return " | ".join([line.strip() for line in outcome.output.splitlines() if line.strip()][-number:])[-most:]


def is_state_table(schema: str, table: str, names: t.Collection[str]) -> bool:
    return table in names and _ONLY_IN_SCHEMA.get(table, schema) == schema
