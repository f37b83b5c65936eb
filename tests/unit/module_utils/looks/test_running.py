# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.looks._running import look_at_runs
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Result
from ansible_collections.dbops.postgres.plugins.module_utils.operation._request import Inquiry
from ansible_collections.dbops.postgres.plugins.module_utils.progress import _run_files
from ansible_collections.dbops.postgres.plugins.module_utils.progress._progress import Progress
from ansible_collections.dbops.postgres.plugins.module_utils.progress._run_files import RunFiles
from ansible_collections.dbops.postgres.plugins.module_utils.text._redaction import Redactor
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import RUN, operation

TARGET = {"database": "chat", "container": "chat-postgres-prod", "compose_project": "", "compose_service": "", "port": "5432"}


def begin(token: str, **changes: t.Any) -> RunFiles:
    run = RunFiles(str(Path(_run_files.root()) / token), token, "restore", "chat-production", TARGET, "d", "alice", "2026-11-23T03:00:00Z")
    run = replace(run, **{"pid": os.getpid(), "ticks": _run_files.ticks_of(os.getpid()), **changes})
    _run_files.prepare(run)
    run.describe()
    progress = Progress()
    progress.enter("restore: load")
    run.tell(progress.standing())
    return run


def look(folder: Path) -> Result:
    request = operation(str(folder), risk=Risk.READ).request
    return look_at_runs(Inquiry(request, Redactor(), RUN, "2026-11-23T03:00:00Z"), TARGET)


def looked(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Result:
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    if not _run_files.known_runs():
        begin("aa")
    return look(folder)


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_what_works_now_is_told_with_the_line_that_ends_it(tmp_path: Path) -> None:
    run = begin("aa")
    begin("bb", target=dict(TARGET, database="other"))
    found = look(tmp_path)
    [line] = found.summary
    assert line.startswith("The restore of database 'chat', begun at 2026-11-23T03:00:00Z by 'alice': restore: load, 0.0 s.")
    assert line.endswith("kill -TERM %d" % run.pid)
    [told] = found.facts["runs"]
    assert (told["token"], told["alive"], told["standing"]["phase"]) == ("aa", True, "restore: load")
    assert found.changed is False


def test_where_nothing_works_it_says_what_was_not_looked_at(tmp_path: Path) -> None:
    [line] = look(tmp_path).summary
    assert line.startswith("No operation on database 'chat' works now that user ") and "status.yml" in line


def test_one_that_ended_while_nobody_looked_says_how_to_have_its_result(tmp_path: Path) -> None:
    run = begin("aa", pid=2**22 + 1, ticks=7)
    Path(run.path(_run_files.RESULT)).write_text("{}")
    os.utime(run.path(_run_files.SEEN), (1, 1))
    ended, nothing = look(tmp_path).summary
    assert "type the line that began it once more" in ended and nothing.startswith("No operation")
