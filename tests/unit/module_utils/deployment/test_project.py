# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Compose project by its labels, and what Compose says of its files."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.deployment._project import (
    Project,
    line_to_start,
    outdated,
    project_of,
    read_project,
    start_anew,
)
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeDocker, container

PROJECT = Project("shop", "/srv/shop", ("/srv/shop/compose.yml",), ("/srv/shop/prod.env",))
UNSET = 'time="2026-11-28T05:00:00Z" level=warning msg="The \\"%s\\" variable is not set. Defaulting to a blank string."\n'


class Composing(FakeDocker):
    """Compose that answers by the last words it is asked with; ``env`` of each call is kept."""

    def __init__(self, **answers: Outcome) -> None:
        super().__init__()
        self.answers = answers
        self.asked: list[tuple[tuple[str, ...], dict[str, str]]] = []

    def compose(self, argv: t.Sequence[str], _seconds: float, env: t.Mapping[str, str] | None = None) -> Outcome:
        self.asked.append((tuple(argv), dict(env or {})))
        for word, name in (("--no-interpolate", "written"), ("--hash", "hashes"), ("up", "up")):
            if word in argv:
                return self.answers.get(name, Outcome(0, "{}" if name == "written" else "", ""))
        return self.answers["given" if env and "given" in self.answers else "read"]


def labels(folder: Path, **more: str) -> dict[str, str]:
    known = {"project": "shop", "project.working_dir": str(folder), "project.config_files": str(folder / "compose.yml"), "service": "web"}
    return {"com.docker.compose." + name: text for name, text in {**known, **more}.items()}


def says(**services: dict[str, str]) -> Outcome:
    return Outcome(0, json.dumps({"services": services}), "")


def test_it_is_called_as_its_container_was_started(tmp_path: Path) -> None:
    for name in ("compose.yml", "more.yml", "prod.env"):
        (tmp_path / name).write_text("", encoding="utf-8")
    files = "%s,%s" % (tmp_path / "compose.yml", tmp_path / "more.yml")
    given = labels(tmp_path, **{"project.config_files": files, "project.environment_file": str(tmp_path / "prod.env")})
    found = project_of(container(labels=given))
    assert found == Project("shop", str(tmp_path), tuple(files.split(",")), (str(tmp_path / "prod.env"),))
    assert found.variables_file == str(tmp_path / "prod.env")
    own = project_of(container(labels=labels(tmp_path)), files=["more.yml"], env_files=["prod.env"])
    assert own.files == (str(tmp_path / "more.yml"),)
    assert line_to_start(own, ["web"]).endswith("up --detach --no-deps web")


def test_what_compose_has_not_made_or_is_not_here_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DbopsError, match=r"not made by Docker Compose.*migrate.yml -e dbops_image"):
        project_of(container(labels={}))
    with pytest.raises(DbopsError, match=r"compose.yml', which is not on this host.*dbops_deploy_compose_files.*Nothing was touched"):
        project_of(container(labels=labels(tmp_path)))


def test_what_the_files_say_of_each_service() -> None:
    docker = Composing(
        read=says(web={"image": "app:v1", "platform": "linux/arm64"}, built={}),
        written=says(web={"image": "app:${TAG}"}),
        hashes=Outcome(0, "web abc\nbuilt def\n", ""),
    )
    found = read_project(docker, PROJECT, "app:v2")
    web = found.services["web"]
    assert (web.image, web.written, web.digest, web.platform) == ("app:v1", "app:${TAG}", "abc", "linux/arm64")
    assert (found.services["built"].image, found.services["built"].written) == ("", "")
    assert all(argv[:8] == (*PROJECT.flags,) for argv, _env in docker.asked)
    assert all(argv[8:10] == ("--profile", "*") for argv, _env in docker.asked)


def test_an_image_that_is_exported_by_hand_is_no_reason_to_read_nothing() -> None:
    refused = Outcome(1, "", UNSET % "IMAGE" + 'service "web" has neither an image nor a build context specified\n')
    docker = Composing(read=refused, given=says(web={"image": "app:v2"}), written=says(web={"image": "${IMAGE}"}))
    assert read_project(docker, PROJECT, "app:v2").services["web"].image == "app:v2"
    assert {"IMAGE": "app:v2"} in [env for _argv, env in docker.asked]


def test_composes_own_sentence_is_told_without_its_warnings() -> None:
    docker = Composing(read=Outcome(15, "", UNSET % "X" + "yaml: line 3: did not find expected node content\n"))
    with pytest.raises(DbopsError, match=r"compose.yml\): yaml: line 3: did not find expected node content Mend that"):
        read_project(docker, PROJECT, "app:v2")


def test_variables_without_a_value_are_known() -> None:
    read = says(web={"image": "app:v1"})
    docker = Composing(read=Outcome(0, read.stdout, UNSET % "URL" + UNSET % "URL" + UNSET % "KEY"))
    assert read_project(docker, PROJECT, "app:v2").unset == ("URL", "KEY")


@pytest.mark.parametrize(
    ("said", "found"), [(" Container web-1  Recreate\n Container web-1  Recreated\n", ["web-1"]), (" Container web-1  Running\n", [])]
)
def test_what_the_files_would_replace_is_asked_of_compose_itself(tmp_path: Path, said: str, found: list[str]) -> None:
    there = container("web-1", labels=labels(tmp_path))
    docker = Composing(read=Outcome(0, "", UNSET % "IMAGE"), written=says(web={"image": "${IMAGE}"}), up=Outcome(0, "", said))
    assert [item.name for item in outdated(docker, PROJECT, [there])] == found
    argv, env = docker.asked[-1]
    assert argv[0] == "--dry-run" and env == {"IMAGE": there.image}, "the image is no change: it is what a deploy changes"
    assert outdated(Composing(read=Outcome(0, "", ""), up=Outcome(1, "", "unknown flag: --dry-run")), PROJECT, [there]) == []
    assert outdated(docker, PROJECT, []) == []


def test_only_the_named_services_are_started_and_nothing_is_pulled_or_built() -> None:
    docker = Composing(up=Outcome(1, "", "no such image: app:v2\n"))
    assert start_anew(docker, PROJECT, {"web": 3, "worker": 1}) == "no such image: app:v2"
    [(argv, _env)] = docker.asked
    assert argv[-4:] == ("--scale", "web=3", "web", "worker") and {"--no-deps", "--no-build", "never"} <= set(argv)
