# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Deploying: what is asked before anything is touched, in which order it is done, and what is there after a version that is not well."""

from __future__ import annotations

import json
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.backend._smoke import Smoke
from ansible_collections.dbops.postgres.plugins.module_utils.deployment._outlook import START_FIRST, Outlook
from ansible_collections.dbops.postgres.plugins.module_utils.deployment._project import Project, read_project
from ansible_collections.dbops.postgres.plugins.module_utils.deployment._rollout import Started, Wanted
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container, Image
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.gates._gates import GateOptions
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations import (
    _deployment,
    _deployment_start,
    _deployment_target,
    _first_start,
)
from ansible_collections.dbops.postgres.plugins.module_utils.operations._deployment import deploy
from ansible_collections.dbops.postgres.plugins.module_utils.operations._deployment_options import ALWAYS, MISSING, DeploymentOptions
from ansible_collections.dbops.postgres.plugins.module_utils.operations._migration_options import MigrationOptions
from ansible_collections.dbops.postgres.plugins.module_utils.operations._planning_options import PlanningOptions
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import Plan
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, EngineError, Interrupted
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeDocker, container, operation
from ansible_collections.dbops.postgres.tests.unit.module_utils.operations import test_migration
from ansible_collections.dbops.postgres.tests.unit.module_utils.operations.test_migration import BEFORE, GOOD

OLD_ID, NEW_ID = "sha256:old", "sha256:new"
NEW = "app:v2"
UNSET = 'level=warning msg="The \\"%s\\" variable is not set. Defaulting to a blank string."'
OPTIONS = MigrationOptions(PlanningOptions(("ent",)))
EMPTY = Plan((), BEFORE, BEFORE, (), GOOD)


class Host(FakeDocker):
    """An engine with one Compose project, which is started by what its ``.env`` says."""

    def __init__(self, folder: Path) -> None:
        super().__init__(images={name: Image(OLD_ID, {}, (), {}, platform="linux/amd64") for name in ("app:v1", OLD_ID)})
        new = Image(NEW_ID, {}, (), {}, ("app@sha256:55",), platform="linux/amd64")
        self.images.update({NEW: new, "app:v2@sha256:55": new, NEW_ID: new})
        self.folder = folder
        self.pulled: list[str] = []
        self.refused = ""
        self.digest = "same"
        self.others: t.Callable[[dict[str, str]], str] = lambda _env: ""
        self.unset = ""
        self.on_remove: t.Callable[[], None] = lambda: None
        (folder / "compose.yml").write_text("", encoding="utf-8")
        (folder / ".env").write_text("IMAGE=app:v1\n", encoding="utf-8")
        self.web = self.made("app:v1", OLD_ID)

    def made(self, image: str, image_id: str, **changes: t.Any) -> Container:
        known = {"project": "shop", "project.working_dir": str(self.folder), "project.config_files": str(self.folder / "compose.yml")}
        known["service"] = "web"
        labels = {"com.docker.compose." + name: text for name, text in known.items()}
        return container("web", id="web of " + image, image=image, image_id=image_id, labels=labels, health_command=("check",), **changes)

    @property
    def image_set(self) -> str:
        lines = (self.folder / ".env").read_text(encoding="utf-8").splitlines() if (self.folder / ".env").exists() else []
        return dict(line.split("=", 1) for line in lines).get("IMAGE", "")

    def pull(self, name: str, _seconds: float) -> str:
        self.pulled.append(name)
        return self.refused

    def remove(self, kind: str, name: str) -> None:
        super().remove(kind, name)
        self.on_remove()

    def platform(self) -> str:
        return "linux/amd64"

    def tag(self, image_id: str, name: str) -> None:
        self.images[name] = self.images[image_id]

    def of_project(self, _project: str, _services: t.Iterable[str]) -> list[Container]:
        return [self.web]

    def present(self, containers: t.Iterable[Container]) -> list[Container]:
        return [self.web for container in containers if container.id == self.web.id]

    def compose(self, argv: t.Sequence[str], _seconds: float, env: t.Mapping[str, str] | None = None) -> Outcome:
        if "--dry-run" in argv:
            return Outcome(0, "", " Container web  %s\n" % ("Recreate" if self.digest == "edited" else "Running"))
        if "--hash" in argv:
            return Outcome(0, "web %s\nother x%s\n" % (self.digest, self.others(dict(env or {}))), "")
        image = "${IMAGE}" if "--no-interpolate" in argv else dict(env or {}).get("IMAGE", self.image_set)
        if not image:
            return Outcome(1, "", UNSET % "IMAGE" + " neither an image nor a build context specified")
        unset = UNSET % self.unset if self.unset else ""
        return Outcome(0, json.dumps({"name": "shop", "services": {"web": {"image": image}, "other": {"image": "x"}}}), unset)


