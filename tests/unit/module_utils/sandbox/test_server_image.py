# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Image
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._server_image import data_folders, forget, with_data_folder
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import EngineError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeConnection, FakeDocker, container, operation

SERVER = Image("sha256:server", {"PGDATA": "/var/lib/postgresql/18/docker"}, ("/var/lib/postgresql",), {})


class ImageDocker(FakeDocker):
    """Also makes images; ``written``: what was added to each."""

    def __init__(self) -> None:
        super().__init__(container("db", image_id="sha256:server"), images={"sha256:server": SERVER})
        self.written: list[dict[str, str]] = []
        self.fails = False

    def make_image(self, job: t.Any, name: str, files: t.Mapping[str, str]) -> None:
        if self.fails:
            raise EngineError("no space left on device")
        self.jobs.append(job)
        self.written.append({inside: Path(outside).read_text(encoding="ascii") for inside, outside in files.items()})
        assert all(Path(outside).stat().st_mode & 0o044 == 0o044 for outside in files.values())
        self.images[name] = Image("sha256:made-%d" % len(self.jobs), {}, (), {"dbops.source-image": job.image})

    def every(self) -> list:
        return list(self.containers.values())

    def made_images(self) -> list[Image]:
        return [image for image in self.images.values() if "dbops.source-image" in image.labels]


@pytest.fixture
def docker() -> ImageDocker:
    return ImageDocker()


@pytest.fixture
def ours(tmp_path: Path, docker: ImageDocker):
    return operation(tmp_path, FakeConnection(), docker)


def test_the_data_folder_is_made_once(ours, docker: ImageDocker) -> None:
    made = with_data_folder(ours, SERVER, "ann", "--locale=de")
    assert made.startswith("dbops-sandbox:") and made == with_data_folder(ours, SERVER, "ann", "--locale=de")
    [job] = docker.jobs
    assert job.argv == ("initdb", "--pgdata=/tmp/dbops-sandbox", "--username=ann", "--no-sync", "--locale=de")
    assert (job.network, job.user, job.keep_entrypoint, job.env) == ("none", "postgres", False, {})
    assert job.tmpfs == ("/var/lib/postgresql",)
    assert job.labels["dbops.run"] == ours.run_id
    assert docker.written == [{"/tmp/dbops-sandbox/pg_hba.conf": "local all all trust\nhost all all all trust\n"}]


@pytest.mark.parametrize(
    ("image", "user", "options"),
    [
        (Image("sha256:other", {}, (), {}), "ann", ""),
        (SERVER, "bob", ""),
        (SERVER, "ann", "--data-checksums"),
    ],
)
def test_what_is_made_in_another_way_is_another_image(ours, docker: ImageDocker, image: Image, user: str, options: str) -> None:
    docker.containers["other"] = container("other", image_id="sha256:other")
    assert with_data_folder(ours, SERVER, "ann", "") != with_data_folder(ours, image, user, options)


def test_a_check_makes_nothing_that_stays_but_uses_what_is_there(tmp_path: Path, ours, docker: ImageDocker) -> None:
    check = operation(tmp_path, FakeConnection(), docker, check_mode=True)
    assert with_data_folder(check, SERVER, "ann", "") == "" and docker.jobs == []
    made = with_data_folder(ours, SERVER, "ann", "")
    assert with_data_folder(check, SERVER, "ann", "") == made


@pytest.mark.parametrize("options", ["", "--locale='de"])
def test_where_it_cannot_be_made_the_sandbox_starts_without(ours, docker: ImageDocker, options: str) -> None:
    docker.fails = not options
    assert with_data_folder(ours, SERVER, "ann", options) == ""


def test_what_was_made_of_an_image_that_no_container_has_any_more_goes(ours, docker: ImageDocker) -> None:
    docker.images["dbops-sandbox:old"] = Image("sha256:old", {}, (), {"dbops.source-image": "sha256:gone"})
    docker.images["dbops-sandbox:used"] = Image("sha256:used", {}, (), {"dbops.source-image": "sha256:server"})
    with_data_folder(ours, SERVER, "ann", "")
    assert docker.removed == [("image", "sha256:old")]


def test_an_image_that_did_not_start_is_removed(docker: ImageDocker) -> None:
    forget(docker, "dbops-sandbox:1")
    assert docker.removed == [("image", "dbops-sandbox:1")]


def test_an_image_that_another_run_is_using_stays(docker: ImageDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    def in_use(_kind: str, _name: str) -> None:
        raise EngineError("conflict: unable to remove repository reference")

    monkeypatch.setattr(docker, "remove", in_use)
    forget(docker, "dbops-sandbox:1")


@pytest.mark.parametrize(
    ("volumes", "data", "folders"),
    [
        (("/var/lib/postgresql/data",), "/var/lib/postgresql/data", ("/var/lib/postgresql/data",)),
        (("/var/lib/postgresql",), "/var/lib/postgresql/18/docker", ("/var/lib/postgresql",)),
        ((), "/data", ("/data",)),
        (("/var/lib/postgresql",), "/var/lib/postgresql-data", ("/var/lib/postgresql", "/var/lib/postgresql-data")),
        (("/x/",), "/x/y", ("/x/",)),
        ((), "", ()),
    ],
)
def test_the_image_says_where_it_keeps_its_data(volumes: tuple, data: str, folders: tuple) -> None:
    assert data_folders(Image("i", {"PGDATA": data} if data else {}, volumes, {})) == folders
