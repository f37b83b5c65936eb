# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages through apprise's own library, to a receiver of this test."""

from __future__ import annotations

import http.server
import json
import sys
import threading
import typing as t
from collections.abc import Iterator

import pytest

pytest.importorskip("ansible.plugins.action")  # only a controller has it
pytest.importorskip("apprise")

from ansible_collections.dbops.postgres.plugins.module_utils.notification._message import FAILURE, RECOVERY, SUCCESS, Told
from ansible_collections.dbops.postgres.plugins.plugin_utils import apprise_messages, following
from ansible_collections.dbops.postgres.plugins.plugin_utils.apprise_messages import tell
from ansible_collections.dbops.postgres.plugins.plugin_utils.following import told_of

#: What apprise itself imports.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

TOLD = Told(FAILURE, "backup", "chat-production", "chat", "production", "20261123T030000_3f9a2c", "No room.")


class Receiver(http.server.BaseHTTPRequestHandler):
    got: t.ClassVar[list[dict[str, t.Any]]] = []
    answers: t.ClassVar[list[int]] = []

    def do_POST(self) -> None:
        self.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.answers.pop(0) if self.answers else 200)
        self.end_headers()

    def log_message(self, *_arguments: t.Any) -> None:
        pass


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(apprise_messages.time, "sleep", lambda _seconds: None)
    Receiver.got.clear()
    Receiver.answers.clear()
    server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"json://127.0.0.1:{server.server_port}/hidden-word"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(("kind", "shown"), [(FAILURE, "failure"), (RECOVERY, "success"), (SUCCESS, "info")])
def test_a_receiver_has_title_text_and_kind_once(address: str, kind: str, shown: str) -> None:
    told = Told(kind, *list(TOLD.__dict__.values())[1:])
    assert tell(told, [address]) == []
    [got] = Receiver.got
    assert (got["title"], got["message"], got["type"]) == (told.title, "No room.", shown)


def test_one_that_has_trouble_is_tried_again(address: str) -> None:
    Receiver.answers[:] = [500, 503]
    assert tell(TOLD, [address]) == []
    assert len(Receiver.got) == 3


def test_one_that_does_not_take_it_is_named_by_number_and_keeps_nobody_else_from_it(address: str) -> None:
    troubles = tell(TOLD, ["json://127.0.0.1:1/hidden-word", "no address", "nokind://x", address])
    assert [text.partition(" of ")[0] for text in troubles] == ["Receiver 1", "Receiver 2", "Receiver 3"]
    assert "hidden-word" not in "".join(troubles)
    assert len(Receiver.got) == 1


def test_a_controller_without_the_library_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    [trouble] = tell(TOLD, ["json://127.0.0.1/x"])
    assert "pip install apprise" in trouble


ARGUMENTS = {"database": "chat", "environment": "preview", "play": {"host": "chat-preview"}}


@pytest.mark.parametrize(
    ("result", "kind", "text"),
    [
        ({"operation": {"event": RECOVERY, "operation": "backup", "run_id": "r"}, "summary": ["Complete.", "more"]}, RECOVERY, "Complete."),
        ({"failed": True, "msg": "No room.", "operation": {"event": FAILURE, "operation": "backup", "run_id": "r"}}, FAILURE, "No room."),
        ({"failed": True, "msg": "Failed to connect"}, FAILURE, "Failed to connect"),
        ({"failed": True, "msg": "unsupported parameter"}, FAILURE, "unsupported parameter"),
    ],
)
def test_what_the_host_says_or_does_not_say_is_what_is_told(result: dict[str, t.Any], kind: str, text: str) -> None:
    told = told_of(result, ARGUMENTS)
    assert (told.kind, told.text, told.host, told.database, told.environment) == (kind, text, "chat-preview", "chat", "preview")


class Action:
    """The part of the action that tells."""

    def __init__(self, notify: dict[str, t.Any]) -> None:
        self.made = following.FollowingAction.__new__(following.FollowingAction)
        self.made._task = type("Task", (), {"args": {**ARGUMENTS, "notify": notify}})()
        self.warned: list[str] = []

    def trouble(self, text: str) -> None:
        self.warned.append(text)


@pytest.mark.parametrize(
    ("notify", "result", "number"),
    [
        ({}, {"failed": True, "msg": "x"}, 1),
        ({"events": ["success"]}, {"failed": True, "msg": "x"}, 0),
        ({}, {"summary": ["done"], "operation": {"event": SUCCESS}}, 0),
        ({"events": ["success"]}, {"summary": ["done"], "operation": {"event": SUCCESS}}, 1),
    ],
)
def test_only_the_events_that_are_wanted_are_told(address: str, notify: dict[str, t.Any], result: dict[str, t.Any], number: int) -> None:
    action = Action({**notify, "apprise": [address]})
    action.made._tell(result, action)
    assert len(Receiver.got) == number and action.warned == []
    Action(notify).made._tell(result, action)
    assert len(Receiver.got) == number, "without receivers nobody is told"
