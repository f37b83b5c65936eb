# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The new containers in the place of the old ones, or the old ones again."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ansible_collections.dbops.postgres.plugins.module_utils.deployment._image_setting import in_compose_file, setting_of
from ansible_collections.dbops.postgres.plugins.module_utils.deployment._project import Project, line_to_start, read_project
from ansible_collections.dbops.postgres.plugins.module_utils.deployment._rollout import Started, last_words, roll_out
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.operations._deployment_target import Deployment
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError


@dataclass(frozen=True)
class Back:
    """How it went to put the image before into its place again. ``told``: a sentence; ``image``: that one, empty where it is not well there."""

    told: str
    image: str


def start(operation: Operation, deployment: Deployment) -> Started:
    """The new containers, well; else those before again.

    :raises DbopsError: why the new ones do not get well, and what is there now; ``taken_back`` in its details is the image that is well there.
    """
    operation.enter("deploy: start")
    _keep_images(operation, deployment)
    try:
        deployment.setting.write()
        started = roll_out(operation.docker, deployment.wanted())
        look_again(operation, deployment)
        said = last_words(operation.docker, started.containers) if started.trouble else ""
    except (DbopsError, OSError) as error:  # interrupted too: what was begun is taken back before this ends
        back = take_back(operation, deployment)
        raise DbopsError("%s\n%s" % (_sentence(error), back.told), taken_back=back.image) from None
    if not started.trouble:
        return started
    back = take_back(operation, deployment)
    said = " It says: %s" % said if said else ""
    raise DbopsError("The new version does not get well: %s%s\n%s" % (started.trouble, said, back.told), taken_back=back.image)


def _keep_images(operation: Operation, deployment: Deployment) -> None:
    """One that is deployed anew, since only its files have changed, is not what was there before it."""
    for service, container in deployment.before().items():
        if operation.docker.has_image(container.image_id) and container.image_id != deployment.image.id:
            operation.docker.tag(container.image_id, deployment.kept_name(service))


def take_back(operation: Operation, deployment: Deployment) -> Back:
    """Put the image before into its place again."""
    if not deployment.replaced:
        return Back("There was no version before it, so it was left as it is.", "")
    operation.enter("deploy: take back")
    before, project = deployment.image_before, deployment.project
    try:
        project = _set_images_before(operation, deployment)
        done = roll_out(operation.docker, deployment.wanted_back(project))
        look_again(operation, deployment)
    except (DbopsError, OSError) as error:
        trouble = "could not be put back: %s" % _sentence(error)
    else:
        trouble = "was put back, and is not well either: %s" % done.trouble if done.trouble else ""
    if trouble:
        line = line_to_start(project, deployment.services)
        return Back("The image before, '%s', %s\nTo start it by hand: %s" % (before.image, trouble, line), "")
    return Back("The image before, '%s', was put back, and is well." % before.image, before.image)


def _set_images_before(operation: Operation, deployment: Deployment) -> Project:
    """As the files had it; where that means other images by now, under the tags that have kept them."""
    docker, setting, project = operation.docker, deployment.setting, deployment.project
    setting.take_back()
    if not setting.variable and not setting.before:
        project = project.without_file(setting.path)
    before = deployment.before()
    try:
        named = {name: service.image for name, service in read_project(docker, project).services.items()}
    except DbopsError:  # the image was exported by hand, and nobody has it now
        named = {}
    if all(_means(operation, named.get(name, ""), container.image_id) for name, container in before.items()):
        return project
    kept = {name: deployment.kept_name(name) for name in before}
    if setting.variable and len({container.image_id for container in before.values()}) == 1:
        again = setting_of(project, deployment.described, next(iter(kept.values())), deployment.variable)
    else:
        again = in_compose_file(project, kept)
    again.write()
    return project if again.variable else project.with_file(again.path)


def _means(operation: Operation, name: str, image_id: str) -> bool:
    return bool(name) and operation.docker.has_image(name) and operation.docker.image(name).id == image_id


def look_again(operation: Operation, deployment: Deployment) -> None:
    """The operation's backends are the new containers now, and their secrets are known."""
    new = {container.name: container for container in operation.docker.of_project(deployment.project.name, deployment.services)}
    for container in new.values():
        operation.redactor.add_environment(container.env)
    gone = {container.name for container in deployment.replaced} - set(new)
    backends = [new.get(container.name, container) for container in operation.target.backends if container.name not in gone]
    operation.target = replace(operation.target, backends=tuple(backends))


def _sentence(error: DbopsError | OSError) -> str:
    return error.message if isinstance(error, DbopsError) else "The host's file system refused: %s." % error.strerror