def raised(error: DbopsError) -> t.NoReturn:
    raise error


class Stage(test_migration.Stage):
    """A migration that is played, and containers that are. ``troubles``: of each start, by turns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        super().__init__(monkeypatch, folder)
        self.host = Host(folder)
        self.troubles: list[t.Any] = []
        self.outlook = Outlook()
        monkeypatch.setattr(_deployment, "read_snapshot", lambda _connection: self.schemas[0])
        monkeypatch.setattr(_deployment, "look_ahead", lambda *_arguments: self.outlook)
        monkeypatch.setattr(_deployment_start, "roll_out", self._roll_out)
        monkeypatch.setattr(_deployment_start, "last_words", lambda *_arguments: "cannot find x")

    def _roll_out(self, _docker: t.Any, wanted: Wanted) -> Started:
        self.journal.append("start " + self.host.image_set)
        trouble = self.troubles.pop(0) if self.troubles else ""
        if isinstance(trouble, DbopsError):
            raised(trouble)
        self.host.web = self.host.made(self.host.image_set, wanted.images["web"])
        return Started((self.host.web,), trouble, 0.5, 1.5)

    def begin(self, check_mode: bool = False, environment: str = "production") -> Operation:
        super().begin(check_mode, environment)
        sessions = self.operation.maintenance
        self.operation = operation(
            self.folder, t.cast(t.Any, sessions), self.host, backends=(self.host.web,), check_mode=check_mode, environment=environment
        )
        return self.operation

    def deploy(self, check_mode: bool = False, image: str = NEW, **options: t.Any) -> Result:
        planning = PlanningOptions(("ent",), image=image, gates=GateOptions({}))
        return deploy(self.begin(check_mode), DeploymentOptions(MigrationOptions(planning), **{"settle": 0.0, **options}))


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    return Stage(monkeypatch, tmp_path)


def failure(stage: Stage, **options: t.Any) -> DbopsError:
    with pytest.raises(DbopsError) as failed:
        stage.deploy(**options)
    return failed.value


# --- in which order -------------------------------------------------------------------------------------------------------


def test_it_is_backed_up_migrated_and_started_pinned_by_its_digest(stage: Stage) -> None:
    result = stage.deploy()
    assert stage.journal == ["space", "backup before_migration", "run", "start app:v2@sha256:55"]
    assert stage.host.pulled == [NEW] and result.changed
    assert "To go back to the image before: ansible-playbook deploy.yml -l chat-production -e dbops_image=app:v1" in result.summary[2]
    assert (result.journal["deployed_id"], result.journal["image_before"]) == (NEW_ID, "app:v1")
    assert result.journal["plan_fingerprint"] and result.facts["deployment"]["start_seconds"] == 0.5


def test_it_may_be_started_first_and_is_migrated_by_the_new_container_then(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    runners = []
    monkeypatch.setattr(_deployment, "carry_out", lambda _o, prepared, *_rest: runners.append(prepared.planned.runner) or Result(True, []))
    stage.deploy(order=START_FIRST)
    assert stage.journal == ["start app:v2@sha256:55"]
    assert [runner.container.id for runner in runners] == ["web of app:v2@sha256:55"]


def test_check_mode_and_run_show_the_same_and_check_mode_touches_nothing(stage: Stage) -> None:
    checked = stage.deploy(check_mode=True)
    assert stage.journal == [] and stage.host.image_set == "app:v1"
    assert checked.summary[0].startswith("Would deploy image 'app:v2@sha256:55' to service 'web'")
    done = stage.deploy()
    assert checked.diff == done.diff and "+IMAGE=app:v2@sha256:55" in (done.diff or {})["prepared"]


def test_what_is_there_already_is_left_alone(stage: Stage) -> None:
    stage.plan = EMPTY
    stage.host.web = stage.host.made("app:v2@sha256:55", NEW_ID)
    result = stage.deploy()
    assert not result.changed and stage.journal == [] and result.diff == {"prepared": ""}
    assert result.summary[0] == "Nothing to deploy: service 'web' of Compose project 'shop' runs image 'app:v2@sha256:55' already."
    assert not stage.deploy(check_mode=True).changed


def test_only_the_database_is_behind(stage: Stage) -> None:
    stage.host.web = stage.host.made("app:v2@sha256:55", NEW_ID)
    result = stage.deploy()
    assert "start app:v2@sha256:55" not in stage.journal and "run" in stage.journal
    assert result.changed and result.summary[-1].startswith("Nothing to start")


def test_files_that_were_edited_since_start_it_anew(stage: Stage) -> None:
    stage.plan, stage.host.digest = EMPTY, "edited"
    stage.host.web = stage.host.made("app:v2@sha256:55", NEW_ID)
    assert stage.deploy().changed and stage.journal == ["start app:v2@sha256:55"]
    assert "have changed since its containers were started" in stage.operation.warnings[0]


def test_an_order_that_is_not_safe_is_told(stage: Stage) -> None:
    stage.outlook = Outlook(("column public.users.name would be gone",))
    stage.deploy()
    assert "Safe is: -e dbops_deploy_order=start_first" in stage.operation.warnings[0]


# --- what does not get well -----------------------------------------------------------------------------------------------


def test_a_version_that_is_not_well_is_taken_back_and_a_migration_that_only_adds_stays(stage: Stage) -> None:
    stage.troubles = ["Container 'web' ends."]
    error = failure(stage)
    assert stage.journal[-2:] == ["start app:v2@sha256:55", "start app:v1"] and stage.host.image_set == "app:v1"
    assert error.message.startswith(
        "The new version does not get well: Container 'web' ends. It says: cannot find x\nThe image before, 'app:v1',"
    )
    assert "The migration stays: the version before goes on with it, as far as" in error.message
    assert error.details["taken_back"] == "app:v1"
    assert [backend.image_id for backend in stage.operation.target.backends] == [OLD_ID]


@pytest.mark.parametrize("outlook", [Outlook(("column x would be gone",)), Outlook(unknown="it fails")])
def test_what_the_version_before_may_miss_is_told_with_the_line_that_restores(stage: Stage, outlook: Outlook) -> None:
    stage.troubles, stage.outlook = ["no"], outlook
    message = failure(stage).message
    assert "The database stays migrated, and the version before may not go on with that" in message
    assert "-e dbops_restore_backup=chat_20261123_030000 -e dbops_confirm=restore:chat" in message


def test_a_tag_that_means_another_image_by_now_is_not_trusted_on_the_way_back(stage: Stage) -> None:
    stage.troubles = ["no"]
    stage.host.images["app:v1"] = stage.host.images[NEW_ID]
    failure(stage)
    assert stage.host.image_set == "app:dbops-before-shop-web" and stage.host.images["app:dbops-before-shop-web"].id == OLD_ID


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ("nor this", "was put back, and is not well either: nor this\nTo start it by hand: docker compose --project-name shop"),
        (EngineError("The engine is gone."), "could not be put back: The engine is gone.\nTo start it by hand: docker compose"),
    ],
)
def test_a_way_back_that_fails_too_is_told_with_the_line_to_start(stage: Stage, second: t.Any, told: str) -> None:
    stage.troubles = ["no", second]
    assert told in failure(stage).message


def test_an_interruption_takes_it_back_too(stage: Stage) -> None:
    stage.troubles = [Interrupted("Interrupted by signal 15.")]
    assert "Interrupted by signal 15.\nThe image before, 'app:v1', was put back" in failure(stage).message
    assert stage.host.image_set == "app:v1"


def test_a_migration_that_fails_after_the_start_takes_the_image_back(stage: Stage) -> None:
    stage.outcomes, stage.schemas = [test_migration.BAD], [BEFORE]
    message = failure(stage, order=START_FIRST).message
    assert "The migration failed" in message and message.endswith("The image before, 'app:v1', was put back, and is well.")
    assert stage.host.image_set == "app:v1"


def test_a_migration_that_fails_first_starts_nothing(stage: Stage) -> None:
    stage.outcomes, stage.schemas = [test_migration.BAD], [BEFORE]
    assert "put back" not in failure(stage).message
    assert not [line for line in stage.journal if line.startswith("start")] and stage.host.image_set == "app:v1"


def test_what_runs_and_is_not_well_is_not_called_deployed(stage: Stage) -> None:
    """The run that had started it was killed before it could say so."""
    stage.plan = EMPTY
    stage.host.web = stage.host.made("app:v2@sha256:55", NEW_ID, status="exited", exit_code=3)
    assert "runs already, and is not well: Container 'web' ends" in failure(stage).message
    stage.host.images["app:dbops-before-shop-web"] = stage.host.images[OLD_ID]
    assert failure(stage).message.endswith("-e dbops_image=app:dbops-before-shop-web -e dbops_deploy_pull=missing")
    assert not stage.deploy(check_mode=True).changed and "is not well" in stage.operation.warnings[0]


def test_one_that_was_not_well_does_not_take_the_kept_place_of_one_that_was(stage: Stage) -> None:
    stage.plan, stage.sick_before = EMPTY, ["web"]
    stage.host.images["app:dbops-before-shop-web"] = stage.host.images["app:v2"]
    assert stage.deploy().changed
    assert stage.host.images["app:dbops-before-shop-web"].id == NEW_ID
    assert stage.host.images["app:dbops-unwell-shop-web"].id == OLD_ID


def test_after_the_start_the_new_version_stays_once_the_schema_is_another(stage: Stage) -> None:
    stage.outcomes, stage.schemas = [test_migration.BAD], [BEFORE, test_migration.HALF]
    message = failure(stage, order=START_FIRST).message
    assert "The new version stays, since the schema is not, or not surely" in message and "put back" not in message
    assert stage.host.image_set == "app:v2@sha256:55"


def test_an_image_that_was_exported_by_hand_is_put_back_by_the_tag_that_kept_it(stage: Stage) -> None:
    stage.plan, stage.troubles = EMPTY, ["no"]
    (stage.folder / ".env").write_text("", encoding="utf-8")
    assert "was put back, and is well" in failure(stage).message
    assert stage.host.image_set == "app:dbops-before-shop-web"


def test_what_others_have_written_meanwhile_stays(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.troubles = ["no"]

    def migrate_and_rotate(*_given: t.Any) -> t.Any:
        (stage.folder / ".env").write_text("PASSWORD=rotated\nIMAGE=app:v1\n", encoding="utf-8")
        return stage._run()

    monkeypatch.setattr(test_migration._migration, "run_watched", migrate_and_rotate)
    failure(stage)
    assert (stage.folder / ".env").read_text(encoding="utf-8") == "PASSWORD=rotated\nIMAGE=app:v1\n"


def test_a_tag_that_is_pulled_means_what_it_meant_until_it_is_deployed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody may type `docker compose up` after a check, or after a gate has refused."""
    new = stage.host.images[NEW]
    stage.host.images[NEW] = Image(OLD_ID, {}, (), {}, platform="linux/amd64")

    def pull(name: str, _seconds: float) -> str:
        stage.host.images[name] = new
        return ""

    monkeypatch.setattr(stage.host, "pull", pull)
    assert "Would deploy image 'app:v2@sha256:55'" in stage.deploy(check_mode=True).summary[0]
    assert stage.host.images[NEW].id == OLD_ID


