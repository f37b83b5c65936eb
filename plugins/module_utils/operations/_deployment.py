# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring the application and its database to a new image: pull, plan, back up, migrate, start, see it well; or take the image back."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from ansible_collections.dbops.postgres.plugins.module_utils.backend._smoke import Smoke, asked
from ansible_collections.dbops.postgres.plugins.module_utils.deployment._image_setting import Setting, pinned, repository_of, setting_of
from ansible_collections.dbops.postgres.plugins.module_utils.deployment._outlook import MIGRATE_FIRST, Outlook, look_ahead
from ansible_collections.dbops.postgres.plugins.module_utils.deployment._project import (
    Composition,
    Project,
    Service,
    digest_of,
    line_to_start,
    project_of,
    read_project,
    service_of,
)
from ansible_collections.dbops.postgres.plugins.module_utils.deployment._rollout import Started, Wanted, last_words, roll_out
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container, Image
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations._deployment_options import DeploymentOptions
from ansible_collections.dbops.postgres.plugins.module_utils.operations._image import fetch_image
from ansible_collections.dbops.postgres.plugins.module_utils.operations._migration import (
    Prepared,
    carry_out,
    nothing_to_migrate,
    prepare,
    would_migrate,
)
from ansible_collections.dbops.postgres.plugins.module_utils.operations._migration_options import MigrationOptions
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import duration_text


@dataclass(frozen=True)
class Deployment:
    """What is to be deployed where, before anything was touched. ``replaced``: the containers that are there now."""

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

    @property
    def kept_name(self) -> str:
        """Under which the image before stays on the host, so that cleaning up does not remove the way back."""
        return "%s:dbops-before-%s" % (repository_of(self.reference), self.project.name)

    @property
    def in_place(self) -> bool:
        """The image runs already, as the files have it."""
        as_wanted = (container.running and container.image_id == self.image.id for container in self.replaced)
        return bool(self.replaced) and all(as_wanted) and not self.edited

    @property
    def image_before(self) -> Container:
        return self.replaced[-1]

    def wanted(self, image_id: str) -> Wanted:
        return Wanted(self.project, self.services, image_id, self.smoke, self.settle)

    @property
    def place(self) -> str:
        return "service %s of Compose project '%s'" % (" and ".join("'%s'" % name for name in self.services), self.project.name)

    def diff(self) -> str:
        if self.in_place:
            return ""
        lines = ["--- container %s, image %s" % (container.name, container.image) for container in self.replaced]
        return self.setting.diff() + "\n".join([*lines, "+++ image %s, %s" % (self.reference, self.image.id[:19]), ""])


def deploy(operation: Operation, options: DeploymentOptions) -> Result:
    """Plan and ask first; then migrate and start in the order that was asked for.

    :raises DbopsError: where the new version does not get well; the image before is in its place again then, as far as that was possible.
    """
    deployment = _prepare_deployment(operation, options)
    planning = replace(options.migration.planning, image=deployment.reference)
    migration = replace(options.migration, planning=planning)
    prepared = prepare(operation, migration)
    plan, runner = prepared.planned.plan, prepared.planned.runner
    operation.enter("deploy: look ahead")
    outlook = look_ahead(operation, plan, runner)
    _warn_beforehand(operation, deployment, plan.empty, outlook, options.order)
    facts = {"deployment": _facts(deployment, options, outlook)}
    diff = {"prepared": prepared.diff["prepared"] * (not plan.empty) + deployment.diff()}
    if operation.check_mode:
        return _would(operation, prepared, deployment, outlook, facts, diff)
    if plan.empty and deployment.in_place:
        nothing = nothing_to_migrate(operation, prepared)
        told = "Nothing to deploy: %s runs image '%s' already." % (deployment.place, deployment.image_before.image)
        return Result(False, [told, *nothing.summary], {**nothing.facts, **facts}, diff, nothing.journal)
    return _carry_out(operation, options, migration, prepared, deployment, outlook, facts, diff)


