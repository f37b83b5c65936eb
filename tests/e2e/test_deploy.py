# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`deploy.yml`: a new image and its migration are one step, and a version that does not get well is taken back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller import CheckThenRun, Controller
from faults import Hand, journal, stop_in
from shop import V1, Shop, Version, for_another_machine, opened_shop, registry
from stack import BACKEND, ROOT, Server, Stack, command

ADDS = Version("v2", "ALTER TABLE users ADD COLUMN IF NOT EXISTS nickname text;", "SELECT nickname FROM users LIMIT 1;")
DROPS = Version("v2", "ALTER TABLE messages DROP COLUMN IF EXISTS text;", "SELECT id FROM messages LIMIT 1;")
DEPLOY = ("deploy", "-l", "production")


@pytest.fixture
def shop(v1: None, stack: Stack) -> Iterator[Shop]:
    with opened_shop(stack) as made:
        made.up(V1)
        yield made


@pytest.fixture
def backend_v1(v1: None, stack: Stack) -> Iterator[None]:
    """The runbook's own backend, as it was before."""
    script = str(ROOT / "demo" / "stack")
    place = ("--name", stack.name, "--dir", str(stack.folder), "--owner", "deploy", "--only", "production")
    command(script, "backend", "v1", *place)
    yield
    command(script, "backend", "v2", *place)


def deployed(controller: Controller, shop: Shop, version: Version, *arguments: str, **more: Any) -> Any:
    return controller.run(*DEPLOY, *arguments, dbops_image=shop.build(version), **{**shop.variables, **more})


def last(stack: Stack, server: Server) -> dict[str, Any]:
    found: dict[str, Any] = journal(stack, server)[-1]
    return found


@pytest.mark.core
def test_the_runbooks_backend_is_deployed_from_a_registry(
    backend_v1: None, check_then_run: CheckThenRun, controller: Controller, stack: Stack, production: Server
) -> None:
    with registry() as place:
        image = f"{place}/chat-backend:v2"
        command("docker", "tag", f"{BACKEND}:v2", image)
        command("docker", "push", "--quiet", image)
        command("docker", "image", "rm", image)
        checked, done = check_then_run(*DEPLOY, dbops_image=image)
        assert "Would deploy image" in checked.summary
        assert "The version that runs now goes on with the new schema" in checked.summary
        [backend] = production.backends
        seen = backend.inspect()
        assert seen["Config"]["Image"].startswith(f"{image}@sha256:")
        assert f"BACKEND_IMAGE='{image}@sha256:" in stack.as_deploy(f"cat {stack.folder}/opt/chat/.env").stdout
        assert "nickname" in production.columns("users")
        assert done.result()["deployment"]["safe_orders"] == ["migrate_first"]
        entry = last(stack, production)
        assert (entry["operation"], entry["image_before"]) == ("deploy", f"{BACKEND}:v1")
        assert entry["backup"] in stack.backups(production) and entry["plan_fingerprint"]
        assert "passwords" not in done.output and production.env["POSTGRES_PASSWORD"] not in done.output
        started = backend.started_at
        again = controller.run(*DEPLOY, dbops_image=image)
        assert again.ok and not again.changed and "Nothing to deploy" in again.summary
        assert backend.started_at == started
        back = controller.run(*DEPLOY, dbops_image=f"{BACKEND}:v1", dbops_deploy_pull="missing")
        assert back.ok and backend.inspect()["Config"]["Image"] == f"{BACKEND}:v1", back.output
        command("docker", "image", "rm", "--force", image, check=False)


def test_one_that_crashes_at_start_is_taken_back_and_the_migration_stays(
    shop: Shop, controller: Controller, stack: Stack, production: Server
) -> None:
    settings = shop.read(".env")
    run = deployed(controller, shop, Version("bad", ADDS.migrate, serve="echo cannot find its configuration; exit 3"))
    assert not run.ok and "ends as soon as it is started (exit status 3" in run.message
    assert "cannot find its configuration" in run.message
    assert "was put back, and is well" in run.message and "The migration stays: the version before goes on with it" in run.message
    assert shop.running == "v1" and shop.read(".env") == settings
    assert "nickname" in production.columns("users")
    assert last(stack, production)["result"] == "failed" and stack.leftovers() == []


@pytest.mark.long  # each step of it has a test without an engine
def test_one_that_never_gets_healthy_is_taken_back(shop: Shop, controller: Controller) -> None:
    run = deployed(controller, shop, Version("bad", health="SELECT 1/0;"), dbops_deploy_health_timeout=3)
    assert not run.ok and "is not healthy: its check" in run.message and "division by zero" in run.message
    assert "The schema was not changed." in run.message and shop.running == "v1"