def test_the_line_back_names_what_was_kept_where_the_tag_has_moved(stage: Stage) -> None:
    stage.host.images["app:v1"] = stage.host.images[NEW_ID]
    assert "-e dbops_image=app:dbops-before-shop-web " in "\n".join(stage.deploy().summary)


def test_the_line_back_is_for_the_same_branch(stage: Stage) -> None:
    operation_ = stage.begin()
    operation_.request = replace(operation_.request, target=replace(operation_.request.target, branch="feature-x"))
    done = deploy(operation_, DeploymentOptions(MigrationOptions(PlanningOptions(("ent",), image=NEW, gates=GateOptions({}))), settle=0.0))
    assert "deploy.yml -l chat-production -e dbops_preview_branch=feature-x -e dbops_image=app:v1" in "\n".join(done.summary)


def test_a_kept_image_is_deployed_by_a_name_that_is_not_given_away(stage: Stage) -> None:
    """The line back names the tag that will be given to the image of now."""
    kept = "app:dbops-before-shop-web"
    stage.host.images[kept] = stage.host.images["sha256:older"] = Image("sha256:older", {}, (), {}, platform="linux/amd64")
    assert stage.deploy(image=kept, pull=MISSING).changed
    assert stage.host.image_set == "app:dbops-back-older" and stage.host.images["app:dbops-back-older"].id == "sha256:older"
    assert stage.host.images[kept].id == OLD_ID, "the way back from there"


