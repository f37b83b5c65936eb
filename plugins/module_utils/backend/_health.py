# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The backend's containers after an operation: are they healthy, and what did they complain of?"""

from __future__ import annotations

import re
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.engine._docker import Docker
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import EngineError

_ERROR_LINE = re.compile(r"\b(?:ERROR|FATAL|PANIC|error|fatal|panic)\b")

#: How long ``auto`` waits for a backend to reconnect by itself before it is restarted, in seconds.
RECONNECT_SECONDS = 10.0

#: Backends that are asked at the same time.
_AT_ONCE = 8


@dataclass(frozen=True)
class Recovery:
    """How the backends came back: the names of those that were restarted, one sentence for each that is to be complained of, and the
    names of those that have passed their health check."""

    restarted: tuple[str, ...]
    unhealthy: tuple[str, ...]
    healthy: tuple[str, ...]


def bring_back(
    docker: Docker, backends: t.Sequence[Container], restart: str, seconds: float, sick_before: t.Collection[str] = ()
) -> Recovery:
    """See the backends well after their database was swapped, restarting those that need it.

    :param restart: ``always``, ``never``, or ``auto``: only where a backend does not get healthy by itself.
    :param seconds: how long each may take.
    :param sick_before: backends that are not complained of: after everything else they are asked once how they are.
    """
    waiting = in_service = [container for container in backends if container.in_service]
    if restart == "auto":
        wrong = wait_until_healthy(docker, waiting, min(RECONNECT_SECONDS, seconds))
        waiting = [container for container in waiting if container.name in wrong]
    restarted = [] if restart == "never" else _side_by_side(lambda container: _restart(docker, container), waiting)
    wrong = wait_until_healthy(docker, _judged(waiting, sick_before), seconds)
    still_sick = sick(docker, [container for container in waiting if container.name in sick_before])
    healthy = (container.name for container in in_service if container.name not in (*wrong, *still_sick))
    return Recovery(tuple(name for name in restarted if name), tuple(wrong.values()), tuple(healthy))


def _restart(docker: Docker, container: Container) -> str:
    """Returns the name of what was restarted; whether it is well is asked afterwards."""
    try:
        docker.restart(container.id)
    except EngineError:
        return ""
    return container.name


def unhealthy(docker: Docker, backends: t.Sequence[Container], seconds: float, sick_before: t.Collection[str] = ()) -> list[str]:
    """One sentence for each backend that does not get healthy within ``seconds``; those of ``sick_before`` are not judged."""
    return list(wait_until_healthy(docker, _judged(backends, sick_before), seconds).values())


def _judged(backends: t.Sequence[Container], sick_before: t.Collection[str]) -> list[Container]:
    return [container for container in backends if container.in_service and container.name not in sick_before]


def sick(docker: Docker, backends: t.Sequence[Container]) -> list[str]:
    """Names of the backends that do not pass their health check now: what follows can then not be blamed for it."""
    return list(wait_until_healthy(docker, [container for container in backends if container.in_service], 0))


def wait_until_healthy(docker: Docker, backends: t.Sequence[Container], seconds: float) -> dict[str, str]:
    """Wait until each backend has passed its own health check; returns what is wrong, by name, with those that have not.

    The checks' commands are run now: the engine's own verdict may be half a minute old.
    """
    deadline = time.monotonic() + seconds
    waiting = list(backends)
    while True:
        troubles = _side_by_side(lambda container: _trouble(docker, container), waiting)
        wrong = {container.name: trouble for container, trouble in zip(waiting, troubles) if trouble}
        if not wrong or time.monotonic() >= deadline:
            return wrong
        waiting = [container for container in waiting if container.name in wrong]
        time.sleep(0.2)


def _side_by_side(do: t.Callable[[Container], str], backends: t.Sequence[Container]) -> list[str]:
    """Many branches may share a preview: what takes its time with one should not take it with each in turn."""
    if len(backends) < 2:
        return [do(container) for container in backends]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(do, backends))


def _trouble(docker: Docker, container: Container) -> str:
    try:
        found = docker.present([container])
    except EngineError as error:
        return error.message
    if not found:
        return "Backend '%s' was removed." % container.name
    seen = found[0]
    if not seen.running or seen.restarts > container.restarts:
        return "Backend '%s' is %s and was restarted %d times: look at 'docker logs %s'." % (
            seen.name,
            seen.status,
            seen.restarts,
            seen.name,
        )
    if not container.health_command:
        return ""
    outcome = docker.exec(seen.id, container.health_command, timeout=30)
    if outcome.rc == 0:
        return ""
    said = " ".join(outcome.output.split())[-300:]
    return "Backend '%s' is not healthy: its check '%s' says: %s" % (
        seen.name,
        " ".join(container.health_command),
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
