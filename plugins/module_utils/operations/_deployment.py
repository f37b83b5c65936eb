# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring the application and its database to a new image: plan, back up, migrate and start in a safe order; what is there after it goes wrong."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from ansible_collections.dbops.postgres.plugins.module_utils.backend._smoke import asked
from ansible_collections.dbops.postgres.plugins.module_utils.deployment._outlook import MIGRATE_FIRST, Outlook, look_ahead
from ansible_collections.dbops.postgres.plugins.module_utils.deployment._project import line_to_start
from ansible_collections.dbops.postgres.plugins.module_utils.deployment._rollout import Started, first_trouble
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations._deployment_options import DeploymentOptions
from ansible_collections.dbops.postgres.plugins.module_utils.operations._deployment_start import start, take_back
from ansible_collections.dbops.postgres.plugins.module_utils.operations._deployment_target import Deployment, find_deployment
from ansible_collections.dbops.postgres.plugins.module_utils.operations._first_start import with_containers
from ansible_collections.dbops.postgres.plugins.module_utils.operations._migration import (
    Prepared,
    carry_out,
    nothing_to_migrate,
    prepare,
    would_migrate,
)
from ansible_collections.dbops.postgres.plugins.module_utils.operations._migration_options import MigrationOptions
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import read_snapshot
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import duration_text


@dataclass(frozen=True)
class Ready:
    """A deploy that may begin: nothing refuses, and nothing was touched."""

    deployment: Deployment
    prepared: Prepared
    outlook: Outlook
    options: DeploymentOptions
    migration: MigrationOptions

    @property
    def migrates(self) -> bool:
        return not self.prepared.planned.plan.empty

    def diff(self) -> dict[str, str]:
        return {"prepared": (self.prepared.diff["prepared"] if self.migrates else "") + self.deployment.diff()}

    def facts(self, **more: t.Any) -> dict[str, t.Any]:
        deployment, outlook = self.deployment, self.outlook
        return {
            "deployment": {
                "image": deployment.reference,
                "image_id": deployment.image.id,
                "project": deployment.project.name,
                "services": list(deployment.services),
                "replaced": [{"container": container.name, "image": container.image} for container in deployment.replaced],
                "order": self.options.order,
                "safe_orders": list(outlook.safe_orders),
                "running_after": list(outlook.running_after),
                "new_before": list(outlook.new_before),
                "unknown": outlook.unknown,
                "set_in": deployment.setting.path,
                **more,
            }
        }

    def journal(self) -> dict[str, t.Any]:
        deployment = self.deployment
        return {
            "deployed": deployment.reference,
            "deployed_id": deployment.image.id,
            "image_before": deployment.image_before.image if deployment.replaced else "",
            "project": deployment.project.name,
            "services": list(deployment.services),
            "order": self.options.order,
        }


def deploy(operation: Operation, options: DeploymentOptions) -> Result:
    """Plan and ask first; then migrate and start in the order that was asked for.

    :raises DbopsError: where the new version does not get well; the image before is in its place again then, as far as that was possible.
    """
    if not options.migration.planning.image:
        raise DbopsError(
            "Which image is to be deployed was not said: ansible-playbook deploy.yml -l %s -e dbops_image=registry.example.org/app:v42"
            % operation.evidence.host
        )
    with with_containers(operation, options):
        return _deploy(operation, options)


def _deploy(operation: Operation, options: DeploymentOptions) -> Result:
    ready = _get_ready(operation, options)
    if operation.check_mode:
        return _would(operation, ready)
    if ready.deployment.in_place:
        return _only_migrate(operation, ready)
    if options.order == MIGRATE_FIRST or not ready.migrates:
        migrated, started = _migrate_first(operation, ready)
    else:
        migrated, started = _start_first(operation, ready)
    told = _told(operation, ready, started)
    facts = ready.facts(start_seconds=round(started.start_seconds, 3), well_seconds=round(started.well_seconds, 3))
    return Result(True, [*told, *migrated.summary], {**migrated.facts, **facts}, ready.diff(), {**migrated.journal, **ready.journal()})


# --- before anything is touched -----------------------------------------------------------------------------------------