def _carry_out(
    operation: Operation,
    options: DeploymentOptions,
    migration: MigrationOptions,
    prepared: Prepared,
    deployment: Deployment,
    outlook: Outlook,
    facts: dict[str, t.Any],
    diff: dict[str, str],
) -> Result:
    if deployment.in_place:
        migrated = carry_out(operation, prepared, migration)
        nothing = "Nothing to start: %s runs image '%s' already." % (deployment.place, deployment.image_before.image)
        return replace(migrated, summary=[*migrated.summary, nothing], facts={**migrated.facts, **facts}, diff=diff)
    if options.order == MIGRATE_FIRST or prepared.planned.plan.empty:
        migrated, started = _migrate_first(operation, deployment, prepared, migration, outlook)
    else:
        migrated, started = _start_first(operation, deployment, prepared, migration)
    told = _told(operation, deployment, started, options)
    facts["deployment"].update(start_seconds=round(started.start_seconds, 3), well_seconds=round(started.well_seconds, 3))
    journal = {**migrated.journal, **_journal(deployment, options.order)}
    return Result(True, [*told, *migrated.summary], {**migrated.facts, **facts}, diff, journal)


# --- before anything is touched -----------------------------------------------------------------------------------------


def _prepare_deployment(operation: Operation, options: DeploymentOptions) -> Deployment:
    reference = options.migration.planning.image
    if not reference:
        raise DbopsError(
            "Which image is to be deployed was not said: ansible-playbook deploy.yml -l %s -e dbops_image=registry.example.org/app:v42"
            % operation.evidence.host
        )
    backend = operation.target.backend()
    project = project_of(backend, options.project_dir, options.compose_files, options.env_files)
    operation.enter("deploy: read the Compose files")
    composition = read_project(operation.docker, project, reference)
    services = _services(operation, project, composition, backend, options)
    replaced = operation.docker.of_project(project.name, services)
    fetch_image(operation, reference, options.pull, options.pull_timeout)
    image = operation.docker.image(reference)
    _require_platform(operation, image, reference, [composition.services[name].platform for name in services])
    exact = pinned(image, reference)
    described = tuple(composition.services[name] for name in services)
    setting = setting_of(project, described, exact, options.image_variable)
    if not setting.name:
        project = project.with_file(setting.path)
    _require_variables(composition, replaced, setting)
    digests = {container.id: composition.services[service_of(container)].digest for container in replaced}
    edited = any(digests[container.id] not in ("", digest_of(container)) for container in replaced)
    if edited and any(container.image_id == image.id for container in replaced):
        operation.warnings.append(
            "The files of Compose project '%s' have changed since its containers were started: the new ones are started as they are now."
            % project.name
        )
    return Deployment(
        image, exact, project, services, tuple(replaced), setting, edited, options.smoke, options.settle, described, options.image_variable
    )


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
        service for service in composition.services.values() if service.written and service.written == composition.services[own].written
    ]
    there = {service_of(container) for container in operation.docker.of_project(project.name, [service.name for service in same])}
    return tuple(dict.fromkeys([own, *(service.name for service in same if service.name in there)]))


def _require_platform(operation: Operation, image: Image, reference: str, asked_for: t.Sequence[str]) -> None:
    mine = operation.docker.platform()
    if not image.platform or image.platform == mine or any(image.platform == platform for platform in asked_for):
        return
    raise DbopsError(
        "Image '%s' is for %s, and this engine runs %s: build it for that too ('docker buildx build --platform %s'). Where this host emulates the"
        " other, say so with 'platform: %s' at the service. Nothing was touched." % (reference, image.platform, mine, mine, image.platform)
    )


def _require_variables(composition: Composition, replaced: t.Sequence[Container], setting: Setting) -> None:
    """What was exported by hand when the containers were started is not there now; blank, it would start a broken application."""
    changed = [c for c in replaced if composition.services[service_of(c)].digest not in ("", digest_of(c))]
    unset = [name for name in composition.unset if name != setting.name]
    if unset and changed:
        raise DbopsError(
            "The Compose files need variables that nothing gives a value here (%s), and the running containers were started with other values."
            " Write them into the project's .env, or name their file with dbops_deploy_env_files. Nothing was touched." % ", ".join(unset)
        )


def _warn_beforehand(operation: Operation, deployment: Deployment, nothing: bool, outlook: Outlook, order: str) -> None:
    if not nothing and outlook.advice(order):
        operation.warnings.append(outlook.advice(order))
    gone = [container for container in deployment.replaced if not operation.docker.has_image(container.image_id)]
    if gone:
        operation.warnings.append(
            "Image '%s' of container '%s' is not on this host any more, so there is no way back to it here: keep it at hand in the registry."
            % (gone[0].image, gone[0].name)
        )