def test_one_that_is_healthy_and_then_dies_is_taken_back(shop: Shop, controller: Controller) -> None:
    run = deployed(controller, shop, Version("bad", serve="sleep 2; exit 4"), dbops_deploy_settle=4)
    assert not run.ok and "was well, and ended within 4 s" in run.message
    assert shop.running == "v1"


@pytest.mark.long  # each step of it has a test without an engine
def test_one_that_fails_a_smoke_command_is_taken_back(shop: Shop, controller: Controller) -> None:
    run = deployed(controller, shop, ADDS, dbops_deploy_smoke=["cat /app/version", "cat /app/none"], dbops_deploy_health_timeout=3)
    assert not run.ok and "'cat /app/none' ended with 1" in run.message and shop.running == "v1"


def test_what_the_version_before_may_not_live_with_is_said_with_the_way_back(
    shop: Shop, controller: Controller, stack: Stack, production: Server
) -> None:
    bad = Version("bad", DROPS.migrate, serve="exit 3")
    run = deployed(controller, shop, bad, dbops_migrate_approval="never", dbops_deploy_health_timeout=5)
    assert not run.ok and "is not well either" in run.message
    assert "The database stays migrated, and the version before may not go on with that" in run.message
    assert f"-e dbops_restore_backup={stack.backups(production)[-1]} -e dbops_confirm=restore:chat" in run.message
    assert shop.running == "v1"


@pytest.mark.parametrize(("version", "safe"), [(ADDS, ["migrate_first"]), (DROPS, ["start_first"])], ids=["adds", "drops"])
def test_which_order_is_safe_is_told_beforehand_and_either_is_done(
    shop: Shop, controller: Controller, production: Server, version: Version, safe: list[str]
) -> None:
    more = {"dbops_migrate_approval": "never", "dbops_deploy_settle": 0.5}
    production.do("ALTER TABLE messages ALTER text DROP NOT NULL")  # else the new version's inserts would lack it
    other = "start_first" if safe == ["migrate_first"] else "migrate_first"
    checked = deployed(controller, shop, version, "--check", dbops_deploy_order=other, **more)
    assert checked.ok, checked.output
    assert checked.result()["deployment"]["safe_orders"] == safe
    assert f"Safe is: -e dbops_deploy_order={safe[0]}" in checked.text
    if version is DROPS:
        assert "is not known: its migration makes no table of an empty database" in checked.summary
    done = deployed(controller, shop, version, dbops_deploy_order=safe[0], **more)
    assert done.ok and shop.running == "v2", done.output
    phases = list(done.result()["operation"]["phases"])
    assert (phases.index("deploy: start") < phases.index("migrate: run")) is (safe == ["start_first"])
    assert ("text" in production.columns("messages")) is (version is ADDS)


@pytest.mark.parametrize("whole", [True, False], ids=["undone", "half done"])
def test_a_migration_that_fails_after_the_start_takes_the_image_back_where_the_schema_is_as_it_was(
    shop: Shop, controller: Controller, whole: bool
) -> None:
    fails = "ALTER TABLE messages ADD CONSTRAINT never CHECK (id < 0) NOT VALID; ALTER TABLE messages VALIDATE CONSTRAINT never;"
    options = {"dbops_migrate_approval": "never", "dbops_migrate_look_up_seconds": 0, "dbops_deploy_settle": 0.5}
    breaks = Version("v2", f"BEGIN; {fails} COMMIT;" if whole else fails)
    run = deployed(controller, shop, breaks, dbops_deploy_order="start_first", **options)
    assert not run.ok and "The migration failed" in run.message
    assert ("was put back, and is well" in run.message, "The new version stays" in run.message) == (whole, not whole), run.message
    assert shop.running == ("v1" if whole else "v2")


def test_an_image_that_is_not_there_is_refused_before_anything_is_touched(shop: Shop, controller: Controller, stack: Stack) -> None:
    before = stack.everything()
    with registry() as place:
        run = controller.run(*DEPLOY, dbops_image=f"{place}/shop:v9", **{**shop.variables, "dbops_deploy_pull": "always"})
    assert not run.ok and f"Image '{place}/shop:v9' could not be pulled" in run.message and "docker login" in run.message
    assert {name: found for name, found in stack.everything().items() if name != "files"} == {
        name: found for name, found in before.items() if name != "files"
    }
    run = controller.run(*DEPLOY, **shop.variables)
    assert not run.ok and "-e dbops_image=" in run.message


def test_an_image_for_another_architecture_is_refused(shop: Shop, controller: Controller) -> None:
    foreign = shop.build(Version("foreign"))
    for_another_machine(foreign)
    run = controller.run(*DEPLOY, dbops_image=foreign, **shop.variables)
    assert not run.ok and "is for linux/s390x, and this engine runs linux/" in run.message
    assert shop.running == "v1"


