# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a webhook and a heartbeat are told, over real HTTP; and that one that does not answer costs a warning at most."""

from __future__ import annotations

import http.server
import json
import threading
import typing as t

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.notification import _post
from ansible_collections.dbops.postgres.plugins.module_utils.notification._message import FAILURE, RECOVERY, SUCCESS, Told, kind_of
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, Interrupted

#: The oldest Python of a target is tested without Ansible.
open_url = pytest.importorskip("ansible.module_utils.urls").open_url


class Receiver:
    """A web server that answers with one status after the other, the last one again and again, and remembers what it was told."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.told: list[tuple[str, str, str]] = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                receiver.told.append((self.path, self.headers["Content-Type"], body))
                self.send_response(receiver.statuses.pop(0) if len(receiver.statuses) > 1 else receiver.statuses[0])
                self.end_headers()

            def log_message(self, *_arguments: t.Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d/hook/of-ours" % self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver(request: pytest.FixtureRequest) -> t.Iterator[Receiver]:
    made = Receiver(*getattr(request, "param", (200,)))
    yield made
    made.close()


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(_post.time, "sleep", slept.append)
    return slept


TOLD = Told(FAILURE, "backup", "chat-production", "chat", "production", "20261123T030000_3f9a2c", "There is no room.")


def test_a_webhook_gets_what_chats_and_programs_read(receiver: Receiver) -> None:
    _post.tell_webhook(receiver.url, TOLD.payload(), open_url)
    [(path, kind, body)] = receiver.told
    data = json.loads(body)
    assert (path, kind) == ("/hook/of-ours", "application/json")
    assert data["text"] == data["content"] == "backup of 'chat' on chat-production (production) failed: There is no room."
    assert (data["title"], data["body"]) == ("backup of 'chat' on chat-production (production) failed", "There is no room.")
    assert "type" not in data, "Mattermost takes that for a kind of post"
    assert (data["event"], data["operation"], data["run_id"]) == ("failure", "backup", "20261123T030000_3f9a2c")


def test_a_long_message_is_cut() -> None:
    assert len(Told(SUCCESS, "b", "h", "d", "e", "r", "x" * 5000).payload()["text"]) < 1700


@pytest.mark.parametrize("receiver", [(500, 503, 200)], indirect=True)
def test_it_is_tried_again(receiver: Receiver, pauses: list[float]) -> None:
    _post.tell_webhook(receiver.url, TOLD.payload(), open_url)
    assert len(receiver.told) == 3 and pauses == [1, 4]


@pytest.mark.parametrize(
    ("receiver", "times", "said"),
    [((500,), 3, "it says 500"), ((404,), 1, "it says 404"), ((429,), 3, "it says 429")],
    indirect=["receiver"],
)
def test_one_that_does_not_take_it_is_named_without_its_address(receiver: Receiver, times: int, said: str) -> None:
    with pytest.raises(DbopsError) as caught:
        _post.tell_webhook(receiver.url, TOLD.payload(), open_url)
    assert len(receiver.told) == times
    assert "webhook at '127.0.0.1' was not told: " + said in caught.value.message
    assert "of-ours" not in caught.value.message and "dbops_notify_webhook" in caught.value.message


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:1/word-of-ours", "refused"),
        ("http://no-such-host.invalid/word-of-ours", "'no-such-host.invalid'"),
        ("nonsense", "an address without a host"),
        ("ftp//x", "an address without a host"),
        ("https://[vault]/word-of-ours", "an address without a host"),
    ],
)
def test_an_address_that_leads_nowhere(url: str, said: str) -> None:
    with pytest.raises(DbopsError) as caught:
        _post.tell_webhook(url, {}, open_url)
    assert said in caught.value.message and "word-of-ours" not in caught.value.message


@pytest.mark.parametrize("receiver", [(302,)], indirect=True)
def test_a_redirect_would_lose_the_text(receiver: Receiver) -> None:
    with pytest.raises(DbopsError, match="it says 302"):
        _post.tell_webhook(receiver.url, TOLD.payload(), open_url)


def test_a_run_that_is_cancelled_meanwhile_is_cancelled() -> None:
    def opening(*_arguments: t.Any, **_options: t.Any) -> None:
        raise Interrupted("Interrupted by signal 15.")

    with pytest.raises(Interrupted):
        _post.beat("http://127.0.0.1/beat", _post.START, "an undecodable \udce4 name", opening)


def test_one_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(_post, "_PATIENCE", 0.2)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        with pytest.raises(DbopsError, match="timed out"):
            _post.tell_webhook("http://127.0.0.1:%d/" % deaf.getsockname()[1], {}, open_url)


def test_a_heartbeat_says_what_happens(receiver: Receiver) -> None:
    for what, text in ((_post.START, ""), (_post.SUCCESS, "done"), (_post.FAIL, "no room")):
        _post.beat(receiver.url + "?create=1", what, text, open_url)
    assert [(path, body) for path, _kind, body in receiver.told] == [
        ("/hook/of-ours/start?create=1", ""),
        ("/hook/of-ours?create=1", "done"),
        ("/hook/of-ours/fail?create=1", "no room"),
    ]


def entry(operation: str, result: str, database: str = "chat") -> dict[str, str]:
    return {"operation": operation, "result": result, "database": database}


@pytest.mark.parametrize(
    ("succeeded", "entries", "kind"),
    [
        (False, [], FAILURE),
        (True, [], SUCCESS),
        (True, [entry("backup", "ok")], SUCCESS),
        (True, [entry("backup", "ok"), entry("backup", "busy")], RECOVERY),
        (True, [entry("backup", "failed"), entry("backup", "ok")], SUCCESS),
        (True, [entry("backup", "ok"), entry("migrate", "failed"), entry("backup", "failed", "other"), {}], SUCCESS),
    ],
)
def test_which_event_it_is(succeeded: bool, entries: list[dict[str, str]], kind: str) -> None:
    assert kind_of(succeeded, "backup", "chat", entries) == kind
