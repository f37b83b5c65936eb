# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is to be deployed where: the image, the services, the containers that run now, and where the project says which image it is."""

from __future__ import annotations

import os
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.backend import _health
from ansible_collections.dbops.postgres.plugins.module_utils.backend._smoke import Smoke
from ansible_collections.dbops.postgres.plugins.module_utils.deployment._image_setting import (
    Setting,
    in_compose_file,
    pinned,
    repository_of,
    setting_of,
)
from ansible_collections.dbops.postgres.plugins.module_utils.deployment._project import (
    Composition,
    Project,
    Service,
    outdated,
    project_of,
    read_project,
    service_of,
)
from ansible_collections.dbops.postgres.plugins.module_utils.deployment._rollout import Wanted
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container, Image
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.operations._deployment_options import DeploymentOptions
from ansible_collections.dbops.postgres.plugins.module_utils.operations._image import fetch_image
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

#: A tag that a deploy has kept an image by.
_KEPT = re.compile(r":dbops-(?:before|unwell)-[^/]*$")


@dataclass(frozen=True)
class Deployment:
    """What is to be deployed where, before anything was touched. ``replaced``: the containers that run now; ``well``: whether they are; ``edited``:
    whether the files have changed since these were started; ``variable``: which one is the image, where the inventory says it."""

    image: Image
    reference: str
    project: Project
    services: tuple[str, ...]
    replaced: tuple[Container, ...]
    setting: Setting
    edited: bool
    smoke: Smoke
    settle: float
    described: tuple[Service, ...]
    variable: str
    well: bool

    @property
    def in_place(self) -> bool:
        """The image runs already, as the files have it."""
        return bool(self.replaced) and not self.edited and all(container.image_id == self.image.id for container in self.replaced)

    @property
    def image_before(self) -> Container:
        return self.replaced[-1]

    def kept_name(self, service: str, well: bool | None = None) -> str:
        """Under which a service's image of before stays on the host, so that cleaning up does not remove the way back. One that was not well does
        not take the place of one that was.

        :param well: of which kind; ``None`` for how it is now.
        """
        word = "before" if (self.well if well is None else well) else "unwell"
        return "%s:dbops-%s-%s-%s" % (repository_of(self.reference), word, self.project.name, service)

    def before(self) -> dict[str, Container]:
        """By service, the container that runs now."""
        return {service_of(container): container for container in self.replaced}

    def wanted(self) -> Wanted:
        return self._wanted(self.project, dict.fromkeys(self.services, self.image.id), self.settle)

    def wanted_back(self, project: Project) -> Wanted:
        return self._wanted(project, {name: container.image_id for name, container in self.before().items()}, 0)

    def _wanted(self, project: Project, images: dict[str, str], settle: float) -> Wanted:
        numbers = {name: sum(service_of(container) == name for container in self.replaced) for name in images}
        return Wanted(project, images, numbers, self.smoke, settle, alone=bool(self.replaced))

    @property
    def place(self) -> str:
        return "service %s of Compose project '%s'" % (" and ".join("'%s'" % name for name in self.services), self.project.name)

    def diff(self) -> str:
        if self.in_place:
            return ""
        lines = ["--- container %s, image %s" % (container.name, container.image) for container in self.replaced]
        return self.setting.diff() + "\n".join([*lines, "+++ image %s, %s" % (self.reference, self.image.id[:19]), ""])


def find_deployment(operation: Operation, options: DeploymentOptions) -> Deployment:
    """:raises DbopsError: where that cannot be done, before anything was touched."""
    reference = options.migration.planning.image
    docker, backend = operation.docker, operation.target.backend()
    project = project_of(backend, options.project_dir, options.compose_files, options.env_files)
    operation.enter("deploy: read the Compose files")
    composition = read_project(docker, project, reference)
    services = _services(operation, project, composition, backend, options)
    replaced = tuple(container for container in docker.of_project(project.name, services) if container.status != "created")
    image, exact = _fetch(operation, reference, options)
    described = tuple(composition.services[name] for name in services)
    _require_platform(operation, image, reference, [service.platform for service in described])
    setting = _setting(operation, project, composition, described, exact, options.image_variable)
    changed = outdated(docker, project, replaced)
    if not setting.variable:
        project = project.with_file(setting.path)
    _require_variables(composition, changed, setting)
    if any(container.image_id == image.id for container in changed):
        operation.warnings.append(
            "The files of Compose project '%s' have changed since its containers were started: the new ones are started as they are now."
            % project.name
        )
    well = all(container.running for container in replaced) and not _health.sick(docker, replaced)
    return Deployment(
        image,
        exact,
        project,
        services,
        replaced,
        setting,
        bool(changed),
        options.smoke,
        options.settle,
        described,
        options.image_variable,
        well,
    )


