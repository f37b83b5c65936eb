# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Environment files: read as Compose reads them; what cannot be read is a sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbops.postgres.plugins.module_utils.backend._env_file import EnvFile, find_env_files, parse_env_text, read_env_file

PLAIN = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x3FF, exclude_characters="\"'#\\$", exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")),
    min_size=1,
)


@given(value=PLAIN, export=st.booleans(), quote=st.sampled_from(["", "'", '"']), end=st.sampled_from(["\n", "\r\n", ""]))
def test_a_value_is_what_was_written(value: str, export: bool, quote: str, end: str) -> None:
    line = "# before\n%sURL=%s%s%s%s" % ("export " if export else "", quote, value, quote, end)
    pairs, oddities = parse_env_text(line.encode())
    assert pairs == (("URL", value),)
    assert bool(oddities) is (end == "\r\n")


@given(st.binary(max_size=300))
def test_any_bytes_are_read(data: bytes) -> None:
    pairs, _oddities = parse_env_text(data)
    assert all(name for name, _value in pairs)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("URL=a b  # why", "a b"),
        ("URL=a#b", "a#b"),
        ("URL='a # b'  # why", "a # b"),
        ('URL="a\\"b\\n"', 'a"b\n'),
        ("URL = a", "a"),
        ("URL: a", "a"),
        ("URL=", ""),
        ("URL='open", "'open"),
        ('URL="open', '"open'),
        ("\ufeffURL=a", "a"),
    ],
)
def test_quotes_and_comments(text: str, value: str) -> None:
    assert parse_env_text(text.encode())[0] == (("URL", value),)


def test_several_values_of_one_variable_are_all_known() -> None:
    assert EnvFile("x", pairs=(("URL", "a"), ("B", "c"), ("URL", "b"))).values("URL") == ["a", "b"]


def test_bytes_that_are_no_text_are_odd() -> None:
    assert parse_env_text(b"URL=a\0b\n")[1] == ("holds bytes that are no text",)


@pytest.fixture
def branches(tmp_path: Path) -> Path:
    """Two projects and one folder that is none."""
    for name, files in (("one", [".env.preview", "compose.yml"]), ("two", ["docker-compose.preview.yml"]), ("notes", ["x.txt"])):
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).write_text("URL=%s\n" % name)
    return tmp_path


def test_every_file_that_fits_is_read_and_a_projects_missing_one_is_named(branches: Path) -> None:
    found = {Path(item.path).parent.name: item for item in find_env_files([str(branches / "*" / ".env.preview")])}
    assert sorted(found) == ["one", "two"]
    assert found["one"].values("URL") == ["one"] and not found["one"].trouble
    assert found["two"].trouble == "is missing"


def test_a_file_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    [item] = find_env_files([str(tmp_path / ".env")])
    assert item.trouble == "is missing"


def test_a_pattern_that_fits_nothing_is_nothing(tmp_path: Path) -> None:
    assert find_env_files([str(tmp_path / "*" / ".env")]) == []


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert read_env_file(str(tmp_path / "folder")).trouble.startswith("is a folder")
    os.mkfifo(tmp_path / "pipe")
    assert read_env_file(str(tmp_path / "pipe")).trouble == "is no ordinary file"
    assert read_env_file(str(tmp_path / "folder" / "gone")).trouble == "is missing"


def test_a_file_of_somebody_else_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "stat", refuse)
    assert read_env_file(str(tmp_path / ".env")).trouble == "cannot be read by this user (Permission denied)"


def test_of_a_huge_file_only_the_beginning_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"URL=a\n" + b"#" * 3_000_000 + b"\nOTHER=b\n")
    assert read_env_file(str(tmp_path / ".env")).pairs == (("URL", "a"),)
