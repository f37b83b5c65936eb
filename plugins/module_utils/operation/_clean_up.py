# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What dead runs left for a database goes away; a living run's things stay."""

from __future__ import annotations

import os
import re
import tempfile
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.archive._files import remove_folder
from ansible_collections.dbops.postgres.plugins.module_utils.engine._docker import LABEL_TARGET
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.server import _swap
from ansible_collections.dbops.postgres.plugins.module_utils.server._lock import is_alive

_TEMPORARY = re.compile(r"^dbops-([0-9]{8}T[0-9]{6}_[0-9a-f]{6})-")


def clean_up(operation: Operation) -> list[str]:
    """Remove what dead runs left for this database; what a living run (a check, say) made stays. Returns what was done."""

    def alive(run_id: str) -> bool:
        return is_alive(operation.maintenance, run_id)

    done = []
    for kind, identifier, run_id in operation.docker.labelled(LABEL_TARGET, operation.target_label):
        if run_id != operation.run_id and not alive(run_id):
            operation.docker.remove(kind, identifier)
            done.append("removed a %s of run %s" % (kind, run_id))
    done += _swap.finish_interrupted(operation.maintenance, operation.database)
    for path in operation.archive.leftovers(alive) + temporary_leftovers(alive):
        if "-%s-" % operation.server.identifier in os.path.basename(path):  # of another server's runs this one cannot tell who lives
            done.append(_removed(path))
    return done


def _removed(path: str) -> str:
    """One that cannot be removed stops nobody: a restore at night least of all."""
    try:
        remove_folder(path)
    except FileNotFoundError:  # another run was faster
        return "removed the folder '%s'" % path
    except OSError as error:
        return "nothing, for now, about the folder '%s', which cannot be removed (%s); remove it by hand" % (path, error.strerror or error)
    return "removed the folder '%s'" % path


def temporary_leftovers(alive: t.Callable[[str], bool]) -> list[str]:
    """Work folders of dead runs in the system's folder for temporary files, as far as they are this user's."""
    found = []
    parent = tempfile.gettempdir()
    for name in sorted(os.listdir(parent)):
        match = _TEMPORARY.match(name)
        path = os.path.join(parent, name)
        if match and os.path.isdir(path) and not os.path.islink(path) and os.stat(path).st_uid == os.getuid() and not alive(match.group(1)):
            found.append(path)
    return found
