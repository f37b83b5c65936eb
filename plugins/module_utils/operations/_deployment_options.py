# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How an image is deployed, as the module takes it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.dbops.postgres.plugins.module_utils.backend._smoke import Smoke, smoke_commands
from ansible_collections.dbops.postgres.plugins.module_utils.deployment._outlook import MIGRATE_FIRST, START_FIRST
from ansible_collections.dbops.postgres.plugins.module_utils.operations._image import ALWAYS, MISSING, PULL_SECONDS
from ansible_collections.dbops.postgres.plugins.module_utils.operations._migration_options import (
    MIGRATION_SPEC,
    MigrationOptions,
    migration_options,
)
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError


@dataclass(frozen=True)
class DeploymentOptions:
    """``services``: of the Compose project, empty for those with the backend's image; ``project_dir``, ``compose_files``, ``env_files``: where the
    containers' own labels do not tell it. Seconds: ``pull_timeout``; ``settle``, for which the new version has to stay well."""

    migration: MigrationOptions
    order: str = MIGRATE_FIRST
    pull: str = ALWAYS
    pull_timeout: float = PULL_SECONDS
    services: tuple[str, ...] = ()
    project_dir: str = ""
    compose_files: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    image_variable: str = ""
    smoke: Smoke = field(default_factory=Smoke)
    settle: float = 3


_OWN: dict[str, t.Any] = {
    "order": {"type": "str", "choices": [MIGRATE_FIRST, START_FIRST], "default": MIGRATE_FIRST},
    "pull": {"type": "str", "choices": [ALWAYS, MISSING], "default": ALWAYS},
    "pull_timeout": {"type": "int", "default": PULL_SECONDS},
    "services": {"type": "list", "elements": "str", "default": []},
    "project_dir": {"type": "path"},
    "compose_files": {"type": "list", "elements": "str", "default": []},
    "env_files": {"type": "list", "elements": "str", "default": []},
    "image_variable": {"type": "str"},
    "smoke": {"type": "list", "elements": "raw", "default": []},
    "settle": {"type": "float", "default": 3.0},
}

#: The module options of a deploy: those of a migration, and its own, which are documented in the module.
DEPLOYMENT_SPEC: dict[str, t.Any] = {**MIGRATION_SPEC, **_OWN}


def deployment_options(params: t.Mapping[str, t.Any]) -> DeploymentOptions:
    """From a module's parameters.

    :raises DbopsError: where one makes no sense.
    """
    if params["settle"] < 0 or params["pull_timeout"] <= 0:
        raise DbopsError("dbops_deploy_settle is a number from 0 on, and dbops_deploy_pull_timeout one above 0.")
    return DeploymentOptions(
        migration=migration_options(params),
        order=params["order"],
        pull=params["pull"],
        pull_timeout=params["pull_timeout"],
        services=tuple(params["services"]),
        project_dir=params["project_dir"] or "",
        compose_files=tuple(params["compose_files"]),
        env_files=tuple(params["env_files"]),
        image_variable=params["image_variable"] or "",
        smoke=Smoke(smoke_commands(params["smoke"], "dbops_deploy_smoke"), params["health_timeout"]),
        settle=params["settle"],
    )