def _get_ready(operation: Operation, options: DeploymentOptions) -> Ready:
    deployment = find_deployment(operation, options)
    migration = replace(options.migration, planning=replace(options.migration.planning, image=deployment.reference))
    prepared = prepare(operation, migration)
    operation.enter("deploy: look ahead")
    outlook = look_ahead(operation, prepared.planned.plan, prepared.planned.runner, deployment.replaced)
    ready = Ready(deployment, prepared, outlook, options, migration)
    _warn_beforehand(operation, ready)
    if deployment.in_place:
        _require_well(operation, deployment)
    return ready


def _require_well(operation: Operation, deployment: Deployment) -> None:
    """That an image runs is not that it is well: the run that has started it may have been killed."""
    trouble = first_trouble(operation.docker, deployment.replaced, deployment.smoke)
    if not trouble:
        return
    good = deployment.kept_name(deployment.services[0], well=True)
    back = " The one before it is kept: %s" % _line_to(operation, good) if operation.docker.has_image(good) else ""
    told = "Image '%s' runs already, and is not well: %s Look at its log, and deploy one that is.%s" % (
        deployment.image_before.image,
        trouble,
        back,
    )
    if not operation.check_mode:
        raise DbopsError(told)
    operation.warnings.append(told)


def _warn_beforehand(operation: Operation, ready: Ready) -> None:
    advice = ready.outlook.advice(ready.options.order) if ready.migrates else ""
    operation.warnings += [advice] if advice else []
    gone = [container for container in ready.deployment.replaced if not operation.docker.has_image(container.image_id)]
    if gone:
        operation.warnings.append(
            "Image '%s' of container '%s' is not on this host any more, so there is no way back to it here: keep it at hand in the registry."
            % (gone[0].image, gone[0].name)
        )


def _would(operation: Operation, ready: Ready) -> Result:
    deployment = ready.deployment
    migration = would_migrate(operation, ready.prepared) if ready.migrates else nothing_to_migrate(operation, ready.prepared)
    if deployment.in_place:
        told = "Nothing would be started: %s runs image '%s' already." % (deployment.place, deployment.image_before.image)
    else:
        names = ", ".join("'%s' (image '%s')" % (container.name, container.image) for container in deployment.replaced)
        told = "Would deploy image '%s' to %s, in the place of %s." % (deployment.reference, deployment.place, names or "nothing")
    lines = ready.outlook.lines() if ready.migrates else []
    changes = ready.migrates or not deployment.in_place
    return Result(changes, [told, *migration.summary, *lines], {**migration.facts, **ready.facts()}, ready.diff())


# --- doing it -----------------------------------------------------------------------------------------------------------


def _only_migrate(operation: Operation, ready: Ready) -> Result:
    deployment = ready.deployment
    told = "%s runs image '%s' already." % (deployment.place, deployment.image_before.image)
    if ready.migrates:
        migrated = carry_out(operation, ready.prepared, ready.migration)
        summary = [*migrated.summary, "Nothing to start: " + told]
    else:
        migrated = nothing_to_migrate(operation, ready.prepared)
        summary = ["Nothing to deploy: " + told, *migrated.summary]
    return replace(migrated, summary=summary, facts={**migrated.facts, **ready.facts()}, diff=ready.diff())


def _migrate_first(operation: Operation, ready: Ready) -> tuple[Result, Started]:
    """The new containers follow as soon as the schema is the new one; only then it is looked what is left to do."""
    started: list[Started] = []

    def start_new(facts: dict[str, t.Any]) -> None:
        try:
            started.append(start(operation, ready.deployment))
        except DbopsError as error:
            told = _what_became_of_the_schema(operation, facts, ready.outlook, bool(error.details.get("taken_back")))
            raise DbopsError("%s\n%s" % (error.message, told), **error.details) from None

    if not ready.migrates:
        start_new({})
        return nothing_to_migrate(operation, ready.prepared), started[0]
    return carry_out(operation, ready.prepared, ready.migration, start_new), started[0]


def _start_first(operation: Operation, ready: Ready) -> tuple[Result, Started]:
    started = start(operation, ready.deployment)
    try:
        return carry_out(operation, _by_the_new_container(operation, ready.prepared), ready.migration), started
    except (DbopsError, OSError) as error:
        raise _not_migrated(operation, ready, error) from None


def _by_the_new_container(operation: Operation, prepared: Prepared) -> Prepared:
    """The runner works in the networks and with the mounts of a backend's container; the one that it was planned with is gone."""
    runner = prepared.planned.runner
    there = [container for container in operation.target.backends if container.name == runner.container.name]
    runner = replace(runner, container=(there or [operation.target.backend()])[0])
    return replace(prepared, planned=replace(prepared.planned, runner=runner))