def test_a_redeploy_of_edited_files_does_not_take_the_place_of_the_version_before(stage: Stage) -> None:
    stage.plan, stage.host.digest = EMPTY, "edited"
    stage.host.web = stage.host.made("app:v2@sha256:55", NEW_ID)
    stage.host.images["app:dbops-before-shop-web"] = stage.host.images[OLD_ID]
    assert "-e dbops_image=app:dbops-before-shop-web " in "\n".join(stage.deploy().summary)
    assert stage.host.images["app:dbops-before-shop-web"].id == OLD_ID


def test_one_that_has_ended_was_not_well(stage: Stage) -> None:
    stage.plan = EMPTY
    stage.host.web = stage.host.made("app:v1", OLD_ID, status="exited")
    stage.deploy()
    assert "app:dbops-before-shop-web" not in stage.host.images and stage.host.images["app:dbops-unwell-shop-web"].id == OLD_ID


def test_the_way_back_does_not_touch_the_variable_that_was_left_alone(stage: Stage) -> None:
    stage.host.others, stage.troubles = (lambda env: env.get("IMAGE", "")), ["no"]
    stage.host.images["app:v1"] = stage.host.images[NEW_ID]
    failure(stage)
    assert stage.host.image_set == "app:v1"
    assert "app:dbops-before-shop-web" in (stage.folder / "compose.dbops-image.yml").read_text(encoding="utf-8")


