# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules as Ansible starts them: arguments in, one JSON object out, one failure path, nothing secret in it."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import typing as t
from pathlib import Path

import ansible.module_utils._internal
import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.dbops.postgres.plugins.module_utils import _module
from ansible_collections.dbops.postgres.plugins.module_utils.archive import _journal
from ansible_collections.dbops.postgres.plugins.module_utils.looks import _status
from ansible_collections.dbops.postgres.plugins.module_utils.notification import _post
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk, Selection
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operation._request import Inquiry, Request
from ansible_collections.dbops.postgres.plugins.module_utils.progress._progress import Progress
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import Busy, DbopsError, Interrupted, Refused
from ansible_collections.dbops.postgres.plugins.module_utils.text._redaction import MASK, Redactor
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import operation, published

ROOT = Path(__file__).resolve().parents[3]
#: All but the one to which a database that cannot be reached is an answer, and the one that asks none.
NAMES = sorted(
    {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")} - {"database_status", "migration_info", "operation_progress"}
)
#: What the modules that replace the live database add to an error that came before they began.
BEGUN = dict.fromkeys(("database_reset", "restore"), "\nThe live database is untouched: nothing was begun.")

READERS = {"backup_info", "database_diagnosis", "database_info", "preview_branch_info"}
#: Those that begin operations themselves, where they can.
EXAMINERS = {"database_diagnosis"}
SECRET = "hidden-word"
OMIT = object()


class Stage:
    """Runs a module's ``main`` in this process; ``begin`` is played, so neither an engine nor a server is needed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self.folder = folder
        self.requests: list[Request] = []
        self.error: BaseException | None = None
        self.warnings: list[str] = []
        self._capsys, self._monkeypatch = capsys, monkeypatch
        monkeypatch.setattr(_module, "begin", self.begin)
        monkeypatch.setattr(_module, "_raise_on_signals", lambda: None)
        # A module runs on a target: what other tests have imported of the controller must not take its warnings.
        monkeypatch.setattr(ansible.module_utils._internal, "is_controller", False, raising=False)

    @contextlib.contextmanager
    def begin(self, request: Request, redactor: Redactor, run_id: str, _progress: Progress | None = None) -> t.Iterator[Operation]:
        self.requests.append(request)
        redactor.add(SECRET)
        if self.error is not None:
            raise self.error  # pylint: disable=raising-bad-type  # a test sets it
        running = operation(request.backup_dir, risk=request.risk, check_mode=request.check_mode)
        running.run_id = run_id
        running.warnings += self.warnings
        yield running

    def call(self, name: str, work: t.Callable[..., Result] | None = None, **arguments: t.Any) -> dict[str, t.Any]:
        """What the module prints."""
        module = importlib.import_module("ansible_collections.dbops.postgres.plugins.modules." + name)
        if work:
            self._monkeypatch.setattr(_module.DbopsModule, "run", self._run_with(work))
        if name in EXAMINERS:
            self._monkeypatch.setattr(module, "work", self._examine)
        given = {
            "container": "chat-postgres-prod",
            "database": "chat",
            "backup_dir": str(self.folder),
            **({"backup": "latest"} if name == "restore" else {}),
        }
        given = {option: value for option, value in {**given, **arguments}.items() if value is not OMIT}
        with patch_module_args(given), pytest.raises(SystemExit) as ended:
            module.main()
        [line] = self._capsys.readouterr().out.strip().splitlines()
        answer: dict[str, t.Any] = json.loads(line)
        assert ended.value.code == int(bool(answer.get("failed")))
        return answer

    def _examine(self, inquiry: Inquiry, _params: dict[str, t.Any]) -> Result:
        self.requests.append(inquiry.request)
        inquiry.redactor.add(SECRET)
        raise self.error or DbopsError("no")

    def _run_with(self, work: t.Callable[..., Result]) -> t.Callable[..., None]:
        real = _module.DbopsModule.__dict__["run"]
        return lambda module, _work: real(module, work)

    @property
    def journal(self) -> list[dict[str, t.Any]]:
        return _journal.read(str(self.folder))


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Stage:
    return Stage(monkeypatch, capsys, tmp_path)


# --- failing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_failure_is_a_sentence_with_facts_and_without_a_traceback(stage: Stage, name: str) -> None:
    stage.error = DbopsError("Connection with %s refused." % SECRET, output="password=%s" % SECRET, list=[{"deep": SECRET}])
    answer = stage.call(name)
    assert answer["failed"] is True
    assert answer["msg"] == "Connection with %s refused." % MASK + BEGUN.get(name, "")
    assert (answer["output"], answer["list"]) == ("password=" + MASK, [{"deep": MASK}])
    assert answer["operation"]["database"] == "chat" and answer["operation"]["run_id"]
    assert "exception" not in answer
    assert SECRET not in json.dumps(answer)


@pytest.mark.parametrize("name", NAMES)
def test_a_failure_of_the_file_system_is_a_sentence_too(stage: Stage, name: str) -> None:
    stage.error = OSError(28, "No space left on device", "/b")
    answer = stage.call(name)
    assert answer["msg"].startswith("The host's file system refused: ") and "No space left" in answer["msg"]
    assert "exception" not in answer


@pytest.mark.parametrize("name", NAMES)
def test_a_change_that_failed_is_in_the_journal_and_a_look_is_not(stage: Stage, name: str) -> None:
    stage.error = DbopsError("no %s" % SECRET)
    stage.call(name, play={"host": "chat-production", "operator": "ann", "controller": "desk", "revision": "0123abc"})
    assert [entry["result"] for entry in stage.journal] == ([] if name in READERS else ["failed"])
    for entry in stage.journal:
        assert entry["message"] == "no " + MASK + BEGUN.get(name, "")
        assert (entry["operator"], entry["controller"], entry["revision"], entry["host"]) == ("ann", "desk", "0123abc", "chat-production")


@pytest.mark.parametrize(("error", "result"), [(Refused("no"), "refused"), (Busy("no"), "busy"), (DbopsError("no"), "failed")])
def test_the_journal_tells_why(stage: Stage, error: DbopsError, result: str) -> None:
    stage.error = error
    stage.call("backup")
    assert stage.journal[0]["result"] == result


def test_a_failure_in_the_middle_has_the_facts_of_the_operation(stage: Stage) -> None:
    def work(_operation: Operation, _params: t.Any) -> Result:
        raise DbopsError("no")

    answer = stage.call("backup", work)
    assert answer["operation"]["container"] == "chat-postgres-prod"
    assert answer["operation"]["server_version"] == "17.5"


def test_check_mode_leaves_no_trace(stage: Stage) -> None:
    stage.error = DbopsError("no")
    assert stage.call("migration", _ansible_check_mode=True)["failed"]
    assert list(stage.folder.iterdir()) == []


def test_a_backup_folder_that_is_not_there_does_not_hide_the_failure(stage: Stage) -> None:
    stage.error = DbopsError("no")
    assert stage.call("backup", backup_dir=str(stage.folder / "missing"))["msg"] == "no"


def test_a_journal_that_cannot_be_written_is_a_warning(stage: Stage) -> None:
    (stage.folder / _journal.FILE_NAME).mkdir()
    answer = stage.call("backup", lambda _operation, _params: Result(True, ["done"]))
    assert answer["changed"] is True
    assert "cannot be written" in json.dumps(answer["warnings"])
    assert "journal" not in answer["summary"][-1], "it is not said to be where it is not"


# --- succeeding -----------------------------------------------------------------------------------------------------------


def test_a_result_has_facts_summary_diff_and_warnings_without_secrets(stage: Stage) -> None:
    stage.warnings = ["careful, " + SECRET]

    def work(_operation: Operation, _params: t.Any) -> Result:
        return Result(
            True,
            ["did it with " + SECRET],
            {"seed": SECRET, "rows_added": {"public.users": 5}},
            {"before": SECRET, "after": "x"},
            {"extra": SECRET},
        )

    answer = stage.call("seed", work)
    assert answer["changed"] is True and "failed" not in answer
    assert answer["summary"][0] == "did it with " + MASK
    assert answer["rows_added"] == {"public.users": 5}
    assert answer["diff"] == {"before": MASK, "after": "x"}
    assert "careful, " + MASK in json.dumps(answer["warnings"])
    assert answer["operation"]["operation"] == "migrate"  # of the played operation
    assert SECRET not in json.dumps(answer) + json.dumps(stage.journal)
    assert (stage.journal[0]["result"], stage.journal[0]["changed"], stage.journal[0]["extra"]) == ("ok", True, MASK)


@pytest.mark.parametrize("fails", [False, True])
def test_metrics_are_written_after_each_run_that_may_change_something(stage: Stage, tmp_path: Path, fails: bool) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    published(stage.folder)
    stage.error = DbopsError("no") if fails else None
    stage.call("backup", lambda _operation, _params: Result(True, ["done"]), metrics_dir=str(folder), play={"host": "chat-production"})
    [path] = folder.iterdir()
    kind = "failure" if fails else "success"
    assert 'dbops_operation_last_%s_timestamp_seconds{host="chat-production",database="chat"' % kind in path.read_text()
    assert "dbops_backups{" in path.read_text() and "} 1.0" in path.read_text()
    path.unlink()
    stage.error = None
    stage.call("backup", lambda _operation, _params: Result(True, ["done"]), metrics_dir=str(folder), _ansible_check_mode=True)
    stage.call("backup_info", lambda _operation, _params: Result(False, ["done"]), metrics_dir=str(folder))
    assert list(folder.iterdir()) == []


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What was said to whom, instead of saying it."""
    found: list[tuple[str, str]] = []
    monkeypatch.setattr(_post, "beat", lambda url, what, text, _open: found.append((url + what, text)))
    monkeypatch.setattr(_post, "tell_webhook", lambda url, payload, _open: found.append((url, payload["event"] + ": " + payload["text"])))
    return found


HOOKS = {"webhook": "http://chat/hook", "heartbeats": {"backup": "http://beats/1", "migrate": "http://beats/2"}}


def done(_operation: Operation, _params: dict[str, t.Any]) -> Result:
    return Result(True, ["done with " + SECRET])


def test_who_is_told_of_a_failure_and_of_a_recovery(stage: Stage, told: list[tuple[str, str]]) -> None:
    play = {"host": "chat-production"}
    stage.call("backup", done, notify=HOOKS, play=play)
    assert told == [("http://beats/1/start", ""), ("http://beats/1", "done with " + MASK)], "a success is no news"
    told.clear()
    stage.error = DbopsError("No room for %s." % SECRET)
    stage.call("backup", done, notify=HOOKS, play=play)
    said = "backup of 'chat' on chat-production (production) failed: No room for %s." % MASK
    assert told == [
        ("http://beats/1/start", ""),
        ("http://beats/1/fail", "No room for %s." % MASK),
        ("http://chat/hook", "failure: " + said),
    ]
    told.clear()
    stage.error = None
    stage.call("backup", done, notify=dict(HOOKS, heartbeat_style="plain"), play=play)
    # The operation of the fakes is a migration, which is what the journal has of both successes.
    assert [url for url, _text in told] == ["http://beats/1", "http://chat/hook"] and told[1][1].startswith("recovery: backup of 'chat'")


def test_nobody_is_told_of_a_look(stage: Stage, told: list[tuple[str, str]]) -> None:
    hooks = dict(HOOKS, events=["success", "failure", "recovery"], heartbeats={"backup": "http://beats/1", "backup_info": "http://beats/2"})
    stage.call("backup", done, notify=hooks, _ansible_check_mode=True)
    stage.call("backup_info", done, notify=hooks)
    stage.error = DbopsError("no")
    stage.call("backup", done, notify=hooks, _ansible_check_mode=True)
    assert told == []


def test_one_that_does_not_answer_is_a_warning(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def deaf(*_arguments: t.Any) -> None:
        raise DbopsError("The webhook at 'chat' was not told.")

    monkeypatch.setattr(_post, "tell_webhook", deaf)
    hooks = {"webhook": "http://chat/hook", "events": ["success"]}
    answer = stage.call("backup", lambda _operation, _params: Result(True, ["done"]), notify=hooks)
    assert not answer.get("failed") and "The webhook at 'chat' was not told." in json.dumps(answer["warnings"])


def test_metrics_that_cannot_be_written_are_a_warning(stage: Stage, tmp_path: Path) -> None:
    answer = stage.call("backup", lambda _operation, _params: Result(True, ["done"]), metrics_dir=str(tmp_path / "none"))
    assert any("could not be written" in str(warning) and "dbops_metrics_dir" in str(warning) for warning in answer["warnings"])


def test_looking_is_not_written_down(stage: Stage) -> None:
    assert stage.call("database_info", lambda _operation, _params: Result(False, ["x"]))["changed"] is False
    assert stage.journal == []


def test_the_last_line_says_where_how_long_and_where_it_is_written_down(stage: Stage) -> None:
    changed = stage.call("backup", lambda _operation, _params: Result(True, ["x"]))["summary"][-1]
    assert "'chat-production' (container 'chat-postgres-prod', PostgreSQL 17.5) took " in changed
    assert changed.endswith("It is in the journal '%s/journal.jsonl'." % stage.folder)
    assert stage.call("backup", lambda _operation, _params: Result(True, ["x"]), _ansible_check_mode=True)["summary"][-1].endswith(
        "Nothing was changed."
    )


# --- arguments ------------------------------------------------------------------------------------------------------------


def test_arguments_become_the_request(stage: Stage) -> None:
    stage.error = DbopsError("no")
    stage.call(
        "restore",
        compose_service="db",
        compose_project="chat",
        container=OMIT,
        user="ann",
        password="x" * 8,
        port=6000,
        environment=" Preview ",
        server_id="42",
        shared_server=True,
        backends=["a-*", "b"],
        runner_container="b",
        confirm="restore:chat",
        lock_wait=9,
        docker_host="unix:///run/x.sock",
        play={"host": "h", "limit": "preview", "environments": ["Preview", "preview"]},
    )
    [asked] = stage.requests
    assert (asked.operation, asked.risk, asked.environment, asked.server_id, asked.shared_server) == (
        "restore",
        Risk.OVERWRITE,
        "preview",
        "42",
        True,
    )
    assert (asked.confirm, asked.lock_wait, asked.docker_host, asked.backup_dir) == (
        "restore:chat",
        9,
        "unix:///run/x.sock",
        str(stage.folder),
    )
    assert (asked.target.container, asked.target.compose_project, asked.target.compose_service) == ("", "chat", "db")
    assert (asked.target.user, asked.target.password, asked.target.port, asked.target.backends) == ("ann", "x" * 8, 6000, ("a-*", "b"))
    assert asked.caller.selection == Selection("preview", ("preview", "preview"))


@pytest.mark.parametrize("environment", ["", " ", "Production", None])
def test_what_is_not_said_to_be_something_else_is_production(stage: Stage, environment: str | None) -> None:
    stage.error = DbopsError("no")
    stage.call("backup", environment=environment)
    assert stage.requests[0].environment == "production"


def test_a_play_without_environments_still_has_its_limit_judged(stage: Stage) -> None:
    stage.error = DbopsError("no")
    stage.call("backup", play={"host": "h"})
    stage.call("backup")
    assert stage.requests[0].caller.selection == Selection("", ())
    assert stage.requests[1].caller.selection is None


@pytest.mark.parametrize("name", NAMES)
def test_every_module_knows_check_mode(stage: Stage, name: str) -> None:
    stage.error = DbopsError("no")
    stage.call(name, _ansible_check_mode=True)
    assert stage.requests[0].check_mode is True


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"container": OMIT}, "one of the following is required: container, compose_service"),
        ({"compose_service": "db", "compose_project": "x"}, "mutually exclusive: container|compose_service"),
        ({"container": OMIT, "compose_service": "db"}, "missing parameter(s) required by 'compose_service': compose_project"),
        ({"database": OMIT}, "missing required arguments: database"),
        ({"no_such_option": 1}, "Unsupported parameters for"),
        ({"port": "five"}, "cannot be converted to an int"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_anything_begins(stage: Stage, arguments: dict, words: str) -> None:
    answer = stage.call("backup", **arguments)
    assert words.replace(" ", "") in answer["msg"].replace(" ", "").replace('"', "'")
    assert stage.requests == []


@pytest.mark.parametrize("reason", ["a b", "../x", "x" * 61, "é", "a/b", "a\n"])
def test_a_reason_that_cannot_be_part_of_a_name_is_refused(stage: Stage, reason: str) -> None:
    assert "use at most 60 letters" in stage.call("backup", reason=reason)["msg"]


def test_a_given_password_is_never_in_the_answer(stage: Stage) -> None:
    stage.error = DbopsError("password another-hidden-word does not fit", output="another-hidden-word")
    assert "another-hidden-word" not in json.dumps(stage.call("backup", password="another-hidden-word"))


# --- signals --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_a_run_through_its_clean_up_once(number: int) -> None:
    before = {which: signal.getsignal(which) for which in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    try:
        _module._raise_on_signals()
        with pytest.raises(DbopsError, match="Interrupted by signal %d" % number):
            os.kill(os.getpid(), number)
            signal.pause()
        os.kill(os.getpid(), number)  # a second one does not disturb the clean-up
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


# --- examining ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [False, True])
def test_what_cannot_be_reached_is_an_answer_of_a_module_that_examines(stage: Stage, monkeypatch: pytest.MonkeyPatch, check: bool) -> None:
    monkeypatch.setattr(_status, "begin", stage.begin)
    stage.error = DbopsError("Container 'chat-postgres-prod' with %s is exited: start it with 'docker start chat-postgres-prod'." % SECRET)
    answer = stage.call("database_status", _ansible_check_mode=check)
    assert (answer["light"], answer["changed"], answer["operation"]["operation"]) == ("red", False, "status")
    assert answer["findings"][0] == {
        "check": "server",
        "light": "red",
        "sentence": stage.error.message.replace(SECRET, MASK),
        "command": "docker start chat-postgres-prod",
        "detail": "",
    }
    assert list(stage.folder.iterdir()) == []


def test_an_interruption_is_no_answer(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_status, "begin", stage.begin)
    stage.error = Interrupted("Interrupted by signal 15.")
    answer = stage.call("database_status")
    assert (answer["failed"], answer["msg"]) == (True, "Interrupted by signal 15.")


def test_a_file_system_that_refuses_to_be_looked_at_is_a_sentence(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_status, "begin", stage.begin)
    stage.error = OSError(5, "Input/output error", "/b")
    assert stage.call("database_status")["msg"].startswith("The host's file system refused: ")


def test_only_what_reads_may_examine(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    backup = importlib.import_module("ansible_collections.dbops.postgres.plugins.modules.backup")
    monkeypatch.setattr(backup.DbopsModule, "run", backup.DbopsModule.examine)
    given = {"container": "c", "database": "chat", "backup_dir": str(stage.folder)}
    with patch_module_args(given), pytest.raises(ValueError, match="more than read"):
        backup.main()


def test_where_a_run_is_is_printed_without_anything_that_may_have_to_be_loaded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run that ends in that very moment removes what Ansible's own modules are loaded from; the answer must not need them."""
    monkeypatch.setattr(_module.DbopsModule, "exit_json", None)
    with pytest.raises(SystemExit) as ended:
        _module._print_following({"token": "t1", "alive": True})
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out) == {"changed": False, "following": {"token": "t1", "alive": True}}
