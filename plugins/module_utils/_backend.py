# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The backend's containers after an operation: are they healthy, and what did they complain of?"""

from __future__ import annotations

import contextlib
import re
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils._docker import Container, Docker
from ansible_collections.dbops.postgres.plugins.module_utils._errors import EngineError

_ERROR_LINE = re.compile(r"\b(?:ERROR|FATAL|PANIC|error|fatal|panic)\b")

#: How long ``auto`` waits for a backend to reconnect by itself before it is restarted, in seconds.
RECONNECT_SECONDS = 10.0


@dataclass(frozen=True)
class Recovery:
    """How the backends came back: the names of those that were restarted, and one sentence for each that is not well."""

    restarted: tuple[str, ...]
    unhealthy: tuple[str, ...]


def bring_back(
    docker: Docker, backends: t.Sequence[Container], restart: str, seconds: float, sick_before: t.Collection[str] = ()
) -> Recovery:
    """See the backends well after their database was swapped, restarting those that need it.

    :param restart: ``always``, ``never``, or ``auto``: only where a backend does not get healthy by itself.
    :param seconds: how long each may take.
    :param sick_before: backends that are not judged.
    """
    restarted, waiting = [], []
    for container in backends:
        if not container.in_service:
            continue
        if restart == "auto" and not wait_until_healthy(docker, container, min(RECONNECT_SECONDS, seconds)):
            continue
        waiting.append(container)
        if restart != "never":
            with contextlib.suppress(EngineError):  # whether the backend is well is asked afterwards
                docker.restart(container.id)
                restarted.append(container.name)
    return Recovery(tuple(restarted), tuple(unhealthy(docker, waiting, seconds, sick_before)))


def unhealthy(docker: Docker, backends: t.Sequence[Container], seconds: float, sick_before: t.Collection[str] = ()) -> list[str]:
    """One sentence for each backend that does not get healthy within ``seconds``; those of ``sick_before`` are not judged."""
    judged = [container for container in backends if container.in_service and container.name not in sick_before]
    sentences = (wait_until_healthy(docker, container, seconds) for container in judged)
    return [sentence for sentence in sentences if sentence]


def sick(docker: Docker, backends: t.Sequence[Container]) -> list[str]:
    """Names of the backends that do not pass their health check now: what follows can then not be blamed for it."""
    return [container.name for container in backends if container.in_service and wait_until_healthy(docker, container, 0)]


def wait_until_healthy(docker: Docker, container: Container, seconds: float) -> str:
    """Wait until a backend passes its own health check now; returns what is wrong where it does not.

    The check's command is run at once: the engine's own verdict may be half a minute old.
    """
    deadline = time.monotonic() + seconds
    while True:
        trouble = _trouble(docker, container)
        if not trouble or time.monotonic() >= deadline:
            return trouble
        time.sleep(0.2)


def _trouble(docker: Docker, container: Container) -> str:
    try:
        seen = docker.container(container.id)
    except EngineError as error:
        return error.message
    if not seen.running or seen.restarts > container.restarts:
        return "Backend '%s' is %s and was restarted %d times: look at 'docker logs %s'." % (
            seen.name,
            seen.status,
            seen.restarts,
            seen.name,
        )
    if not seen.health_command:
        return ""
    outcome = docker.exec(seen.id, seen.health_command, timeout=30)
    if outcome.rc == 0:
        return ""
    said = " ".join(outcome.output.split())[-300:]
    return "Backend '%s' is not healthy: its check '%s' says: %s" % (
        seen.name,
        " ".join(seen.health_command),
        said or "exit status %d" % outcome.rc,
    )


def new_error_lines(docker: Docker, backends: t.Sequence[Container], since: str, most: int = 10) -> list[str]:
    """Lines that look like errors in the backends' logs since a time, the newest ``most`` of each, with its container's name."""
    found = []
    for container in backends:
        lines = docker.logs(container.id, since=since).splitlines()
        telling = [line.strip()[:500] for line in lines if _ERROR_LINE.search(line)]
        found += ["%s: %s" % (container.name, line) for line in telling[-most:]]
    return found