def test_compose_files_that_do_not_parse_or_are_gone_are_refused(shop: Shop, controller: Controller) -> None:
    good = shop.read("compose.yml")
    shop.write("compose.yml", good.replace("services:", "services: ["))
    run = deployed(controller, shop, ADDS)
    assert not run.ok and "Docker Compose cannot read the files of project" in run.message
    shop.write("compose.yml", good.replace("  web:", "  website:"))
    run = deployed(controller, shop, ADDS)
    assert not run.ok and "has no service 'web'" in run.message and "it has website" in run.message
    shop.stack.as_deploy(f"mv {shop.folder}/compose.yml {shop.folder}/moved.yml")
    run = deployed(controller, shop, ADDS)
    assert not run.ok and "dbops_deploy_compose_files" in run.message and shop.running == "v1"
    shop.write("moved.yml", good)
    run = deployed(controller, shop, ADDS, dbops_deploy_compose_files=["moved.yml"])
    assert run.ok and shop.running == "v2", run.output


def test_a_fixed_image_several_files_and_a_profile(v1: None, stack: Stack, controller: Controller) -> None:
    """The image is written out, so a file of ours says the other one; taken back, it is gone again."""
    with opened_shop(stack, image="%(fixed)s") as shop:
        shop.image = shop.build(V1)
        shop.up(V1)
        text = shop.read("compose.yml").replace("    restart: unless-stopped\n", "    profiles: [always-on]\n")
        shop.write("compose.yml", text)
        shop.files = {"compose.yml": text, "restart.yml": "services:\n  web:\n    restart: on-failure"}
        shop.write("restart.yml", shop.files["restart.yml"])
        shop.compose("--profile always-on", "up", "--detach", "--wait")
        bad = deployed(controller, shop, Version("bad", serve="exit 3"))
        assert not bad.ok and shop.running == "v1" and "was put back, and is well" in bad.message, bad.output
        assert "compose.dbops-image.yml" not in stack.as_deploy(f"ls {shop.folder}").stdout
        run = deployed(controller, shop, ADDS)
        assert run.ok and shop.running == "v2", run.output
        assert f"--file {shop.folder}/compose.dbops-image.yml" in run.summary
        assert shop.web.inspect()["HostConfig"]["RestartPolicy"]["Name"] == "on-failure"
        third = deployed(controller, shop, Version("v3", ADDS.migrate, ADDS.health))
        assert third.ok and shop.running == "v3", third.output
        assert shop.read("compose.dbops-image.yml").count("image:") == 1


def test_a_tag_variable_and_a_tag_that_was_moved_meanwhile(v1: None, stack: Stack, controller: Controller) -> None:
    """`image: shop:${SHOP_TAG:-latest}`, and the new version comes under the old one's tag: the way back is kept under one of its own."""
    with opened_shop(stack) as shop:
        shop.image = f"{shop.project}:${{SHOP_TAG:-latest}}"
        shop.up(V1)
        moved = Version("v1", ADDS.migrate, serve="exit 3")
        run = deployed(controller, shop, moved)
        assert not run.ok and "was put back, and is well" in run.message, run.output
        assert shop.read(".env").count(f"SHOP_TAG=dbops-before-{shop.project}-web") == 1
        assert shop.web.inspect()["State"]["Status"] == "running"
        run = deployed(controller, shop, Version("v3"))
        assert run.ok and shop.running == "v3" and "SHOP_TAG=v3\n" in shop.read(".env"), run.output


@pytest.mark.long  # each step of it has a test without an engine
def test_variables_that_were_exported_by_hand_are_missed_beforehand(v1: None, stack: Stack, controller: Controller) -> None:
    with opened_shop(stack) as shop:
        shop.up(V1, SOMETHING="x")
        run = deployed(controller, shop, ADDS)
        assert not run.ok and "need variables that nothing gives a value here (SHOP_DATABASE_URL)" in run.message
        assert shop.running == "v1"


def test_a_deploy_that_meets_another_is_refused_and_one_that_is_killed_is_finished_by_the_next(
    shop: Shop, controller: Controller, stack: Stack, production: Server, hand: Hand
) -> None:
    image = shop.build(ADDS)
    under_way = controller.start(*DEPLOY, dbops_image=image, **shop.variables)
    caught = stop_in(hand, production, "deploy", "deploy: start")
    assert caught
    run = controller.run(*DEPLOY, dbops_image=shop.build(Version("v3")), **shop.variables)
    assert not run.ok and "deploy by" in run.message and "phase 'deploy: start'" in run.message
    caught.kill()
    assert not under_way.wait().ok
    run = controller.run(*DEPLOY, dbops_image=image, **shop.variables)
    assert run.ok and shop.running == "v2", run.output