def test_a_variable_that_others_hang_on_is_left_alone(stage: Stage) -> None:
    stage.host.others = lambda env: env.get("IMAGE", "")
    result = stage.deploy()
    assert stage.host.image_set == "app:v1" and result.facts["deployment"]["set_in"].endswith("compose.dbops-image.yml")
    stage.host.web = stage.host.made("app:v1", OLD_ID)
    message = failure(stage, image_variable="IMAGE").message
    assert (
        "The variable IMAGE (dbops_deploy_image_variable) is not only the image of web" in message
        and "service 'other' would change" in message
    )


def test_services_of_the_same_image_come_along_where_they_have_the_same_database(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    url = {"DATABASE_URL": "postgresql://db/chat"}

    def service(name: str, status: str = "running", env: dict[str, str] | None = None) -> Container:
        labels = {**stage.host.web.labels, "com.docker.compose.service": name}
        return replace(stage.host.web, id=name, name=name, labels=labels, env=env or url, status=status)

    stage.host.web = replace(stage.host.web, env=url)
    others = [service("worker"), service("once", "exited"), service("tenant", env={"DATABASE_URL": "postgresql://db/other"})]
    known = {container.name: container for container in [stage.host.web, *others]}
    said = Outcome(0, json.dumps({"services": {name: {"image": "${IMAGE}"} for name in known}}), "")
    monkeypatch.setattr(stage.host, "compose", lambda argv, *_rest: Outcome(0, "", "") if "--hash" in argv else said)
    monkeypatch.setattr(stage.host, "of_project", lambda _project, services: [known[name] for name in services if name in known])
    found = _deployment_target._services(
        stage.begin(),
        Project("shop", "/", ()),
        read_project(stage.host, Project("shop", "/", ())),
        stage.host.web,
        DeploymentOptions(OPTIONS),
    )
    assert found == ("web", "worker")
    assert "Service 'tenant' has the same image and another database" in stage.operation.warnings[0]


# --- what is refused beforehand -------------------------------------------------------------------------------------------


def test_without_an_image_there_is_nothing_to_deploy(stage: Stage) -> None:
    assert "deploy.yml -l chat-production -e dbops_image=" in failure(stage, image="").message


def test_a_pull_that_fails_says_what_to_do_and_does_not_take_an_old_one_for_the_new(stage: Stage) -> None:
    stage.host.refused = "denied."
    message = failure(stage).message
    assert message.startswith("Image 'app:v2' could not be pulled: denied. Look whether") and "docker login" in message
    assert message.endswith("to use that: -e dbops_deploy_pull=missing")
    assert stage.deploy(pull=MISSING).changed
    del stage.host.images[NEW]
    assert "dbops_deploy_pull" not in failure(stage, pull=MISSING).message


def test_another_architecture_is_refused_unless_the_service_asks_for_it(stage: Stage) -> None:
    stage.host.images[NEW] = replace(stage.host.images[NEW], platform="linux/arm64")
    assert "is for linux/arm64, and this engine runs linux/amd64" in failure(stage).message
    assert stage.host.image_set == "app:v1" and stage.journal == []


def test_a_service_that_the_files_do_not_have_is_refused(stage: Stage) -> None:
    message = failure(stage, services=("wep",)).message
    assert "Compose project 'shop' has no service 'wep'" in message and "it has other, web" in message


def test_variables_that_nothing_gives_a_value_any_more_are_refused(stage: Stage) -> None:
    stage.host.unset, stage.host.digest = "DATABASE_URL", "edited"
    assert "need variables that nothing gives a value here (DATABASE_URL)" in failure(stage).message
    stage.host.digest = "same"  # it was blank from the beginning
    assert stage.deploy().changed


def test_a_version_without_any_check_is_deployed_and_said_to_be_unknown(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage.host, "made", lambda *given: replace(Host.made(stage.host, *given), health_command=()))
    assert stage.deploy(pull=ALWAYS).changed
    assert "that it runs after 0 s is all that is known of it" in stage.operation.warnings[-1]


def test_what_it_was_asked_is_told(stage: Stage) -> None:
    assert "(it is healthy, 'curl x' succeeds)" in stage.deploy(smoke=Smoke((("curl", "x"),))).summary[0]


# --- a project that was never started ---------------------------------------------------------------------------------------


class NewBranch(Stage):
    """The backend has no container; Compose makes one, which is not started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        super().__init__(monkeypatch, folder)
        self.there: tuple[Container, ...] = ()
        self.refused = ""
        monkeypatch.setattr(_first_start, "create_containers", self._create)
        monkeypatch.setattr(self.host, "of_project", lambda *_given: [self.host.web] if self.there else [])
        monkeypatch.setattr(_first_start, "resolve", lambda *_given: replace(self.operation.target, backends=self.there))

    def _create(self, _docker: t.Any, _project: Project, services: t.Sequence[str]) -> str:
        self.journal.append("create %s of %s" % (", ".join(services), self.host.image_set))
        if not self.refused:
            self.host.web = self.host.made(self.host.image_set, NEW_ID, status="created")
            self.there = (self.host.web,)
        return self.refused

    def begin(self, check_mode: bool = False, environment: str = "production") -> Operation:
        super().begin(check_mode, environment)
        self.operation.target = replace(self.operation.target, backends=self.there)
        self.host.on_remove = self._removed
        return self.operation

    def _removed(self) -> None:
        self.there = ()


@pytest.fixture
def new_branch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> NewBranch:
    made = NewBranch(monkeypatch, tmp_path)
    (tmp_path / ".env").write_text("", encoding="utf-8")
    return made


def test_without_a_container_and_a_folder_it_is_said_how_to_go_on(new_branch: NewBranch) -> None:
    message = failure(new_branch).message
    assert message.startswith("No container to be deployed: ") and "-e dbops_deploy_project_dir=" in message
    assert new_branch.journal == []


def test_its_containers_are_made_planned_migrated_and_only_then_started(new_branch: NewBranch) -> None:
    result = new_branch.deploy(project_dir=str(new_branch.folder), services=("web",))
    assert new_branch.journal == [
        "create web of app:v2@sha256:55",
        "space",
        "backup before_migration",
        "run",
        "start app:v2@sha256:55",
    ]
    assert result.changed and "To go back to the image before" not in "\n".join(result.summary)
    assert result.journal["image_before"] == ""


def test_where_it_does_not_come_to_the_start_nothing_is_left(new_branch: NewBranch) -> None:
    new_branch.outcomes, new_branch.schemas = [test_migration.BAD], [BEFORE]
    assert failure(new_branch, project_dir=str(new_branch.folder), services=("web",)).message.startswith("The migration failed")
    assert ("container", "web of app:v2@sha256:55") in new_branch.host.removed and new_branch.host.image_set == ""
    assert new_branch.operation.target.backends == ()


def test_one_that_does_not_get_well_is_left_to_be_looked_at(new_branch: NewBranch) -> None:
    new_branch.troubles = ["no"]
    message = failure(new_branch, project_dir=str(new_branch.folder), services=("web",)).message
    assert "There was no version before it, so it was left as it is." in message
    assert new_branch.host.removed == [] and new_branch.host.image_set == "app:v2@sha256:55"


def test_what_compose_refuses_is_told_and_taken_back(new_branch: NewBranch) -> None:
    new_branch.refused = "network chat not found"
    message = failure(new_branch, project_dir=str(new_branch.folder), services=("web",)).message
    assert "could not make the containers" in message and "network chat not found" in message and new_branch.host.image_set == ""


def test_check_mode_makes_no_containers(new_branch: NewBranch) -> None:
    with pytest.raises(DbopsError, match="was never started here"):
        new_branch.deploy(check_mode=True, project_dir=str(new_branch.folder))
    assert new_branch.journal == [] and new_branch.host.image_set == ""


def test_which_service_is_the_application_has_to_be_known(new_branch: NewBranch) -> None:
    assert new_branch.deploy(project_dir=str(new_branch.folder)).changed, "one service alone has its image by a variable"
    assert new_branch.journal[0] == "create web of app:v2@sha256:55"


def test_a_folder_without_a_compose_file_is_refused(new_branch: NewBranch) -> None:
    (new_branch.folder / "compose.yml").unlink()
    assert "There is no Compose file in" in failure(new_branch, project_dir=str(new_branch.folder)).message