def _would(
    operation: Operation,
    prepared: Prepared,
    deployment: Deployment,
    outlook: Outlook,
    facts: dict[str, t.Any],
    diff: dict[str, str],
) -> Result:
    empty = prepared.planned.plan.empty
    migration = nothing_to_migrate(operation, prepared) if empty else would_migrate(operation, prepared)
    if deployment.in_place:
        told = ["Nothing would be started: %s runs image '%s' already." % (deployment.place, deployment.image_before.image)]
    else:
        names = ", ".join("'%s' (image '%s')" % (container.name, container.image) for container in deployment.replaced)
        told = ["Would deploy image '%s' to %s, in the place of %s." % (deployment.reference, deployment.place, names or "nothing")]
    lines = [] if empty else outlook.lines()
    return Result(not (empty and deployment.in_place), [*told, *migration.summary, *lines], {**migration.facts, **facts}, diff)


# --- doing it -----------------------------------------------------------------------------------------------------------


def _migrate_first(
    operation: Operation, deployment: Deployment, prepared: Prepared, options: MigrationOptions, outlook: Outlook
) -> tuple[Result, Started]:
    """The new containers follow as soon as the schema is the new one; only then it is looked what is left to do."""
    started: list[Started] = []

    def start(facts: dict[str, t.Any]) -> None:
        with operation.after(_what_became_of_the_schema(operation, facts, outlook)):
            started.append(_start(operation, deployment))

    if prepared.planned.plan.empty:
        start({})
        return nothing_to_migrate(operation, prepared), started[0]
    return carry_out(operation, prepared, options, start), started[0]


def _start_first(operation: Operation, deployment: Deployment, prepared: Prepared, options: MigrationOptions) -> tuple[Result, Started]:
    started = _start(operation, deployment)
    try:
        return carry_out(operation, _by_the_new_container(operation, prepared), options), started
    except DbopsError as error:
        raise _migration_failed(operation, deployment, error) from None


def _by_the_new_container(operation: Operation, prepared: Prepared) -> Prepared:
    """The runner works in the networks and with the mounts of a backend's container; the one that it was planned with is gone."""
    runner = prepared.planned.runner
    there = [container for container in operation.target.backends if container.name == runner.container.name]
    return replace(
        prepared, planned=replace(prepared.planned, runner=replace(runner, container=(there or [operation.target.backend()])[0]))
    )


def _start(operation: Operation, deployment: Deployment) -> Started:
    """The new containers, well; else those before again.

    :raises DbopsError: why the new ones do not get well, and what is there now.
    """
    operation.enter("deploy: start")
    before = deployment.image_before if deployment.replaced else None
    facts = {"taken_back": before.image if before else ""}
    if before is not None and operation.docker.has_image(before.image_id):
        operation.docker.tag(before.image_id, deployment.kept_name)
    try:
        deployment.setting.write()
        started = roll_out(operation.docker, deployment.wanted(deployment.image.id))
        _look_again(operation, deployment)
    except (DbopsError, OSError) as error:  # interrupted too: what was begun is taken back before this ends
        raise DbopsError("%s\n%s" % (_sentence(error), _take_back(operation, deployment)), **facts) from None
    if not started.trouble:
        return started
    said = last_words(operation.docker, started.containers)
    back = _take_back(operation, deployment)
    said = " It says: %s" % said if said else ""
    raise DbopsError("The new version does not get well: %s%s\n%s" % (started.trouble, said, back), **facts)


def _take_back(operation: Operation, deployment: Deployment) -> str:
    """Puts the image before into its place again; says what is there now."""
    if not deployment.replaced:
        return "There was no version before it, so it was left as it is."
    operation.enter("deploy: take back")
    before, project = deployment.image_before, deployment.project
    try:
        project = _set_image_before(operation, deployment)
        done = roll_out(operation.docker, replace(deployment.wanted(before.image_id), project=project, settle=0))
        _look_again(operation, deployment)
    except (DbopsError, OSError) as error:
        trouble = "could not be put back: %s" % _sentence(error)
    else:
        trouble = "was put back, and is not well either: %s" % done.trouble if done.trouble else ""
    if not trouble:
        return "The image before, '%s', was put back, and is well." % before.image
    return "The image before, '%s', %s\nTo start it by hand: %s" % (before.image, trouble, line_to_start(project, deployment.services))


def _set_image_before(operation: Operation, deployment: Deployment) -> Project:
    """As the files had it; where that tag means another image by now, under the tag that has kept it."""
    docker, setting, project = operation.docker, deployment.setting, deployment.project
    setting.take_back()
    if setting.before is None and not setting.name:
        project = project.without_file(setting.path)
    images = read_project(docker, project, deployment.kept_name).services
    named = images[deployment.services[0]].image
    if docker.has_image(named) and docker.image(named).id == deployment.image_before.image_id:
        return project
    setting_of(deployment.project, deployment.described, deployment.kept_name, deployment.variable).write()
    return deployment.project


