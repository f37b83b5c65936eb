# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tar for a ticket: whole or not there, private, and without a secret."""

from __future__ import annotations

import stat
import tarfile
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._bundle import write_bundle
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._redaction import MASK, Redactor, masked_by_form


def contents(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read().decode() for member in archive.getmembers()}  # type: ignore[union-attr]


def test_secrets_are_gone_by_value_and_by_form(tmp_path: Path) -> None:
    redactor = Redactor()
    redactor.add("hid@den")
    files = {"logs/a.log": "x hid@den hid%40den y", "report.txt": "postgresql://u:unknown@db/chat PASSWORD 'it''s' é \udcff"}
    size = write_bundle(str(tmp_path / "b.tgz"), files, redactor, 1700000000.5)
    assert contents(tmp_path / "b.tgz") == {
        "diagnosis/logs/a.log": "x %s %s y" % (MASK, MASK),
        "diagnosis/report.txt": "postgresql://u:%s@db/chat PASSWORD %s é ?" % (MASK, MASK),
    }
    assert size == (tmp_path / "b.tgz").stat().st_size
    assert stat.S_IMODE((tmp_path / "b.tgz").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["b.tgz"]


def test_an_older_bundle_is_replaced(tmp_path: Path) -> None:
    for text in ("first", "second"):
        write_bundle(str(tmp_path / "b.tgz"), {"a": text}, Redactor(), 0)
    assert contents(tmp_path / "b.tgz") == {"diagnosis/a": "second"}


def test_where_it_cannot_be_written_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "missing" / "b.tgz", tmp_path / "folder"):
        with pytest.raises(DbopsError, match=r"The bundle '.*' cannot be written: .*dbops_diagnose_bundle"):
            write_bundle(str(path), {"a": "b"}, Redactor(), 0)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("dial postgresql://postgres:un%40known@db:5432/chat", "un%40known"),
        ("dial postgresql://postgres:un/kn@own@db:5432/chat", "un/kn@own"),
        ("host=db password=unknown dbname=chat", "unknown"),
        ("password='un known' x", "un known"),
        ('{"Password": "unknown", "user": "u"}', "unknown"),
        ("DB_PASSWORD: unknown", "unknown"),
        ("api_key=unknown", "unknown"),
        ("STATEMENT:  ALTER ROLE x PASSWORD 'un''known'", "un''known"),
    ],
)
def test_what_stands_where_secrets_stand_is_masked(text: str, secret: str) -> None:
    assert secret not in masked_by_form(text)
    assert MASK in masked_by_form(text)


@pytest.mark.parametrize("text", ['password authentication failed for user "postgres"', "https://example.com/a@b", "a token was seen"])
def test_what_is_no_secret_stays_readable(text: str) -> None:
    assert masked_by_form(text) == text
