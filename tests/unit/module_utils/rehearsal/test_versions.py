# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a version of the application works: it is so only where it was seen, and stays so."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.backend import _health
from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import Runner
from ansible_collections.dbops.postgres.plugins.module_utils.backend._smoke import Smoke
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container, Image
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.rehearsal import _versions
from ansible_collections.dbops.postgres.plugins.module_utils.rehearsal._versions import (
    FAILS,
    UNKNOWN,
    WORKS,
    try_version,
)
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import EngineError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeClock, FakeDocker, container, operation

CHECKED = container(health_command=("/app/backend", "health"), program=("/app/backend", "serve"), user="65532")
IMAGE = Image("sha256:backend", {}, (), {}, program=("/app/backend", "serve"))
RUNNER = Runner(("/app/backend", "migrate"), "chat-backend:v1", "sha256:backend", CHECKED, {"DATABASE_URL": "postgres://db/chat"})


class Place(FakeDocker):
    """An engine in which a started container is ``made``; ``later`` is what has become of it after so many looks."""

    def __init__(self, made: Container, later: Container | None = None, looks: int = 99) -> None:
        super().__init__(CHECKED, images={"sha256:backend": IMAGE})
        self.made, self.later, self.looks = made, later, looks
        self.started: list[t.Any] = []
        self.trouble: EngineError | None = None

    def start(self, job: t.Any) -> Container:
        if self.trouble:
            raise self.trouble
        self.started.append(job)
        self.containers[self.made.id] = self.made
        return self.made

    def present(self, containers: t.Iterable[Container]) -> list[Container]:
        self.looks -= 1
        if self.looks < 0 and self.later:
            self.containers[self.made.id] = self.later
        return super().present(containers)


class Box:
    network = "dbops-proof"
    ended = 0

    def end_sessions(self) -> None:
        self.ended += 1


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(_versions, "time", clock)
    monkeypatch.setattr(_health, "time", clock)
    return clock


def tried(tmp_path: Path, place: Place, smoke: Smoke | None = None, runner: Runner = RUNNER) -> t.Any:
    box = Box()
    found = try_version(operation(tmp_path, docker=place), t.cast(t.Any, box), runner, "running", smoke or Smoke())
    if place.started:
        assert ("container", place.made.id) in place.removed and box.ended == 1
    return found


MADE = container("made")


def test_one_that_is_healthy_and_passes_the_commands_works(tmp_path: Path) -> None:
    place = Place(MADE)
    found = tried(tmp_path, place, Smoke((("/app/backend", "check"),)))
    assert (found.state, found.evidence) == (WORKS, "It starts, it is healthy, '/app/backend check' succeeds.")
    [job] = place.started
    assert (job.network, job.user, job.keep_entrypoint, job.argv) == ("dbops-proof", "65532", True, ())
    assert job.env == RUNNER.env and job.labels
    assert place.executed == [("made-id", ("/app/backend", "health")), ("made-id", ("/app/backend", "check"))]


def test_a_container_with_a_command_of_its_own_is_started_with_that(tmp_path: Path) -> None:
    other = replace(RUNNER, container=replace(CHECKED, program=("/app/backend", "serve", "--port", "81")))
    place = Place(MADE)
    tried(tmp_path, place, runner=other)
    assert (place.started[0].keep_entrypoint, place.started[0].argv) == (False, ("/app/backend", "serve", "--port", "81"))


@pytest.mark.parametrize("looks", [0, 1, 2])
def test_one_that_dies_at_whatever_moment_does_not_work(tmp_path: Path, looks: int) -> None:
    place = Place(MADE, replace(MADE, status="exited", exit_code=3), looks)
    place.texts = {"made-id": "ERROR: no column name"}
    found = tried(tmp_path, place)
    assert found.state == FAILS and "ended" in found.evidence and "It says: ERROR: no column name" in found.evidence


def test_one_that_had_ended_before_anybody_looked_does_not_work(tmp_path: Path) -> None:
    found = tried(tmp_path, Place(replace(MADE, status="exited", exit_code=1)))
    assert (found.state, found.evidence[:36]) == (FAILS, "It has ended with exit status 1. It ")


def test_one_that_never_gets_healthy_is_waited_for_no_longer_than_said(tmp_path: Path, clock: FakeClock) -> None:
    place = Place(MADE)
    place.on_exec = lambda _container, _argv: Outcome(1, "", "connection refused")
    found = tried(tmp_path, place, Smoke(seconds=5))
    assert found.state == FAILS and "connection refused" in found.evidence
    assert 1005 <= clock.now < 1008


@pytest.mark.parametrize(
    ("outcome", "said"), [(Outcome(2, "", "no table"), "ended with 2: no table"), (Outcome(0, "", "", True), "did not end")]
)
def test_a_command_of_the_users_that_fails_is_told(tmp_path: Path, outcome: Outcome, said: str) -> None:
    place = Place(MADE)
    place.on_exec = lambda _container, argv: outcome if argv == ("check",) else Outcome(0, "", "")
    found = tried(tmp_path, place, Smoke((("check",),)))
    assert found.state == FAILS and said in found.evidence


def test_where_nothing_asks_it_nothing_is_known(tmp_path: Path) -> None:
    found = tried(tmp_path, Place(MADE), runner=replace(RUNNER, container=replace(CHECKED, health_command=())))
    assert found.state == UNKNOWN and "dbops_rehearse_smoke" in found.evidence


def test_one_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    place = Place(MADE)
    place.trouble = EngineError("no such file")
    found = tried(tmp_path, place)
    assert (found.state, found.evidence) == (FAILS, "It could not be started: no such file")
