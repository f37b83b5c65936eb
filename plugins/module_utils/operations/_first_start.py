# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A project that was never started here, such as a new branch's: its containers are made, so that its migration can be planned with their environment.

They are started only by the deploy itself; where that does not come to it, they are removed again.
"""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.deployment._image_setting import Setting, pinned, setting_of
from ansible_collections.dbops.postgres.plugins.module_utils.deployment._project import (
    Composition,
    Project,
    create_containers,
    new_project,
    read_project,
    variable_of,
)
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.operation._target import resolve
from ansible_collections.dbops.postgres.plugins.module_utils.operations._deployment_options import DeploymentOptions
from ansible_collections.dbops.postgres.plugins.module_utils.operations._image import fetch_image
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError


@contextlib.contextmanager
def with_containers(operation: Operation, options: DeploymentOptions) -> t.Iterator[bool]:
    """See that the backend has a container, made by Compose where it had none; whether it was made.

    :raises DbopsError: where there is none, and where its project lies was not said.
    """
    missing = _missing_backend(operation)
    if not missing:
        yield False
        return
    if not options.project_dir:
        raise DbopsError(
            "No container to be deployed: %s To start one here for the first time, name the folder of its Compose project: -e"
            " dbops_deploy_project_dir=/opt/app/feature-x" % missing
        )
    project, setting, services = _prepare(operation, options)
    setting.write()
    made = False
    try:
        refused = create_containers(operation.docker, project, services)
        if refused:
            raise DbopsError("Docker Compose could not make the containers of '%s': %s" % (project.folder, refused))
        operation.target = resolve(operation.docker, operation.request.target, operation.redactor)
        missing = _missing_backend(operation)
        if missing:
            raise DbopsError(
                "Compose project '%s' in '%s' has made no container that dbops_backends means: %s" % (project.name, project.folder, missing)
            )
        yield True
        made = True
    finally:
        if not made:
            _undo(operation, project, setting)


def _missing_backend(operation: Operation) -> str:
    try:
        operation.target.backend()
    except DbopsError as error:
        return error.message
    return ""


def _prepare(operation: Operation, options: DeploymentOptions) -> tuple[Project, Setting, tuple[str, ...]]:
    reference = options.migration.planning.image
    if operation.check_mode:
        raise DbopsError(
            "The Compose project in '%s' was never started here, so what its migration would do is not known before its containers are made, which check"
            " mode does not do. Run it without --check: it plans, and asks the gates, before it migrates or starts anything."
            % options.project_dir
        )
    operation.enter("deploy: make the containers")
    fetch_image(operation, reference, options.pull, options.pull_timeout)
    project = new_project(operation.docker, options.project_dir, options.compose_files, options.env_files, reference)
    composition = read_project(operation.docker, project, reference)
    services = _application(project, composition, options)
    exact = pinned(operation.docker.image(reference), reference)
    setting = setting_of(project, [composition.services[name] for name in services], exact, options.image_variable)
    unset = [name for name in composition.unset if name != setting.name]
    if unset:
        raise DbopsError(
            "The Compose files in '%s' need variables that nothing gives a value (%s). Write them into its .env, or name their file with"
            " dbops_deploy_env_files. Nothing was touched." % (project.folder, ", ".join(unset))
        )
    return (project if setting.variable else project.with_file(setting.path)), setting, services


def _application(project: Project, composition: Composition, options: DeploymentOptions) -> tuple[str, ...]:
    """The services that get the image: those that were named, the only one, or those whose image is the one variable."""
    services = composition.services
    unknown = [name for name in options.services if name not in services]
    if unknown:
        raise DbopsError(
            "Compose project '%s' has no service '%s': it has %s." % (project.name, unknown[0], ", ".join(sorted(services)) or "none")
        )
    variables = {variable_of(service.written) for service in services.values()} - {""}
    if options.services or len(services) == 1:
        return options.services or tuple(services)
    if len(variables) == 1:
        return tuple(name for name, service in services.items() if variable_of(service.written) in variables)
    raise DbopsError(
        "Which service of Compose project '%s' is the application is not known: it has %s. Name it with dbops_deploy_services. Nothing was touched."
        % (project.name, ", ".join(sorted(services)) or "none")
    )


def _undo(operation: Operation, project: Project, setting: Setting) -> None:
    """Whatever was made and never started is gone again."""
    with contextlib.suppress(DbopsError, OSError):
        made = operation.docker.of_project(project.name, read_project(operation.docker, project).services)
        for container in made:
            if container.status == "created":
                operation.docker.remove("container", container.id)
        if all(container.status == "created" for container in made):  # else one was started, and is there to be looked at
            setting.take_back()
        operation.target = resolve(operation.docker, operation.request.target, operation.redactor)
