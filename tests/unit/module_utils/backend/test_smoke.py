# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The user's own commands inside the application's container."""

from __future__ import annotations

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.backend import _smoke
from ansible_collections.dbops.postgres.plugins.module_utils.backend._smoke import Smoke, asked, first_failure, smoke_commands
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeClock, FakeDocker, container

APP = container("app", health_command=("/app/backend", "health"))


class Answering(FakeDocker):
    """A container whose programs end with these, one after the other."""

    def __init__(self, *outcomes: Outcome) -> None:
        super().__init__(APP)
        self.outcomes = list(outcomes)

    def exec(self, *_given: object, **_options: object) -> Outcome:
        return self.outcomes.pop(0)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    made = FakeClock()
    monkeypatch.setattr(_smoke, "time", made)
    return made


def test_commands_are_words_or_one_text() -> None:
    assert smoke_commands(["/app/backend check 'a b'", ["x", 1]], "dbops_deploy_smoke") == (("/app/backend", "check", "a b"), ("x", "1"))
    for wrong in ("'half", "", [], 7):
        with pytest.raises(DbopsError, match="in dbops_deploy_smoke is no command"):
            smoke_commands([wrong], "dbops_deploy_smoke")


def test_one_that_is_about_to_listen_is_asked_again() -> None:
    place = Answering(Outcome(1, "", "connection refused"), Outcome(0, "", ""))
    assert first_failure(place, APP, Smoke((("curl", "x"),), 5)) == ""
    assert place.outcomes == []


def test_one_that_fails_until_the_time_is_over_is_told() -> None:
    place = Answering(*[Outcome(22, "", "404\n")] * 50)
    assert first_failure(place, APP, Smoke((("curl", "x"),), 3)) == "'curl x' ended with 22: 404"


def test_one_that_hangs_is_not_asked_again() -> None:
    place = Answering(Outcome(-9, "", "", timed_out=True))
    assert first_failure(place, APP, Smoke((("curl", "x"),), 300)) == "'curl x' did not end within 60 s: nothing"


def test_what_was_asked_is_told() -> None:
    assert asked(APP, Smoke((("curl", "x"),))) == ["it is healthy", "'curl x' succeeds"]
    assert asked(container("app"), Smoke()) == []
