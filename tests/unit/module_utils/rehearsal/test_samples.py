# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is seen while a migration works in a throwaway server, and that a disk that fills ends it."""

from __future__ import annotations

import contextlib
import time
import typing as t

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.rehearsal import _samples
from ansible_collections.dbops.postgres.plugins.module_utils.rehearsal._samples import LEAST_ROOM, Samples, sampled
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import ServerError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeConnection


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_samples, "INTERVAL", 0.005)


class Box:
    database, application = "chat", "dbops rehearse x"

    def __init__(self, **answers: t.Any) -> None:
        self.totals = [(1000, 500, 0), (9000, 700, 64)]
        self.connection = FakeConnection(
            {
                "pg_current_wal_insert_lsn": lambda *_: [self.totals.pop(0)],
                "l.relation::bigint": answers.get("locks", []),
                "query_start": answers.get("statements", []),
            }
        )

    def session(self, database: str) -> t.Any:
        assert database == "postgres", "a migration may end all sessions in its own"
        return contextlib.nullcontext(self.connection)


def watched(box: Box, seconds: float = 0.06, room: int | None = None, stop: t.Callable[[], None] = lambda: None) -> Samples:
    samples = Samples()
    with sampled(t.cast(t.Any, box), samples, lambda: room, stop):
        time.sleep(seconds)
    return samples


def test_locks_statements_and_bytes_are_seen() -> None:
    samples = watched(Box(locks=[(9, "ShareLock", "03:00")], statements=[(" CREATE INDEX a ", "03:00")]))
    assert (samples.wal, samples.size_before, samples.size_after, samples.temporary) == (8000, 500, 700, 64)
    [lock], [statement] = samples.locks, samples.statements
    assert (lock.what, lock.table) == ("ShareLock", 9) and 0 < lock.seconds <= samples.seconds
    assert statement.what == "CREATE INDEX a" and samples.looks > 1 and samples.trouble == ""


def test_what_cannot_be_seen_any_more_is_told_and_ends_nothing() -> None:
    samples = watched(Box(locks=ServerError("the server\n is gone")))
    assert samples.trouble == "the server is gone" and samples.seconds > 0


@pytest.mark.parametrize(("room", "stopped"), [(LEAST_ROOM, False), (LEAST_ROOM - 1, True), (None, False)])
def test_a_disk_that_fills_ends_it(room: int | None, stopped: bool) -> None:
    called: list[int] = []
    box = Box()
    samples = watched(box, 0.15, room, lambda: called.append(1))
    assert bool(samples.stopped) is stopped and called == [1] * stopped
    assert len(box.connection.said("pg_terminate_backend")) == stopped, "a statement goes on after its client is gone"
