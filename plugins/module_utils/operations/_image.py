# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The image that an operation was told: on this host, or pulled from its registry."""

from __future__ import annotations

from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import EngineError

#: Whether an image is asked for at its registry each time, or only where it is not on the host.
ALWAYS, MISSING = "always", "missing"

#: Seconds that a pull may take.
PULL_SECONDS = 1800


def fetch_image(operation: Operation, reference: str, pull: str = MISSING, seconds: float = PULL_SECONDS) -> None:
    """See that it is there, where one is named at all; databases and backups are not touched by that.

    :raises EngineError: with the registry's own sentence, and what to do.
    """
    docker = operation.docker
    if not reference:
        return
    present = docker.has_image(reference)
    if pull == MISSING and present:
        return
    operation.enter("pull the image")
    refused = docker.pull(reference, seconds)
    if refused:
        more = " It is on this host as it came some time ago; to use that: -e dbops_deploy_pull=missing" if present else ""
        raise EngineError(
            "Image '%s' could not be pulled: %s. Look whether it was built and pushed, and whether this user has logged in there with 'docker"
            " login'. Nothing was touched.%s" % (reference, refused.rstrip("."), more)
        )
