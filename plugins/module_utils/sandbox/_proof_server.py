# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The throwaway server that a backup is restored into to prove it: of the image that the backup was made with, with its roles, by itself.

Nothing of the live server is asked for but what an older manifest does not say. Small databases lie in memory, others on the engine's disk.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import Manifest
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Image
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._throwaway_server import Machine
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database
from ansible_collections.dbops.postgres.plugins.module_utils.server._roles import Role
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import size_text

MEMORY, DISK, AUTO = "memory", "disk", "auto"

#: A restored database is about as large as the one that was dumped; its indexes are written once more while they are sorted.
_ROOM = 1.5

#: Bytes that a server needs besides its databases: its caches, and the sorting for indexes.
_SERVER_MEMORY = 2 * 2**30

#: Part of the memory that is available which a database may take in memory: the real server goes on working beside it.
_PART_OF_MEMORY = 0.25

#: Larger checkpoints and sorts, as one gives a server for a restore (https://www.postgresql.org/docs/current/populate.html).
_OPTIONS = ("max_wal_size=8GB", "checkpoint_timeout=1h", "maintenance_work_mem=256MB")


@dataclass(frozen=True)
class Limits:
    """Of a throwaway server. ``place``: ``memory``, ``disk`` or ``auto``; ``cpus``: processors, 0 is all; ``memory``: bytes, 0 is by the database's size.

    ``variables``: what the names of those that set them begin with; ``room``: of the dumped database's size, what the copy may come to take;
    ``spared``: bytes that have to stay free on a disk.
    """

    place: str = AUTO
    cpus: float = 0
    memory: int = 0
    variables: str = "dbops_verify"
    room: float = _ROOM
    spared: int = 0


@dataclass(frozen=True)
class Plan:
    """What a backup is to be restored into; ``image``: its name; ``note``: what is not as it was when it was made; ``variables``: as of its limits."""

    machine: Machine
    image: str
    note: str = ""
    variables: str = "dbops_verify"


def plan_server(operation: Operation, manifest: Manifest, limits: Limits) -> Plan:
    """:raises DbopsError: where there is no image for it, or no room."""
    image, name, note = _image(operation, manifest)
    container = operation.target.container
    needed = int(manifest.database_size * limits.room)
    in_memory = _in_memory(needed, limits)
    if in_memory:
        _require_memory(needed, limits)
    else:
        _require_room(operation, needed + limits.spared, limits)
    return Plan(
        Machine(
            image=image,
            superuser=manifest.superuser or container.env.get("POSTGRES_USER") or operation.target.address.user,
            preload=_preload(operation, manifest, image),
            options=_OPTIONS,
            in_memory=in_memory,
            room=max(needed, 64 * 2**20) if in_memory else 0,
            memory=limits.memory or _SERVER_MEMORY + (needed if in_memory else 0),
            cpus=limits.cpus,
        ),
        name,
        note,
        limits.variables,
    )


def roles_of(manifest: Manifest) -> tuple[Role, ...]:
    """A manifest of an earlier version knows names only: then they may do everything, or what they own could not be theirs."""
    known = {role.name for role in manifest.role_definitions}
    others = [name for name in manifest.roles if name not in known and not name.startswith("pg_")]
    return manifest.role_definitions + tuple(Role(name, ("SUPERUSER", "INHERIT")) for name in others)


def _image(operation: Operation, manifest: Manifest) -> tuple[Image, str, str]:
    """The very image, its name, and a note: where it is gone, one of the same major version that this host has."""
    docker, live = operation.docker, operation.target.container
    if docker.has_image(manifest.image_id):
        return docker.image(manifest.image_id), manifest.image, ""
    major = manifest.server_version_number // 10000
    gone = "the image that it was made with ('%s', PostgreSQL %s) is not on this host any more, so it was restored with '%s'"
    if docker.has_image(manifest.image):
        image = docker.image(manifest.image)
        if image.env.get("PG_MAJOR") == str(major):
            return image, manifest.image, gone % (manifest.image, manifest.server_version, manifest.image)
    if operation.server.major == major:
        return docker.image(live.image_id), live.image, gone % (manifest.image, manifest.server_version, live.image)
    raise DbopsError(
        "Backup '%s' was made with image '%s', and this host has neither that nor another one of PostgreSQL %d: run 'docker pull %s' there."
        % (manifest.id, manifest.image, major, manifest.image)
    )


def _preload(operation: Operation, manifest: Manifest, image: Image) -> str:
    if manifest.preload_libraries is not None:
        return manifest.preload_libraries
    return (_database.preload_libraries(operation.maintenance) or "") if image.id == operation.target.container.image_id else ""


def _in_memory(needed: int, limits: Limits) -> bool:
    if limits.place != AUTO:
        return limits.place == MEMORY
    fits = needed <= available_memory() * _PART_OF_MEMORY
    return fits and needed + _SERVER_MEMORY // 4 <= limits.memory if limits.memory else fits


def _require_memory(needed: int, limits: Limits) -> None:
    """The real server lives on the same host, and must not be what the kernel ends for want of memory."""
    available = available_memory()
    if 0 < available < needed + _SERVER_MEMORY // 4:
        raise DbopsError(
            "There is too little memory on the host to restore it there: about %s needed, %s available. Let it be restored on the engine's disk:"
            " -e %s_place=disk" % (size_text(needed + _SERVER_MEMORY // 4), size_text(available), limits.variables)
        )


def available_memory(path: str = "/proc/meminfo") -> int:
    """Bytes that new programs may use (https://www.kernel.org/doc/html/latest/filesystems/proc.html, MemAvailable); 0 where nobody knows."""
    try:
        with open(path, encoding="ascii") as stream:
            found = re.search(r"^MemAvailable:\s+(\d+) kB", stream.read(), re.MULTILINE)
    except OSError:
        return 0
    return int(found.group(1)) * 1024 if found else 0


def _require_room(operation: Operation, needed: int, limits: Limits) -> None:
    free = free_space(operation.docker.root())
    if free is not None and free < needed:
        fits = needed + _SERVER_MEMORY // 4 <= available_memory()
        raise DbopsError(
            "There is too little room on the engine's volume to restore it there: about %s needed, %s free ('%s'). Free some, for example with"
            " 'docker image prune'.%s"
            % (
                size_text(needed),
                size_text(free),
                operation.docker.root(),
                " Or let it be restored in memory, which has room for it: -e %s_place=memory" % limits.variables if fits else "",
            )
        )


def free_space(folder: str) -> int | None:
    """Bytes; none where the engine's folder is on another host, or hidden."""
    try:
        usage = os.statvfs(folder)
    except OSError:
        return None
    return usage.f_bavail * usage.f_frsize
