# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where an image's name stands in a project, and how it is changed there."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbops.postgres.plugins.module_utils.backend._env_file import parse_env_text
from ansible_collections.dbops.postgres.plugins.module_utils.deployment._image_setting import (
    _with_variables,
    pinned,
    repository_of,
    setting_of,
)
from ansible_collections.dbops.postgres.plugins.module_utils.deployment._project import FILE_NAME, Project, Service, variable_of
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Image
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

NEW = "registry.example.org:5000/app:v42@sha256:" + "5" * 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("project")


def web(written: str) -> Service:
    return Service("web", "app:v41", written, "digest")


def project(folder: Path) -> Project:
    return Project("shop", str(folder), (str(folder / "compose.yml"),))


@pytest.mark.parametrize(
    ("reference", "repository"),
    [
        ("app", "app"),
        ("app:v1", "app"),
        ("localhost:5000/app", "localhost:5000/app"),
        ("localhost:5000/team/app:v1@sha256:55", "localhost:5000/team/app"),
        ("app@sha256:55", "app"),
    ],
)
def test_a_registrys_port_is_no_tag(reference: str, repository: str) -> None:
    assert repository_of(reference) == repository


def test_an_image_is_pinned_by_the_digest_of_its_own_registry() -> None:
    image = Image("sha256:1", {}, (), {}, ("ghcr.io/x/app@sha256:aa", "docker.io/library/app@sha256:bb"))
    assert pinned(image, "ghcr.io/x/app:v2") == "ghcr.io/x/app:v2@sha256:aa"
    assert pinned(image, "app:v2") == "app:v2@sha256:bb"
    assert pinned(image, "elsewhere/app:v2") == "elsewhere/app:v2"  # built here: no registry knows it
    assert pinned(image, "app@sha256:cc") == "app@sha256:cc"


@pytest.mark.parametrize(
    ("written", "variable"),
    [
        ("${IMAGE}", "IMAGE"),
        ("$IMAGE", "IMAGE"),
        ("${IMAGE:-app:latest}", "IMAGE"),
        ("${IMAGE?it has to be said}", "IMAGE"),
        ("app:${TAG-latest}", "TAG"),
        ("app:v1", ""),
        ("${REGISTRY}/app:v1", ""),
        ("${REGISTRY}/app:${TAG}", ""),
        ("app:${TAG}-slim", ""),
        ("", ""),
    ],
)
def test_the_variable_that_an_image_ends_with(written: str, variable: str) -> None:
    assert variable_of(written) == variable


def test_the_whole_image_is_written_into_its_variable_and_nothing_else_is_touched(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_bytes(b"# mine\r\nPASSWORD='x y'\r\nexport IMAGE='app:v41'\r\nLAST=1\r\n")
    env.chmod(0o640)
    setting = setting_of(project(tmp_path), [web("${IMAGE}")], NEW)
    assert setting.name == "IMAGE" and "PASSWORD" not in setting.diff()
    assert setting.diff().splitlines()[2:] == ["-IMAGE=app:v41", "+IMAGE=" + NEW]
    setting.write()
    assert env.read_bytes() == b"# mine\r\nPASSWORD='x y'\r\nexport IMAGE='%s'\r\nLAST=1\r\n" % NEW.encode()
    assert env.stat().st_mode & 0o777 == 0o640
    again = setting_of(project(tmp_path), [web("${IMAGE}")], NEW)
    assert again.before == again.values and again.diff() == ""
    setting.take_back()
    assert b"IMAGE='app:v41'" in env.read_bytes() and [path.name for path in tmp_path.iterdir()] == [".env"]


def test_the_last_of_several_lines_counts(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TAG=v1\n#TAG=v0\nTAG=v2", encoding="utf-8")
    setting_of(project(tmp_path), [web("registry.example.org:5000/app:${TAG:-latest}")], NEW).write()
    assert (tmp_path / ".env").read_text(encoding="utf-8") == "TAG=v1\n#TAG=v0\nTAG=" + NEW.partition("app:")[2]


def test_a_variable_that_nobody_has_set_is_added_and_taken_away_again(tmp_path: Path) -> None:
    setting = setting_of(project(tmp_path), [web("${IMAGE}")], "app:v2")
    setting.write()
    assert (tmp_path / ".env").read_text(encoding="utf-8") == "IMAGE=app:v2\n"
    setting.take_back()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".env").write_text("A=1", encoding="utf-8")
    setting_of(project(tmp_path), [web("${IMAGE}")], "app:v2").write()
    assert (tmp_path / ".env").read_text(encoding="utf-8") == "A=1\nIMAGE=app:v2\n"


@pytest.mark.parametrize("written", ["app:v41", "other:${TAG}", "${REGISTRY}/app:${TAG}"])
def test_an_image_without_a_variable_of_its_own_gets_a_compose_file_of_ours(tmp_path: Path, written: str) -> None:
    setting = setting_of(project(tmp_path), [web(written)], NEW)
    assert (setting.variable, setting.path) == (False, str(tmp_path / FILE_NAME))
    setting.write()
    text = (tmp_path / FILE_NAME).read_text(encoding="utf-8")
    assert "services:\n  web:\n    image: %s\n" % json.dumps(NEW) in text
    worker = Service("worker", "app:v41", "app:v41", "")
    setting_of(project(tmp_path), [worker], "app:v43").write()
    assert '  web:\n    image: "%s"\n  worker:\n    image: "app:v43"\n' % NEW in (tmp_path / FILE_NAME).read_text(encoding="utf-8")


def test_services_that_are_written_differently_get_the_compose_file(tmp_path: Path) -> None:
    assert setting_of(project(tmp_path), [web("${IMAGE}"), web("app:${TAG}")], "app:v2").variable is False


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "shared.env").write_text("IMAGE=a\n", encoding="utf-8")
    (tmp_path / ".env").symlink_to("shared.env")
    setting_of(project(tmp_path), [web("$IMAGE")], "b").write()
    assert (tmp_path / ".env").is_symlink() and (tmp_path / "shared.env").read_text(encoding="utf-8") == "IMAGE=b\n"