def _fetch(operation: Operation, reference: str, options: DeploymentOptions) -> tuple[Image, str]:
    """The image, and its exact name. A tag that is pulled means what it meant before until the deploy: somebody may type ``docker compose up``."""
    docker = operation.docker
    before = docker.image(reference).id if docker.has_image(reference) else ""
    fetch_image(operation, reference, options.pull, options.pull_timeout)
    image = docker.image(reference)
    exact = pinned(image, reference)
    if exact == reference and _KEPT.search(reference):  # that name will be given to the image that runs now
        exact = "%s:dbops-back-%s" % (repository_of(reference), image.id.rpartition(":")[2][:12])
        docker.tag(image.id, exact)
    if before and before != image.id and exact != reference:
        docker.tag(before, reference)
    return image, exact


def _setting(
    operation: Operation, project: Project, composition: Composition, described: t.Sequence[Service], image: str, variable: str
) -> Setting:
    """The variable that the files name for the image, unless others hang on it too, or this user's own environment counts more."""
    setting = setting_of(project, described, image, variable)
    if not setting.variable:
        return setting
    wanted = {service.name for service in described}
    then = read_project(operation.docker, project, given=setting.values).services
    wrong = [name for name in wanted if then[name].image != image]
    others = [name for name in then if name not in wanted and then[name].digest != composition.services[name].digest]
    if not wrong and not others and setting.name not in os.environ:
        return setting
    if variable:
        raise DbopsError(
            "The variable %s (dbops_deploy_image_variable) is not only the image of %s: with '%s' in it, %s. Leave it out, and a Compose file beside the"
            " project's own says the image. Nothing was touched."
            % (
                setting.name,
                " and ".join(sorted(wanted)),
                image,
                "service '%s' would change as well" % others[0]
                if others
                else "the image would be '%s'" % then[(wrong or sorted(wanted))[0]].image,
            )
        )
    return in_compose_file(project, dict.fromkeys(sorted(wanted), image))


def _services(
    operation: Operation, project: Project, composition: Composition, backend: Container, options: DeploymentOptions
) -> tuple[str, ...]:
    """Those that were named, else the backend's own and whatever else runs with the very image that the file gives it."""
    own = service_of(backend)
    unknown = [name for name in (*options.services, own) if name not in composition.services]
    if unknown:
        raise DbopsError(
            "Compose project '%s' has no service '%s' (%s): it has %s. Name yours with dbops_deploy_services, or the files that have it with"
            " dbops_deploy_compose_files. Nothing was touched."
            % (project.name, unknown[0], ", ".join(project.files), ", ".join(sorted(composition.services)) or "none")
        )
    if options.services:
        return tuple(dict.fromkeys(options.services))
    same = [
        name for name, service in composition.services.items() if service.written and service.written == composition.services[own].written
    ]
    running = [container for container in operation.docker.of_project(project.name, same) if container.in_service]
    mine = [service_of(container) for container in running if _same_database(container, backend)]
    left_out = sorted({service_of(container) for container in running} - {own, *mine})
    if left_out:
        operation.warnings.append(
            "Service '%s' has the same image and another database, so it is left as it is; to deploy it too, name all of them in"
            " dbops_deploy_services." % left_out[0]
        )
    return tuple(dict.fromkeys([own, *mine]))


def _same_database(container: Container, backend: Container) -> bool:
    """Whether both were told the same addresses, as far as they were told them by the same names."""
    names = [
        name for name in container.env if name in backend.env and ("://" in backend.env[name] or name.startswith(("PG", "DB", "POSTGRES")))
    ]
    return all(container.env[name] == backend.env[name] for name in names)


def _require_platform(operation: Operation, image: Image, reference: str, asked_for: t.Sequence[str]) -> None:
    mine = operation.docker.platform()
    if not image.platform or image.platform == mine or any(image.platform == platform for platform in asked_for):
        return
    raise DbopsError(
        "Image '%s' is for %s, and this engine runs %s: build it for that too ('docker buildx build --platform %s'). Where this host emulates the"
        " other, say so with 'platform: %s' at the service. Nothing was touched." % (reference, image.platform, mine, mine, image.platform)
    )


def _require_variables(composition: Composition, changed: t.Sequence[Container], setting: Setting) -> None:
    """What was exported by hand when the containers were started is not there now; blank, it would start a broken application."""
    unset = [name for name in composition.unset if name != setting.name]
    if unset and changed:
        raise DbopsError(
            "The Compose files need variables that nothing gives a value here (%s), and the running containers were started with other values."
            " Write them into the project's .env, or name their file with dbops_deploy_env_files. Nothing was touched." % ", ".join(unset)
        )
