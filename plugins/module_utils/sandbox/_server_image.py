# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The image that a sandbox starts from: the database's own, with a data folder that is made already.

The official image makes its data folder anew in each container, and starts its server twice for that. Made once and kept as an
image of this host, it holds what ``initdb`` writes and nothing of any database. Whoever removes that image loses nothing: it is
made again, or the sandbox starts as the official image does.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import tempfile

from ansible_collections.dbops.postgres.plugins.module_utils.engine._docker import LABEL_SOURCE, Docker
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Image
from ansible_collections.dbops.postgres.plugins.module_utils.engine._one_shot import OneShot
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import EngineError

#: How the images are called; the tag says of what they are made.
NAME = "dbops-sandbox"

#: Outside every volume, or the engine would not keep it; where the server's user may write in every image.
DATA_FOLDER = "/tmp/dbops-sandbox"  # noqa: S108 - in a container of its own

#: The user that the official images run their server as.
SERVER_USER = "postgres"

#: Whoever reaches the sandbox's own network may enter (https://www.postgresql.org/docs/current/auth-pg-hba-conf.html).
_HBA = "local all all trust\nhost all all all trust\n"


def with_data_folder(operation: Operation, image: Image, superuser: str, initdb_options: str) -> str:
    """The name of an image that holds ``DATA_FOLDER``, made now where there is none; empty where it cannot or may not be made."""
    docker = operation.docker
    name = _name(image, superuser, initdb_options)
    if docker.has_image(name):
        return name
    if operation.check_mode:
        return ""
    try:
        _remove_outdated(docker)
        _make(operation, image, superuser, initdb_options, name)
    except (EngineError, ValueError):  # ValueError: options that no shell could read either
        return ""
    return name


def forget(docker: Docker, name: str) -> None:
    """Remove an image, so that it is made anew; one that another run is just using stays."""
    with contextlib.suppress(EngineError):
        docker.remove("image", name)


def data_folders(image: Image) -> tuple[str, ...]:
    """Where the image keeps its data; it differs between versions of the official image (18 moved it), so ask the image."""
    folders = list(image.volumes)
    data = image.env.get("PGDATA", "")
    if data and not any(data == folder or data.startswith(folder.rstrip("/") + "/") for folder in folders):
        folders.append(data)
    return tuple(folders)


def _name(image: Image, superuser: str, initdb_options: str) -> str:
    facts = [image.id, superuser, initdb_options, _HBA]
    return "%s:%s" % (NAME, hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16])


def _make(operation: Operation, image: Image, superuser: str, initdb_options: str, name: str) -> None:
    job = OneShot(
        name="dbops-%s-initdb" % operation.run_id,
        image=image.id,
        argv=("initdb", "--pgdata=" + DATA_FOLDER, "--username=" + superuser, "--no-sync", *shlex.split(initdb_options)),
        labels=operation.labels,
        tmpfs=data_folders(image),
        user=SERVER_USER,
    )
    with tempfile.NamedTemporaryFile("w", prefix="dbops-hba-", encoding="ascii") as stream:
        stream.write(_HBA)
        stream.flush()
        os.chmod(stream.name, 0o644)  # the copy keeps the mode, and belongs to another user there
        operation.docker.make_image(job, name, {DATA_FOLDER + "/pg_hba.conf": stream.name})


def _remove_outdated(docker: Docker) -> None:
    """What was made of images that no container of this host has any more."""
    used = {container.image_id for container in docker.every()}
    for made in docker.made_images():
        if made.labels.get(LABEL_SOURCE) not in used:
            forget(docker, made.id)
