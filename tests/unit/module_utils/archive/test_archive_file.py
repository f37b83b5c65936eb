# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives of pg_dump's own formats: who wrote them is told truly."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.archive._archive_file import Heading, failure_of_reading, read_heading
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome


def number(value: int) -> bytes:
    return b"\0" + value.to_bytes(4, "little")


def heading(minor: int, *texts: str) -> bytes:
    compression = b"\1" if minor >= 15 else number(1)
    written = b"".join(number(len(text)) + text.encode() for text in texts)
    return b"PGDMP" + bytes([1, minor, 0, 4, 8, 1]) + compression + number(0) * 7 + written


@pytest.mark.parametrize("minor", [14, 15, 16])
def test_the_heading_of_an_archive_tells_who_wrote_it(tmp_path: Path, minor: int) -> None:
    path = tmp_path / "x.dump"
    path.write_bytes(heading(minor, "chat", "16.10 (Debian)", "18.1") + b"rest")
    assert read_heading(str(path)) == Heading("1.%d" % minor, "16.10 (Debian)", "18.1")


def test_what_cannot_be_told_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "x.dump"
    path.write_bytes(heading(16, "chat")[:-3])
    assert read_heading(str(path)) == Heading("1.16")
    path.write_bytes(b"--\n-- PostgreSQL database dump\n")
    assert read_heading(str(path)) is None


def test_an_archive_of_a_newer_pg_dump_is_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.dump"
    path.write_bytes(heading(16, "chat", "16.10", "18.1"))
    said = Outcome(1, "", "pg_restore: error: unsupported version (1.16) in file header\n")
    message = failure_of_reading(str(path), "/x.dump", said, "postgres:16").message
    assert message.startswith(
        "'/x.dump' was written by pg_dump 18.1 (archive version 1.16), and the pg_restore of image 'postgres:16' is too old"
    )
    assert "not damaged" in message and message.endswith("dbops_restore_tools_image=postgres:18")
    cut = Outcome(1, "", "pg_restore: error: could not read from input file: end of file\n")
    assert failure_of_reading(str(path), "/x.dump", cut, "postgres:16").message.endswith("It is cut off or damaged: use another one.")
