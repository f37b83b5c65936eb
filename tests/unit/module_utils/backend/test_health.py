# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Backends after an operation: their own health check decides, a restart only where it is needed."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.backend import _health
from ansible_collections.dbops.postgres.plugins.module_utils.backend._health import Recovery
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import EngineError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeClock, FakeDocker, container

CHECK = ("/app/backend", "health")
GOOD = container("good", health_command=CHECK)
SICK = container("sick", health_command=CHECK)
PLAIN = container("plain")
STOPPED = container("stopped", status="exited", health_command=CHECK)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(_health, "time", clock)
    return clock


def engine(*containers: t.Any, well: t.Callable[[str], bool] = lambda _name: True) -> FakeDocker:
    docker = FakeDocker(*containers)
    docker.on_exec = lambda identifier, _argv: Outcome(0, "", "") if well(identifier) else Outcome(1, "no\n database", "")
    return docker


def test_a_backend_is_well_when_its_own_check_passes_now(clock: FakeClock) -> None:
    docker = engine(GOOD)
    assert _health.wait_until_healthy(docker, [GOOD], 60) == {}
    assert docker.executed == [("good-id", CHECK)]
    assert clock.now == 1000


def test_a_backend_without_a_check_is_well_while_it_runs() -> None:
    assert _health.unhealthy(engine(PLAIN), [PLAIN], 60) == []


def test_a_backend_that_gets_well_is_waited_for(clock: FakeClock) -> None:
    docker = engine(GOOD, well=lambda _name: clock.now >= 1005)
    assert _health.unhealthy(docker, [GOOD], 60) == []
    assert 1005 <= clock.now < 1006


def test_a_backend_that_stays_sick_says_what_its_check_says(clock: FakeClock) -> None:
    docker = engine(SICK, well=lambda _name: False)
    assert _health.unhealthy(docker, [SICK], 3) == ["Backend 'sick' is not healthy: its check '/app/backend health' says: no database"]
    assert 1003 <= clock.now < 1004


def test_a_check_without_words_shows_its_exit_status() -> None:
    docker = FakeDocker(SICK)
    docker.on_exec = lambda _name, _argv: Outcome(2, "", "")
    assert "exit status 2" in _health.unhealthy(docker, [SICK], 0)[0]


@pytest.mark.parametrize("seen", [replace(GOOD, status="exited"), replace(GOOD, restarts=3), replace(GOOD, status="restarting")])
def test_a_backend_that_crashed_since_is_not_well(seen: t.Any) -> None:
    assert "look at 'docker logs good'" in _health.unhealthy(engine(seen), [GOOD], 0)[0]


def test_a_backend_that_was_replaced_meanwhile_is_not_well_rather_than_an_error() -> None:
    assert _health.unhealthy(engine(), [GOOD], 0) == ["Backend 'good' was removed."]


def test_a_backend_that_was_stopped_on_purpose_is_left_alone() -> None:
    docker = engine(STOPPED, well=lambda _name: False)
    assert _health.unhealthy(docker, [STOPPED], 60) == []
    assert _health.bring_back(docker, [STOPPED], "always", 60) == Recovery((), (), ())
    assert docker.restarted == [] and docker.executed == []


def test_who_is_sick_before_is_known_and_not_judged_afterwards(clock: FakeClock) -> None:
    docker = engine(GOOD, SICK, STOPPED, well=lambda name: name == "good-id")
    before = _health.sick(docker, [GOOD, SICK, STOPPED])
    assert before == ["sick"]
    assert clock.now == 1000
    assert _health.unhealthy(docker, [GOOD, SICK, STOPPED], 60, before) == []


# --- restarting -----------------------------------------------------------------------------------------------------------


def test_auto_restarts_only_what_does_not_reconnect_by_itself(clock: FakeClock) -> None:
    docker = engine(GOOD, SICK, well=lambda name: name == "good-id")
    recovery = _health.bring_back(docker, [GOOD, SICK], "auto", 60, ["sick"])
    assert recovery == Recovery(("sick",), (), ("good",))
    assert docker.restarted == ["sick-id"]
    assert 1000 + _health.RECONNECT_SECONDS <= clock.now < 1000 + _health.RECONNECT_SECONDS + 1


