# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The history: nothing that was written is lost, whatever happens to the line after it."""

from __future__ import annotations

import datetime
import os
import stat
import threading
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.archive._journal import FILE_NAME, append, read
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError


def test_entries_come_back_in_order(tmp_path: Path) -> None:
    for number in range(3):
        append(str(tmp_path), {"number": number, "text": "a\nb\u2028c é"})
    assert [entry["number"] for entry in read(str(tmp_path))] == [0, 1, 2]
    assert read(str(tmp_path))[0]["text"] == "a\nb\u2028c é"
    assert len((tmp_path / FILE_NAME).read_bytes().splitlines()) == 3


def test_the_file_is_private(tmp_path: Path) -> None:
    append(str(tmp_path), {"a": 1})
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


def test_only_the_newest_entries_are_read(tmp_path: Path) -> None:
    for number in range(5):
        append(str(tmp_path), {"number": number})
    assert [entry["number"] for entry in read(str(tmp_path), last=2)] == [3, 4]


def test_json_that_is_no_entry_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b'5\n[]\nnull\n"x"\n{}\n\xff\xfe{\n')
    append(str(tmp_path), {"number": 1})
    assert read(str(tmp_path)) == [{"number": 1}]


def test_a_folder_without_a_journal_has_no_history(tmp_path: Path) -> None:
    assert read(str(tmp_path)) == []
    assert read(str(tmp_path / "missing")) == []


def test_every_cut_of_the_last_line_loses_only_that_line(tmp_path: Path) -> None:
    append(str(tmp_path), {"number": 1})
    whole = (tmp_path / FILE_NAME).read_bytes()
    append(str(tmp_path), {"number": 2})
    both = (tmp_path / FILE_NAME).read_bytes()
    for end in range(len(whole), len(both) - 1):
        (tmp_path / FILE_NAME).write_bytes(both[:end])
        append(str(tmp_path), {"number": 3})
        numbers = [entry["number"] for entry in read(str(tmp_path))]
        assert numbers in ([1, 3], [1, 2, 3]), both[:end]


def test_lines_that_are_no_entries_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b'\n{"number": 1}\n\x00\xff\n{"number"\n{"number": 2}\n')
    assert [entry["number"] for entry in read(str(tmp_path))] == [1, 2]


def test_what_is_no_json_is_written_as_text(tmp_path: Path) -> None:
    append(str(tmp_path), {"at": datetime.date(2026, 11, 23)})
    assert read(str(tmp_path)) == [{"at": "2026-11-23"}]


def test_a_journal_that_cannot_be_written_or_read_says_so(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(DbopsError, match="cannot be written"):
        append(str(tmp_path), {})
    with pytest.raises(DbopsError, match="cannot be read"):
        read(str(tmp_path))


def test_a_full_disk_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(str(tmp_path), {"number": 1})
    monkeypatch.setattr(os, "write", lambda _descriptor, data: len(data) - 1)
    with pytest.raises(DbopsError, match="cannot be written"):
        append(str(tmp_path), {"number": 2})


def test_lines_of_two_runs_never_mix(tmp_path: Path) -> None:
    def write(name: str) -> None:
        for _time in range(50):
            append(str(tmp_path), {"name": name * 200})

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(entry["name"][0] for entry in read(str(tmp_path))) == ["a"] * 50 + ["b"] * 50 + ["c"] * 50
