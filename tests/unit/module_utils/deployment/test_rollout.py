# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""New containers get well and stay so, or it is said why not."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.backend import _health, _smoke
from ansible_collections.dbops.postgres.plugins.module_utils.backend._smoke import Smoke
from ansible_collections.dbops.postgres.plugins.module_utils.deployment import _rollout
from ansible_collections.dbops.postgres.plugins.module_utils.deployment._project import Project
from ansible_collections.dbops.postgres.plugins.module_utils.deployment._rollout import Started, Wanted, last_words, roll_out
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeClock, FakeDocker, container

NEW = container("web", image_id="sha256:new", health_command=("check",), labels={"com.docker.compose.service": "web"})
WANTED = Wanted(Project("shop", "/srv", ("/srv/compose.yml",)), {"web": "sha256:new"}, {"web": 1}, Smoke((("smoke",),), 10), 3)


class Place(FakeDocker):
    """Compose makes ``NEW``; ``later`` is what becomes of it, by the second on the clock."""

    def __init__(self, clock: FakeClock, **later: Container | None) -> None:
        super().__init__()
        self.clock, self.begun = clock, clock.now
        self.later = {float(name[1:]): found for name, found in later.items()}
        self.refused = ""
        self.made = [NEW]

    def compose(self, _argv: t.Sequence[str], _seconds: float, _env: t.Any = None) -> Outcome:
        return Outcome(1, "", self.refused) if self.refused else Outcome(0, "", "")

    def of_project(self, _project: str, _services: t.Iterable[str]) -> list[Container]:
        return list(self.made)

    def present(self, containers: t.Iterable[Container]) -> list[Container]:
        seen = NEW
        for second, found in sorted(self.later.items()):
            if self.clock.now - self.begun >= second:
                if found is None:
                    return []
                seen = found
        return [seen for _container in containers]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    made = FakeClock()
    for module in (_health, _smoke, _rollout):
        monkeypatch.setattr(module, "time", made)
    return made


def rolled(place: Place, **changes: t.Any) -> Started:
    return roll_out(t.cast(t.Any, place), replace(WANTED, **changes))


def test_what_gets_well_and_stays_so_is_started(clock: FakeClock) -> None:
    found = rolled(Place(clock))
    assert (found.trouble, found.containers) == ("", (NEW,))
    assert (found.well_seconds, clock.now) == (0, 1003)


def test_what_compose_refuses_is_told(clock: FakeClock) -> None:
    place = Place(clock)
    place.refused = "no such image"
    assert rolled(place).trouble == "Docker Compose could not start it: no such image"
    place.refused, place.made = "", []
    assert "no container of web" in rolled(place).trouble


def test_another_image_than_the_planned_one_is_told(clock: FakeClock) -> None:
    place = Place(clock)
    place.made = [replace(NEW, image_id="sha256:moved")]
    assert "another one now than the one that was planned" in rolled(place).trouble


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"status": "exited", "exit_code": 3}, "ends as soon as it is started (exit status 3, 0 restarts)"),
        ({"status": "restarting", "restarts": 4, "exit_code": 1}, "ends as soon as it is started (exit status 1, 4 restarts)"),
        ({"status": "created", "trouble": "exec: no such file"}, "could not be started: exec: no such file"),
    ],
)
def test_one_that_ends_is_not_waited_for(clock: FakeClock, state: dict[str, t.Any], told: str) -> None:
    place = Place(clock, s1=replace(NEW, **state))
    place.on_exec = lambda _container, _argv: Outcome(1, "", "not yet")
    assert told in rolled(place).trouble
    assert clock.now - place.begun < 3


def test_one_that_never_gets_healthy_is_told_after_its_time(clock: FakeClock) -> None:
    place = Place(clock)
    place.on_exec = lambda _container, _argv: Outcome(1, "", "not yet")
    assert "is not healthy: its check 'check' says: not yet" in rolled(place).trouble
    assert clock.now - place.begun == pytest.approx(10, abs=0.5)


def test_one_whose_smoke_command_fails_is_told(clock: FakeClock) -> None:
    place = Place(clock)
    place.on_exec = lambda _container, argv: Outcome(int(argv == ("smoke",)), "", "404")
    assert rolled(place).trouble == "In container 'web', 'smoke' ended with 1: 404"


@pytest.mark.parametrize(
    "later", [replace(NEW, status="exited"), replace(NEW, restarts=1), None], ids=["ended", "started again", "removed"]
)
def test_one_that_was_well_and_dies_is_told(clock: FakeClock, later: Container | None) -> None:
    assert rolled(Place(clock, s2=later)).trouble == "Container 'web' was well, and ended within 3 s."
    assert rolled(Place(clock, s2=later), settle=1).trouble == ""


def test_its_last_words_are_one_line(clock: FakeClock) -> None:
    place = Place(clock)
    place.texts = {NEW.id: "begins\n\n  cannot find x \n"}
    assert last_words(t.cast(t.Any, place), [NEW]) == "begins | cannot find x"
