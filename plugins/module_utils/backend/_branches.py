# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The branches that share a database: each is a backend container of its own, known by its name or by a label."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

#: The revision that an image was built from (https://github.com/opencontainers/image-spec/blob/main/annotations.md).
_REVISION = "org.opencontainers.image.revision"


@dataclass(frozen=True)
class Branch:
    name: str
    container: Container

    @property
    def revision(self) -> str:
        return self.container.labels.get(_REVISION, "")


def branches_of(backends: t.Iterable[Container], patterns: t.Sequence[str], label: str) -> list[Branch]:
    """One branch a backend, in the backends' order.

    :param patterns: of the backends' names, such as ``chat-backend-preview-*``: what stands for the star is the branch.
    :param label: the label that names the branch instead, empty for none.
    """
    return [Branch(branch_name(container, patterns, label), container) for container in backends]


def branch_name(container: Container, patterns: t.Sequence[str], label: str) -> str:
    if label and container.labels.get(label):
        return container.labels[label]
    for pattern in patterns:
        before, star, rest = pattern.partition("*")
        after = rest.rpartition("*")[2]
        middle = container.name[len(before) : len(container.name) - len(after)]
        if star and middle and container.name.startswith(before) and container.name.endswith(after):
            return middle
    return container.name


def choose(branches: t.Sequence[Branch], wanted: str) -> Branch:
    """The branch that a person means: by its name, or as a deployment writes the name of a git branch in a container's name
    (``feature/Login`` is ``feature-login``). Of several the newest.

    :raises DbopsError: where there is none, naming those that there are.
    """
    exact = [branch for branch in branches if branch.name == wanted]
    alike = exact or [branch for branch in branches if slug(wanted) and slug(branch.name) == slug(wanted)]
    if not alike:
        listed = ", ".join("'%s'" % branch.name for branch in branches[:20]) or "none"
        raise DbopsError(
            "No backend of branch '%s' (dbops_preview_branch) runs here. Branches here: %s. Deploy it first, or check dbops_backends."
            % (wanted[:100], listed)
        )
    return alike[-1]


def slug(text: str) -> str:
    """Small letters and digits, all else as single hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
