# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The user's own event triggers sleep while we build, and are afterwards what they were."""

from __future__ import annotations

from ansible_collections.dbops.postgres.plugins.module_utils.server._event_triggers import silenced
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeConnection

STATES = [("audit", "O"), ("standby's own", "R"), ("always", "A")]


def test_from_17_on_a_session_switches_them_off() -> None:
    connection = FakeConnection(server_version=170000)
    with silenced(connection):
        connection.statements.append("work")
    assert connection.statements == ["SET event_triggers = off", "work", "RESET event_triggers"]


def test_before_they_are_disabled_and_get_back_what_they_had() -> None:
    connection = FakeConnection({"FROM pg_event_trigger": STATES}, server_version=160000)
    with silenced(connection):
        connection.statements.append("work")
    assert connection.statements[1:4] == ['ALTER EVENT TRIGGER "%s" DISABLE' % name for name, _state in STATES]
    assert connection.statements[5:] == [
        'ALTER EVENT TRIGGER "audit" ENABLE',
        'ALTER EVENT TRIGGER "standby\'s own" ENABLE REPLICA',
        'ALTER EVENT TRIGGER "always" ENABLE ALWAYS',
    ]
