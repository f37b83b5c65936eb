# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""New containers in the place of the old ones: are they the image that was meant, do they get well, and do they stay so?"""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.backend import _health
from ansible_collections.dbops.postgres.plugins.module_utils.backend._smoke import Smoke, first_failure
from ansible_collections.dbops.postgres.plugins.module_utils.deployment._project import Project, service_of, start_anew
from ansible_collections.dbops.postgres.plugins.module_utils.engine._docker import Docker
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container

#: A container that the engine has started again so often does not start.
_CRASHES = 4


@dataclass(frozen=True)
class Wanted:
    """``images``: the ids that the services of ``project`` shall run; ``numbers``: how many containers each has. Seconds: ``smoke.seconds`` until
    they are well, ``settle`` that they have to stay so. ``alone``: without what they depend on, which runs already."""

    project: Project
    images: dict[str, str]
    numbers: dict[str, int]
    smoke: Smoke
    settle: float
    alone: bool = True


@dataclass(frozen=True)
class Started:
    """``trouble``: why it is not what was wanted, empty where it is. Seconds until the engine had started them, and until they were well."""

    containers: tuple[Container, ...]
    trouble: str
    start_seconds: float
    well_seconds: float


def roll_out(docker: Docker, wanted: Wanted) -> Started:
    """Replace the containers, and see them well."""
    begun = time.monotonic()
    refused = start_anew(docker, wanted.project, wanted.numbers, wanted.alone)
    containers = docker.of_project(wanted.project.name, wanted.images)
    started = time.monotonic()
    trouble = "Docker Compose could not start it: %s" % refused if refused else _trouble(docker, wanted, containers)
    well = time.monotonic()
    return Started(tuple(containers), trouble or _settle(docker, containers, wanted.settle), started - begun, well - started)


def _trouble(docker: Docker, wanted: Wanted, containers: t.Sequence[Container]) -> str:
    if not containers:
        return "There is no container of %s afterwards." % " and ".join(wanted.images)
    other = [container for container in containers if container.image_id != wanted.images[service_of(container)]]
    if other:
        return "Container '%s' runs image '%s', which is another one now than the one that was planned." % (other[0].name, other[0].image)
    return first_trouble(docker, containers, wanted.smoke)


def first_trouble(docker: Docker, containers: t.Sequence[Container], smoke: Smoke) -> str:
    """Why one of them does not get well, or does not pass the smoke commands; empty where all do."""
    return wait_until_well(docker, containers, smoke.seconds) or _smoke(docker, containers, smoke)


def wait_until_well(docker: Docker, containers: t.Sequence[Container], seconds: float) -> str:
    """Why one of them does not get well; one that has ended, or ends at every start, is not waited for."""
    deadline = time.monotonic() + seconds
    while True:
        wrong = list(_health.wait_until_healthy(docker, containers, 0).values())
        if not wrong:
            return ""
        for seen in docker.present(containers):
            if seen.status in ("exited", "dead") or seen.restarts >= _CRASHES:
                return "Container '%s' ends as soon as it is started (exit status %d, %d restarts)." % (
                    seen.name,
                    seen.exit_code,
                    seen.restarts,
                )
            if seen.trouble:
                return "Container '%s' could not be started: %s" % (seen.name, seen.trouble)
        if time.monotonic() > deadline:
            return wrong[0]
        time.sleep(0.2)


def _smoke(docker: Docker, containers: t.Sequence[Container], smoke: Smoke) -> str:
    for container in containers:
        failure = first_failure(docker, container, smoke)
        if failure:
            return "In container '%s', %s" % (container.name, failure)
    return ""


def _settle(docker: Docker, containers: t.Sequence[Container], seconds: float) -> str:
    """One that was well may die a moment later."""
    restarts = {seen.id: seen.restarts for seen in docker.present(containers)}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(min(0.5, max(0.0, until - time.monotonic())))
        now = {seen.id: seen for seen in docker.present(containers)}
        for container in containers:
            seen = now.get(container.id)
            if seen is None or not seen.running or seen.restarts > restarts.get(container.id, 0):
                return "Container '%s' was well, and ended within %g s." % (container.name, seconds)
    return next(iter(_health.wait_until_healthy(docker, containers, 0).values()), "") if seconds else ""


def last_words(docker: Docker, containers: t.Sequence[Container], most: int = 400) -> str:
    """The end of what they have logged, in one line."""
    said = []
    for container in docker.present(containers):
        lines = [line.strip() for line in docker.logs(container.id, tail=5).splitlines() if line.strip()]
        said += [" | ".join(lines)[-most:]] if lines else []
    return " ".join(said)