def _not_migrated(operation: Operation, ready: Ready, error: DbopsError | OSError) -> DbopsError:
    """The new version was there first. It is taken away again where the schema is as it was, and else stays: it is the one that fits."""
    details = error.details if isinstance(error, DbopsError) else {}
    message = error.message if isinstance(error, DbopsError) else "The host's file system refused: %s." % error.strerror
    try:
        with operation.session(read_only=True) as connection:
            unchanged = read_snapshot(connection) == ready.prepared.planned.plan.before
    except DbopsError:
        unchanged = False
    if not unchanged:
        told = "The new version stays, since the schema is not, or not surely, what the version before was made for."
        return DbopsError("%s\n%s" % (message, told), **{**details, "taken_back": ""})
    back = take_back(operation, ready.deployment)
    return DbopsError("%s\n%s" % (message, back.told), **{**details, "taken_back": back.image})


# --- what is told -------------------------------------------------------------------------------------------------------


def _told(operation: Operation, ready: Ready, started: Started) -> list[str]:
    deployment, smoke, settle = ready.deployment, ready.options.smoke, ready.options.settle
    names = ", ".join("'%s'" % container.name for container in started.containers)
    unasked = [container.name for container in started.containers if not asked(container, smoke)]
    if unasked:
        operation.warnings.append(
            "Container %s has no health check, and dbops_deploy_smoke names no command: that it runs after %g s is all that is known of it."
            % (", ".join("'%s'" % name for name in unasked), settle)
        )
    passed = [] if unasked else asked(started.containers[0], smoke)
    told = [
        "Deployed image '%s' to %s: container %s started in %s, well %s later%s, and still after %g s."
        % (
            deployment.reference,
            deployment.place,
            names,
            duration_text(started.start_seconds),
            duration_text(started.well_seconds),
            " (%s)" % ", ".join(passed) if passed else "",
            settle,
        )
    ]
    if deployment.setting.variable:
        told.append("The image stands in '%s' now (%s)." % (deployment.setting.path, deployment.setting.name))
    else:
        line = line_to_start(deployment.project, deployment.services)
        told.append("The image stands in '%s' now. By hand, start it with: %s" % (deployment.setting.path, line))
    back = _name_of_before(operation, deployment) if deployment.replaced else ""
    return told + (["To go back to the image before: %s" % _line_to(operation, back)] if back else [])


def _name_of_before(operation: Operation, deployment: Deployment) -> str:
    """Empty where nothing else was there, as far as is known."""
    docker, before = operation.docker, deployment.image_before
    if before.image_id == deployment.image.id:
        good = deployment.kept_name(deployment.services[0], well=True)
        return good if docker.has_image(good) else ""
    if docker.has_image(before.image) and docker.image(before.image).id == before.image_id:
        return before.image
    return deployment.kept_name(deployment.services[0])  # its tag has moved on


def _line_to(operation: Operation, image: str) -> str:
    asked = operation.request.target
    which = " -e dbops_preview_branch=%s" % asked.branch if asked.branch else ""
    which += " -e dbops_runner_container=%s" % asked.runner_container if asked.runner_container and not asked.branch else ""
    return "ansible-playbook deploy.yml -l %s%s -e dbops_image=%s -e dbops_deploy_pull=missing" % (operation.evidence.host, which, image)


def _what_became_of_the_schema(operation: Operation, facts: t.Mapping[str, t.Any], outlook: Outlook, back: bool) -> str:
    """``facts``: of the migration, empty where there was none; ``back``: whether the version before is well there."""
    if not facts:
        return "The schema was not changed."
    backup = (facts.get("backup") or {}).get("id")
    restore = operation.restore_command(backup) if backup else "there is no backup from before (dbops_migrate_backup)"
    if back and not outlook.running_after and not outlook.unknown:
        return (
            "The migration stays: the version before goes on with it, as far as tables, columns, types, views and functions tell. To go back all the"
            " same, with the rows written since then lost: %s" % restore
        )
    why = "that is not known: %s" % outlook.unknown if outlook.unknown else "; ".join(outlook.running_after[:3]) or "it is not well"
    return (
        "The database stays migrated, and the version before may not go on with that (%s). To go back, with the rows written since then lost: %s"
        % (why, restore)
    )
