# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A container that runs one program, as the options of ``docker run``.

Values of environment variables never reach an argument list: ``--env NAME`` makes the client take the value from its own
environment (https://docs.docker.com/reference/cli/docker/container/run/#env).
"""

from __future__ import annotations

import contextlib
import re
import tempfile
import typing as t
from dataclasses import dataclass, field


@dataclass(frozen=True)
class OneShot:
    """A container that runs one program.

    :param network: a network's name, or ``container:<id>`` to share another container's.
    :param mounts: ``(host path, container path, writable)``.
    :param memory: bytes that it may use, ``cpus`` the processors; 0 is without limit.
    """

    name: str
    image: str
    argv: tuple[str, ...]
    labels: dict[str, str]
    env: dict[str, str] = field(default_factory=dict)
    network: str = "none"
    further_networks: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    mounts: tuple[tuple[str, str, bool], ...] = ()
    tmpfs: tuple[str, ...] = ()
    user: str = ""
    keep_entrypoint: bool = False
    volumes_from: str = ""
    shm_size: str = ""
    memory: int = 0
    cpus: float = 0
    workdir: str = ""


#: Variables that mean something to the ``docker`` client itself: a backend's value must not redirect or break it.
_CLIENT_VARIABLE = re.compile(
    r"^(?:PATH|HOME|TMPDIR|LANG|LC_.*|LD_.*|DOCKER_.*|BUILDKIT_.*|GO[A-Z]+|SSH_.*|XDG_.*|(?:HTTPS?|NO|ALL|FTP)_PROXY)$", re.IGNORECASE
)


@contextlib.contextmanager
def environment_flags(env: t.Mapping[str, str]) -> t.Iterator[tuple[list[str], dict[str, str]]]:
    """The options that pass an environment on, and what the client's own environment has to hold for them.

    Only names stand in the options. What would mean something to the client goes through a private file instead, whose format
    knows no line breaks (https://docs.docker.com/reference/cli/docker/container/run/#env).
    """
    filed = {name: text for name, text in env.items() if _CLIENT_VARIABLE.match(name)}
    by_name = {name: text for name, text in env.items() if name not in filed}
    flags = [word for name in sorted(by_name) for word in ("--env", name)]
    if not filed:
        yield flags, by_name
        return
    with tempfile.NamedTemporaryFile("w", prefix="dbops-env-", encoding="utf-8") as stream:
        stream.writelines("%s=%s\n" % (name, text.replace("\n", " ")) for name, text in sorted(filed.items()))
        stream.flush()
        yield flags + ["--env-file", stream.name], by_name


def label_flags(labels: t.Mapping[str, str]) -> list[str]:
    return [word for name in sorted(labels) for word in ("--label", "%s=%s" % (name, labels[name]))]


def one_shot_flags(job: OneShot) -> list[str]:
    """The options, the image and the program of ``docker run`` or ``docker create``."""
    flags = ["--pull", "never", "--name", job.name, "--network", job.network] + label_flags(job.labels)
    for alias in job.aliases:
        flags += ["--network-alias", alias]
    for source, destination, writable in job.mounts:
        flags += ["--mount", mount_flag(source, destination, writable)]
    for path in job.tmpfs:
        flags += ["--tmpfs", path]
    for option, value in (
        ("--user", job.user),
        ("--volumes-from", job.volumes_from),
        ("--shm-size", job.shm_size),
        ("--workdir", job.workdir),
    ):
        flags += [option, value] if value else []
    flags += ["--memory", str(job.memory), "--memory-swap", str(job.memory)] if job.memory else []
    flags += ["--cpus", "%g" % job.cpus] if job.cpus else []
    if job.keep_entrypoint:
        return [*flags, job.image, *job.argv]
    return [*flags, "--entrypoint", job.argv[0], job.image, *job.argv[1:]]


def mount_flag(source: str, destination: str, writable: bool) -> str:
    """``--mount`` takes comma-separated values, quoted as CSV (a path may hold a comma or a quote)."""
    fields = ["type=bind", "source=" + source, "target=" + destination] + ([] if writable else ["readonly"])
    return ",".join('"%s"' % text.replace('"', '""') if set(text) & set(',"') else text for text in fields)
