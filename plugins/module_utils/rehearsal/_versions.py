# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a version of the application works with a schema: its container is started beside a throwaway server, and asked how it is."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from ansible_collections.dbops.postgres.plugins.module_utils.backend import _health
from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import Runner, harmless_mounts
from ansible_collections.dbops.postgres.plugins.module_utils.backend._smoke import Smoke, asked, first_failure
from ansible_collections.dbops.postgres.plugins.module_utils.engine._docker import Docker
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container
from ansible_collections.dbops.postgres.plugins.module_utils.engine._one_shot import OneShot
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._throwaway_server import Sandbox
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import EngineError

WORKS, FAILS, UNKNOWN = "works", "fails", "not known"

#: Seconds that it has to go on running once it is well.
_LASTING_SECONDS = 0.5


@dataclass(frozen=True)
class Version:
    """One version of the application with the schema after the migration. ``version``: ``running`` or ``new``; ``evidence``: a sentence."""

    version: str
    image: str
    image_id: str
    state: str
    evidence: str


def try_version(operation: Operation, sandbox: Sandbox, runner: Runner, name: str, smoke: Smoke) -> Version:
    """Start it as the backend's container was started, in the sandbox's network, and remove it again.

    :param name: ``running`` or ``new``.
    """
    docker = operation.docker
    known = Version(name, runner.image, runner.image_id, UNKNOWN, "")
    try:
        started = docker.start(_container(operation, sandbox, runner, name))
    except EngineError as error:
        return replace(known, state=FAILS, evidence="It could not be started: %s" % error.message)
    try:
        tried = replace(started, health_command=runner.container.health_command or started.health_command)
        trouble = _wait_until_well(docker, tried, smoke.seconds)
        found = _ask(operation, tried, known, smoke) if not trouble else known
        trouble = trouble or _gone(docker, tried)
        if not trouble:
            return found
        said = " | ".join(docker.logs(started.id, tail=5).split("\n")).strip(" |")
        return replace(known, state=FAILS, evidence=operation.redactor.text("%s It says: %s" % (trouble, said[-400:])))
    finally:
        docker.remove("container", started.id)
        sandbox.end_sessions()


def _wait_until_well(docker: Docker, container: Container, seconds: float) -> str:
    """Why it does not get well; nobody waits for one that has ended, since nobody starts it again."""
    deadline = time.monotonic() + seconds
    while True:
        trouble = "".join(_health.wait_until_healthy(docker, [container], 0).values())
        there = docker.present([container])
        if not there or not there[0].running:
            return "It has ended%s." % (" with exit status %d" % there[0].exit_code if there else "")
        if not trouble or time.monotonic() > deadline:
            return trouble
        time.sleep(0.2)


def _gone(docker: Docker, container: Container) -> str:
    """One that was well may have died since: a crash takes its moment."""
    time.sleep(_LASTING_SECONDS)
    there = docker.present([container])
    return "" if there and there[0].running and there[0].restarts == container.restarts else "It was there for a moment, and has ended."


def _ask(operation: Operation, container: Container, known: Version, smoke: Smoke) -> Version:
    failure = first_failure(operation.docker, container, smoke)
    if failure:
        return replace(known, state=FAILS, evidence=operation.redactor.text(failure))
    passed = asked(container, smoke)
    if not passed:
        return replace(
            known, evidence="It starts. It has no health check, and dbops_rehearse_smoke names no command, so nothing more is known."
        )
    return replace(known, state=WORKS, evidence="It starts, %s." % ", ".join(passed))


def _container(operation: Operation, sandbox: Sandbox, runner: Runner, name: str) -> OneShot:
    """With its image's own command, where the real container has that too, else with the container's."""
    real = runner.container
    own = operation.docker.image(real.image_id)
    as_image = real.program == own.program
    return OneShot(
        name="dbops-%s-backend-%s" % (operation.run_id, name),
        image=runner.image_id,
        argv=() if as_image else real.program,
        keep_entrypoint=as_image,
        labels=operation.labels,
        env=runner.env,
        network=sandbox.network,
        user=real.user,
        mounts=harmless_mounts(real),
    )