def test_a_container_that_compose_has_not_made_is_refused_with_what_to_do(v1: None, stack: Stack, controller: Controller) -> None:
    name = f"{stack.name}-lonely"
    command(
        "docker", "run", "--detach", "--name", name, "--network", stack.network, f"{BACKEND}:v1", "/app/backend", "version", check=False
    )
    try:
        run = controller.run(*DEPLOY, dbops_image=f"{BACKEND}:v2", dbops_deploy_pull="missing", dbops_backends=[name])
        assert not run.ok and "was not made by Docker Compose" in run.message and "migrate.yml -e dbops_image=" in run.message
    finally:
        command("docker", "rm", "--force", name)


def test_a_preview_branch_is_deployed_alone(v1: None, controller: Controller, stack: Stack, preview: Server, tmp_path: Path) -> None:
    others = [backend.started_at for backend in preview.backends[1:]]
    name = preview.backends[0].name
    try:
        run = controller.run(
            "deploy", "-l", "preview", dbops_image=f"{BACKEND}:v1", dbops_deploy_pull="missing", dbops_runner_container=name
        )
        assert run.ok, run.output
        assert preview.backends[0].inspect()["Config"]["Image"] == f"{BACKEND}:v1"
        assert [backend.started_at for backend in preview.backends[1:]] == others
        report = {"dbops_report_dir": str(tmp_path), "dbops_runner_container": name, "dbops_deploy_pull": "missing"}
        run = controller.run("deploy", "-l", "preview", dbops_image=f"{BACKEND}:v2", **report)
        assert run.ok and "nickname" in preview.columns("users"), run.output
        [document] = tmp_path.glob("chat-preview-*-migration.json")
        assert json.loads(document.read_text())["runner"]["image"] == f"{BACKEND}:v2"
    finally:
        place = ("--name", stack.name, "--dir", str(stack.folder), "--owner", "deploy", "--only", "preview")
        command(str(ROOT / "demo" / "stack"), "backend", "v2", *place)


def test_a_branch_that_was_never_started_is_planned_migrated_and_started(
    v1: None, controller: Controller, stack: Stack, preview: Server
) -> None:
    """Somebody has pushed a new branch, and CI has put its Compose file there; that is all."""
    folder, name = f"{stack.folder}/opt/chat-preview/brand-new", f"{stack.name}-chat-backend-preview-brand-new"
    stack.as_deploy(
        f"cp -r {stack.folder}/opt/chat-preview/feature-login {folder} && cd {folder}"
        " && sed -i \"s/^CHAT_BRANCH=.*/CHAT_BRANCH='brand-new'/; /^BACKEND_IMAGE/d\" .env"
    )
    pattern = f"{stack.name}-chat-backend-preview-*"
    options = {
        "dbops_backends": [pattern],
        "dbops_preview_branch": "brand-new",
        "dbops_deploy_pull": "missing",
        "dbops_image": f"{BACKEND}:v2",
    }
    try:
        run = controller.run("deploy", "-l", "preview", **options)
        assert not run.ok and "-e dbops_deploy_project_dir=" in run.message
        checked = controller.run("deploy", "-l", "preview", "--check", dbops_deploy_project_dir=folder, **options)
        assert not checked.ok and "was never started here" in checked.message
        run = controller.run("deploy", "-l", "preview", dbops_deploy_project_dir=folder, **options)
        assert not run.ok and f"There is no Compose file in '{folder}'" in run.message and "dbops_deploy_compose_files" in run.message
        place = {"dbops_deploy_project_dir": folder, "dbops_deploy_compose_files": ["docker-compose.preview.yml"]}
        broken = controller.run("deploy", "-l", "preview", **place, **{**options, "dbops_image": f"{BACKEND}:broken"})
        assert not broken.ok and broken.message.startswith("The migration failed")
        assert name not in command("docker", "ps", "--all", "--format", "{{.Names}}").stdout
        assert "BACKEND_IMAGE" not in stack.as_deploy(f"cat {folder}/.env").stdout
        stack.fill("v1")  # the broken version has left an index half built
        run = controller.run("deploy", "-l", "preview", **place, **options)
        assert run.ok and "nickname" in preview.columns("users"), run.output
        assert "To go back to the image before" not in run.summary
        seen = json.loads(command("docker", "inspect", name).stdout)[0]
        assert seen["State"]["Status"] == "running" and seen["Config"]["Image"] == f"{BACKEND}:v2"
        again = controller.run("deploy", "-l", "preview", **options)  # from now on its own labels tell where it is
        assert again.ok and not again.changed, again.output
    finally:
        command("docker", "rm", "--force", name, check=False)
        stack.as_deploy(f"rm -rf {folder}")
