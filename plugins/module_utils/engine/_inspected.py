# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the engine says of containers and images (``docker inspect``), as far as we use it: plain data."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError


@dataclass(frozen=True)
class Endpoint:
    """A container's place in one network."""

    network: str
    address: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mount:
    """Something of the host that a container sees; ``kind`` is ``bind``, ``volume`` or ``tmpfs``."""

    kind: str
    source: str
    destination: str


@dataclass(frozen=True)
class Container:
    """What ``docker inspect`` says of a container, as far as we use it. Times are RFC 3339 texts in UTC.

    ``trouble``: why the engine could not start it; ``health_said``: the output of its last health check; ``program``: entrypoint and command.
    """

    id: str
    name: str
    image_id: str
    image: str
    status: str
    env: dict[str, str]
    labels: dict[str, str]
    endpoints: tuple[Endpoint, ...]
    created: str
    started: str
    health: str | None = None
    health_command: tuple[str, ...] = ()
    restarts: int = 0
    user: str = ""
    mounts: tuple[Mount, ...] = ()
    exit_code: int = 0
    out_of_memory: bool = False
    finished: str = ""
    trouble: str = ""
    health_said: str = ""
    command: tuple[str, ...] = ()
    program: tuple[str, ...] = ()

    @property
    def running(self) -> bool:
        return self.status == "running"

    @property
    def in_service(self) -> bool:
        """Runs, or is meant to: a container that crashes at every start counts, one that was stopped does not."""
        return self.status in ("running", "restarting")

    @property
    def hostnames(self) -> tuple[str, ...]:
        """Every name under which other containers may know this one."""
        names = {self.name, self.id[:12]}
        for endpoint in self.endpoints:
            names.update(endpoint.aliases)
        return tuple(sorted(names))


@dataclass(frozen=True)
class Image:
    """What ``docker image inspect`` says of an image; ``digests``: by which a registry knows it, ``name@sha256:...``; ``program``: entrypoint
    and command; ``platform``: what it runs on, such as ``linux/amd64``."""

    id: str
    env: dict[str, str]
    volumes: tuple[str, ...]
    labels: dict[str, str]
    digests: tuple[str, ...] = ()
    program: tuple[str, ...] = ()
    platform: str = ""


def parse_env(pairs: t.Iterable[str] | None) -> dict[str, str]:
    env = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if equals:
            env[name] = value
    return env


def parse_container(data: dict[str, t.Any]) -> Container:
    """One object of ``docker container inspect``."""
    config, state = data["Config"], data["State"]
    endpoints = tuple(
        Endpoint(
            network=name, address=place.get("IPAddress") or place.get("GlobalIPv6Address") or "", aliases=tuple(place.get("Aliases") or ())
        )
        for name, place in sorted(((data.get("NetworkSettings") or {}).get("Networks") or {}).items())
    )
    return Container(
        id=data["Id"],
        name=data["Name"].lstrip("/"),
        image_id=data["Image"],
        image=config.get("Image") or data["Image"],
        status="restarting" if state.get("Restarting") else state.get("Status", ""),
        env=parse_env(config.get("Env")),
        labels=config.get("Labels") or {},
        endpoints=endpoints,
        created=data.get("Created", ""),
        started=state.get("StartedAt", ""),
        health=(state.get("Health") or {}).get("Status"),
        health_command=_health_command(config.get("Healthcheck") or {}),
        restarts=int(data.get("RestartCount") or 0),
        user=config.get("User") or "",
        mounts=tuple(Mount(item["Type"], item.get("Source") or "", item["Destination"]) for item in data.get("Mounts") or ()),
        exit_code=int(state.get("ExitCode") or 0),
        out_of_memory=bool(state.get("OOMKilled")),
        finished=state.get("FinishedAt") or "",
        trouble=state.get("Error") or "",
        health_said=_last_output((state.get("Health") or {}).get("Log")),
        command=tuple(data.get("Args") or ()),
        program=_program(config),
    )


def _program(config: dict[str, t.Any]) -> tuple[str, ...]:
    return (*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ()))


def _last_output(log: list[dict[str, t.Any]] | None) -> str:
    return " ".join((log[-1].get("Output") or "").split())[-300:] if log else ""


def _health_command(check: dict[str, t.Any]) -> tuple[str, ...]:
    test = tuple(check.get("Test") or ())
    if test[:1] == ("CMD",):
        return test[1:]
    if test[:1] == ("CMD-SHELL",):
        return ("/bin/sh", "-c", *test[1:])
    return ()


def parse_image(data: dict[str, t.Any]) -> Image:
    """One object of ``docker image inspect``."""
    config = data.get("Config") or {}
    return Image(
        id=data["Id"],
        env=parse_env(config.get("Env")),
        volumes=tuple(sorted(config.get("Volumes") or {})),
        labels=config.get("Labels") or {},
        digests=tuple(sorted(data.get("RepoDigests") or ())),
        program=_program(config),
        platform="%s/%s" % (data.get("Os") or "linux", data.get("Architecture") or "") if data.get("Architecture") else "",
    )


def require_running(container: Container) -> Container:
    """:raises DbopsError: where the container does not run."""
    if not container.running:
        raise DbopsError(
            "Container '%s' is %s, not running: start it with 'docker start %s' and look at 'docker logs %s'."
            % ((container.name, container.status) + (container.name,) * 2)
        )
    return container