def test_auto_asks_who_is_well_only_once() -> None:
    docker = engine(GOOD)
    assert _health.bring_back(docker, [GOOD], "auto", 60) == Recovery((), (), ("good",))
    assert docker.executed == [("good-id", CHECK)]


def test_who_was_restarted_and_gets_well_is_not_complained_of() -> None:
    docker = engine(SICK, well=lambda _name: docker.restarted == ["sick-id"])
    assert _health.bring_back(docker, [SICK], "auto", 60) == Recovery(("sick",), (), ("sick",))


@pytest.mark.parametrize("how", ["auto", "always", "never"])
def test_who_was_sick_before_and_is_well_now_is_named(how: str) -> None:
    recovery = _health.bring_back(engine(GOOD, SICK), [GOOD, SICK], how, 60, ["sick"])
    assert recovery.healthy == ("good", "sick") and recovery.unhealthy == ()


def test_who_was_sick_before_is_not_waited_for(clock: FakeClock) -> None:
    docker = engine(GOOD, SICK, well=lambda name: name == "good-id")
    assert _health.bring_back(docker, [GOOD, SICK], "never", 60, ["sick"]) == Recovery((), (), ("good",))
    assert clock.now == 1000


def test_many_that_do_not_reconnect_are_waited_for_together(clock: FakeClock) -> None:
    many = [container("sick-%d" % number, health_command=CHECK) for number in range(20)]
    docker = engine(*many, well=lambda _name: bool(docker.restarted))
    recovery = _health.bring_back(docker, many, "auto", 60)
    names = tuple(item.name for item in many)
    assert recovery == Recovery(names, (), names)
    assert clock.now < 1000 + _health.RECONNECT_SECONDS + 1


def test_auto_does_not_wait_longer_than_it_may(clock: FakeClock) -> None:
    recovery = _health.bring_back(engine(SICK, well=lambda _name: False), [SICK], "auto", 2)
    assert recovery.restarted == ("sick",) and "Backend 'sick' is not healthy" in recovery.unhealthy[0]
    assert clock.now < 1005


def test_always_restarts_all_and_never_none() -> None:
    docker = engine(GOOD, SICK, well=lambda _name: False)
    assert _health.bring_back(docker, [GOOD, SICK], "never", 1).restarted == ()
    assert _health.bring_back(docker, [GOOD, SICK], "always", 1).restarted == ("good", "sick")
    assert sorted(docker.restarted) == ["good-id", "sick-id"]


@pytest.mark.parametrize("how", ["auto", "always"])
def test_a_restart_that_fails_is_no_error_here_since_health_is_asked_afterwards(how: str) -> None:
    def refuse(_name: str) -> None:
        raise EngineError("no")

    docker = engine(SICK, GOOD, well=lambda name: name == "good-id")
    docker.on_restart = refuse
    recovery = _health.bring_back(docker, [SICK], how, 1)
    assert recovery.restarted == () and recovery.unhealthy


# --- logs -----------------------------------------------------------------------------------------------------------------


def test_error_lines_are_found_with_their_container() -> None:
    docker = FakeDocker(GOOD, SICK)
    docker.texts = {
        "good-id": "all well\nno errors here\nlevel=error msg=x\n",
        "sick-id": "ERROR: one\n  2026 FATAL two  \npanic: three\nterror\nerrors: 0\n",
    }
    assert _health.new_error_lines(docker, [GOOD, SICK], "2026-11-23T03:00:00Z") == [
        "good: level=error msg=x",
        "sick: ERROR: one",
        "sick: 2026 FATAL two",
        "sick: panic: three",
    ]


def test_only_the_newest_error_lines_are_shown_and_long_ones_are_cut() -> None:
    docker = FakeDocker(GOOD)
    docker.texts = {"good-id": "\n".join("error %d %s" % (number, "x" * 1000) for number in range(50))}
    found = _health.new_error_lines(docker, [GOOD], "x", most=3)
    assert [line.split()[2] for line in found] == ["47", "48", "49"]
    assert max(map(len, found)) < 520