def test_a_file_that_is_no_text_or_may_not_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfe")
    with pytest.raises(DbopsError, match=r"cannot be read .it is no text in UTF-8"):
        setting_of(project(tmp_path), [web("$IMAGE")], "b")
    (tmp_path / ".env").write_text("", encoding="utf-8")
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    with pytest.raises(DbopsError, match=r"may not write .*Nothing was touched"):
        setting_of(project(tmp_path), [web("$IMAGE")], "b")


def test_a_compose_file_of_ours_is_taken_back_to_what_it_said_of_these_services(tmp_path: Path) -> None:
    first = setting_of(project(tmp_path), [web("app:v41")], "app:v2")
    first.write()
    other = setting_of(project(tmp_path), [Service("worker", "", "app:v41", "")], "app:v3")
    other.write()
    first.take_back()
    assert (tmp_path / FILE_NAME).read_text(encoding="utf-8").count("image:") == 1
    other.take_back()
    assert list(tmp_path.iterdir()) == []


def refusing(error: OSError) -> t.Callable[..., None]:
    def refuse(*_given: t.Any) -> None:
        raise error

    return refuse


def test_a_file_that_another_owner_has_is_written_over_and_never_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("IMAGE=a-long-name-that-was-there\nPASSWORD=x\n", encoding="utf-8")
    monkeypatch.setattr(os, "chown", refusing(PermissionError(1, "no")))
    there = (tmp_path / ".env").stat().st_ino
    setting_of(project(tmp_path), [web("$IMAGE")], "b").write()
    assert (tmp_path / ".env").read_text(encoding="utf-8") == "IMAGE=b\nPASSWORD=x\n"
    assert (tmp_path / ".env").stat().st_ino == there and [path.name for path in tmp_path.iterdir()] == [".env"]


def test_a_full_disk_is_told_with_the_files_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("IMAGE=a\n", encoding="utf-8")
    monkeypatch.setattr(os, "fsync", refusing(OSError(28, "No space left on device")))
    with pytest.raises(DbopsError, match=r"\.env', which says which image is deployed, could not be written: No space left"):
        setting_of(project(tmp_path), [web("$IMAGE")], "b").write()
    assert (tmp_path / ".env").read_text(encoding="utf-8") == "IMAGE=a\n" and len(list(tmp_path.iterdir())) == 1


NAMES = st.sampled_from(["IMAGE", "OTHER", "IMAGE_TAG"])
VALUES = st.from_regex(r"[a-z0-9:/.]{0,9}", fullmatch=True)
LINES = st.one_of(
    st.builds(lambda name, quote, value: "%s=%s%s%s" % (name, quote, value, quote), NAMES, st.sampled_from(["", "'", '"']), VALUES),
    st.sampled_from(["", "# IMAGE=x", "  export IMAGE = a", "nonsense"]),
)


@given(lines=st.lists(LINES, max_size=8), ended=st.booleans())
def test_afterwards_the_variable_has_the_image_and_all_others_have_what_they_had(folder: Path, lines: list[str], ended: bool) -> None:
    text = "\n".join(lines) + ("\n" if ended and lines else "")
    (folder / ".env").write_text(text, encoding="utf-8")
    before = dict(parse_env_text(text.encode())[0])
    setting = setting_of(project(folder), [web("${IMAGE}")], NEW)
    assert setting.before == {name: value for name, value in before.items() if name == "IMAGE"}
    after = _with_variables(text, setting.values)
    assert dict(parse_env_text(after.encode())[0]) == {**before, "IMAGE": NEW}
    again = _with_variables(after, {"IMAGE": setting.before.get("IMAGE")})
    assert dict(parse_env_text(again.encode())[0]) == before
