# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How backups are verified: what is expected of them, and what the throwaway server may use."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._proof_server import Limits
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import parse_size

#: The engine itself takes no less (https://docs.docker.com/engine/containers/resource_constraints/), a server needs more.
LEAST_MEMORY = 256 * 2**20


@dataclass(frozen=True)
class Query:
    """What a user expects of every restored copy: a statement that gives one value, and that value as text."""

    name: str
    query: str
    expected: str


@dataclass(frozen=True)
class ProofOptions:
    """``jobs``: parallel workers of pg_restore and of the comparison."""

    jobs: int = 2
    queries: tuple[Query, ...] = ()
    limits: Limits = field(default_factory=Limits)


def proof_options(params: t.Mapping[str, t.Any]) -> ProofOptions:
    """From a module's parameters.

    :raises DbopsError: where one makes no sense.
    """
    memory = parse_size(params["memory"]) if params["memory"] else 0
    if memory is None or 0 < memory < LEAST_MEMORY:
        raise DbopsError("dbops_verify_memory is a size from 256m on, such as 8g, not '%s'." % params["memory"])
    if params["jobs"] < 1 or params["cpus"] < 0:
        raise DbopsError("dbops_verify_jobs is a number from 1 on, dbops_verify_cpus one from 0 on.")
    queries = tuple(Query(asked["name"] or asked["query"], asked["query"], value_text(asked["expected"])) for asked in params["queries"])
    return ProofOptions(params["jobs"], queries, Limits(params["place"], params["cpus"], memory))


def value_text(value: t.Any) -> str:
    """A value as a person writes it in YAML: ``true``, ``42``, nothing for NULL."""
    if value is None:
        return ""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