def _sentence(error: DbopsError | OSError) -> str:
    return error.message if isinstance(error, DbopsError) else "%s: %s." % (error.filename, error.strerror)


def _look_again(operation: Operation, deployment: Deployment) -> None:
    """The operation's backends are the new containers now."""
    new = {container.name: container for container in operation.docker.of_project(deployment.project.name, deployment.services)}
    backends = [new.get(container.name, container) for container in operation.target.backends]
    operation.target = replace(operation.target, backends=tuple(backends))


# --- what is told -------------------------------------------------------------------------------------------------------


def _facts(deployment: Deployment, options: DeploymentOptions, outlook: Outlook) -> dict[str, t.Any]:
    return {
        "image": deployment.reference,
        "image_id": deployment.image.id,
        "project": deployment.project.name,
        "services": list(deployment.services),
        "replaced": [{"container": container.name, "image": container.image} for container in deployment.replaced],
        "order": options.order,
        "safe_orders": list(outlook.safe_orders),
        "running_after": list(outlook.running_after),
        "new_before": list(outlook.new_before),
        "unknown": outlook.unknown,
        "set_in": deployment.setting.path,
    }


def _journal(deployment: Deployment, order: str) -> dict[str, t.Any]:
    return {
        "deployed": deployment.reference,
        "deployed_id": deployment.image.id,
        "image_before": deployment.image_before.image if deployment.replaced else "",
        "project": deployment.project.name,
        "services": list(deployment.services),
        "order": order,
    }


def _told(operation: Operation, deployment: Deployment, started: Started, options: DeploymentOptions) -> list[str]:
    names = ", ".join("'%s'" % container.name for container in started.containers)
    passed = asked(started.containers[0], options.smoke)
    if not passed:
        operation.warnings.append(
            "Container %s has no health check, and dbops_deploy_smoke names no command: that it runs after %g s is all that is known of it."
            % (names, options.settle)
        )
    told = [
        "Deployed image '%s' to %s: container %s started in %s, well %s later%s, and still after %g s."
        % (
            deployment.reference,
            deployment.place,
            names,
            duration_text(started.start_seconds),
            duration_text(started.well_seconds),
            " (%s)" % ", ".join(passed) if passed else "",
            options.settle,
        )
    ]
    if deployment.setting.name:
        told.append("The image stands in '%s' now (%s)." % (deployment.setting.path, deployment.setting.name))
    else:
        line = line_to_start(deployment.project, deployment.services)
        told.append("The image stands in '%s' now. By hand, start it with: %s" % (deployment.setting.path, line))
    if deployment.replaced:
        told.append("To go back to the image before: %s" % _line_back(operation, deployment))
    return told


def _line_back(operation: Operation, deployment: Deployment) -> str:
    docker, before = operation.docker, deployment.image_before.image
    if not docker.has_image(before) or docker.image(before).id != deployment.image_before.image_id:
        before = deployment.kept_name  # its tag has moved on
    return "ansible-playbook deploy.yml -l %s -e dbops_image=%s -e dbops_deploy_pull=missing" % (operation.evidence.host, before)


def _what_became_of_the_schema(operation: Operation, facts: t.Mapping[str, t.Any], outlook: Outlook) -> str:
    """``facts``: of the migration, empty where there was none."""
    if not facts:
        return "The schema was not changed."
    backup = (facts.get("backup") or {}).get("id")
    back = operation.restore_command(backup) if backup else ""
    if not outlook.running_after and not outlook.unknown:
        return "The migration stays: the version before goes on with it." + (" To go back all the same: %s" % back if back else "")
    why = (outlook.unknown and "that is not known: %s" % outlook.unknown) or "; ".join(outlook.running_after[:3])
    return (
        "The database stays migrated, and the version before may not go on with that (%s). To go back, with the rows written since then lost: %s"
        % (
            why,
            back or "there is no backup from before (dbops_migrate_backup)",
        )
    )


def _migration_failed(operation: Operation, deployment: Deployment, error: DbopsError) -> DbopsError:
    """The new version was there first, and is taken away again."""
    back = _take_back(operation, deployment)
    return DbopsError(
        "%s\n%s" % (error.message, back), **{**error.details, "taken_back": deployment.image_before.image if deployment.replaced else ""}
    )
