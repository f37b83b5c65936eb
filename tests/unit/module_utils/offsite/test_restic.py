# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""restic's command line: no secret in an argument, every trouble a sentence, a dead run's lock removed once."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.offsite._restic import Repository, Restic, Snapshot
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import RUN, FakeDocker

#: What restic 0.14 and 0.18 print, recorded from the programs.
ABSENT = "Fatal: unable to open config file: stat /srv/r/config: no such file or directory\nIs there a repository at the following location?\n/srv/r\n"
ABSENT_018 = "Fatal: repository does not exist: unable to open config file: stat /srv/r/config: no such file or directory\n"
ABSENT_S3 = (
    "Fatal: unable to open config file: Stat: The specified key does not exist.\nIs there a repository at the following location?\ns3:...\n"
)
REFUSED = (
    'Fatal: unable to open config file: client.Head: Head "http://u:***@127.0.0.1:1/b/config": dial tcp 127.0.0.1:1: connect: connection refused\n'
    "Is there a repository at the following location?\nrest:http://u:***@127.0.0.1:1/b/\n"
)
WRONG = "Fatal: wrong password or no key found\n"
LOCKED = (
    "unable to create lock in backend: repository is already locked exclusively by PID 71 on b by root (UID 0, GID 0)\n"
    "lock was created at 2026-11-23 03:00:00 (2h ago)\nthe `unlock` command can be used to remove stale locks\n"
)
SUMMARY = '{"message_type":"status","percent_done":1}\n{"message_type":"summary","data_added":5001622,"snapshot_id":"54c91407"}\n'


class Recorder:
    """Stands for ``run_process``: gives the outcomes one after the other, and remembers what was run."""

    def __init__(self, *outcomes: Outcome | BaseException) -> None:
        self.outcomes = list(outcomes)
        self.calls: list[tuple[list[str], dict[str, t.Any]]] = []

    def __call__(self, argv: t.Sequence[str], **options: t.Any) -> Outcome:
        self.calls.append((list(argv), options))
        outcome = self.outcomes.pop(0) if self.outcomes else Outcome(0, "", "")
        if isinstance(outcome, Outcome):
            return outcome
        raise outcome  # pylint: disable=raising-non-exception  # a test sets it

    @property
    def commands(self) -> list[str]:
        return [argv[1] for argv, _options in self.calls]


def restic(*outcomes: Outcome | BaseException, **changes: t.Any) -> tuple[Restic, Recorder]:
    recorder = Recorder(*outcomes)
    given = {"location": "/srv/r", "host": "chat-production", "password": "a word of hers", **changes}
    return Restic(Repository(**given), t.cast(t.Any, FakeDocker()), RUN, {"dbops": RUN}, recorder), recorder


def failed(text: str, rc: int = 1) -> Outcome:
    return Outcome(rc, "", text)


def test_no_secret_is_an_argument() -> None:
    keys = {"AWS_SECRET_ACCESS_KEY": "key-of-hers"}
    tool, recorder = restic(
        Outcome(0, SUMMARY, ""), location="rest:https://u:word@backup/chat", environment=keys, upload_limit=5, options=("s3.region=x",)
    )
    assert tool.send("/tmp", "chat_1", ["dbops", "backup=chat_1"], "2026-11-23 03:00:00", "offsite.json") == ("54c91407", 5001622)
    [(argv, options)] = recorder.calls
    assert argv[:2] == ["restic", "backup"] and argv[argv.index("--") :][:2] == ["--", "chat_1"]
    assert not any(secret in word for word in argv for secret in ("word", "key-of-hers"))
    given = {name: text for name, text in options["env"].items() if text}
    assert given == dict(keys, RESTIC_PASSWORD="a word of hers", RESTIC_REPOSITORY="rest:https://u:word@backup/chat", TZ="UTC")
    assert options["folder"] == "/tmp"
    for flags in (["--limit-upload", "5"], ["--option", "s3.region=x"], ["--host", "chat-production"], ["--tag", "dbops,backup=chat_1"]):
        assert argv[argv.index(flags[0]) :][:2] == flags


def test_options_come_before_what_is_named() -> None:
    tool, recorder = restic(Outcome(0, SUMMARY, ""))
    tool.send("/tmp", "--help", [], "2026-11-23 03:00:00")
    assert recorder.calls[0][0][-2:] == ["--", "--help"]


def test_a_password_file_is_named_and_nothing_else() -> None:
    tool, recorder = restic(password="", password_file="/etc/dbops/word")
    assert tool.exists()
    environment = recorder.calls[0][1]["env"]
    assert environment["RESTIC_PASSWORD_FILE"] == "/etc/dbops/word" and environment["RESTIC_PASSWORD"] == ""


@pytest.mark.parametrize("outcome", [failed(ABSENT), failed(ABSENT_018, 10), failed(ABSENT_S3)])
def test_where_there_is_no_repository(outcome: Outcome) -> None:
    tool, _recorder = restic(outcome)
    assert not tool.exists()


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (failed(REFUSED), "restic could not look into the offsite repository '/srv/r': unable to open config file: client.Head"),
        (failed(WRONG), "The password is not that of the offsite repository '/srv/r': correct dbops_offsite_password"),
        (failed("Fatal: wrong password or no key found", 12), "The password is not that of the offsite repository"),
        (failed(LOCKED), "is locked by another run of restic"),
        (failed("whatever", 11), "is locked by another run of restic"),
        (Outcome(-9, "", "", timed_out=True), "has not answered in time"),
        (failed('{"message_type":"exit_error","code":1,"message":"Fatal: no room left"}'), "offsite repository '/srv/r': no room left."),
        (failed(""), "exit status 1."),
    ],
)
def test_a_trouble_is_a_sentence(outcome: Outcome, said: str) -> None:
    tool, _recorder = restic(outcome)
    with pytest.raises(DbopsError, match=r".") as caught:
        tool.exists()
    assert said in caught.value.message


def test_a_password_in_an_address_is_in_no_message() -> None:
    tool, _recorder = restic(failed("cannot reach rest:https://u:word@backup/chat"), location="rest:https://u:word@backup/chat")
    with pytest.raises(DbopsError) as caught:
        tool.exists()
    assert "word" not in caught.value.message and "u:********@backup" in caught.value.message


@pytest.mark.parametrize("error", [FileNotFoundError(), PermissionError()])
def test_where_restic_is_not_installed_it_is_said_how_it_is(error: OSError) -> None:
    tool, _recorder = restic(error)
    with pytest.raises(DbopsError, match=r"apt-get install restic.*dbops_offsite_image"):
        tool.exists()


def test_a_lock_is_for_a_person_to_judge() -> None:
    """restic takes the lock of a process that it may not see for that of a dead one."""
    tool, recorder = restic(failed(LOCKED), failed(LOCKED))
    for work in (lambda: tool.check("5%"), lambda: tool.send("/tmp", "chat_1", [], "2026-11-23 03:00:00")):
        with pytest.raises(DbopsError, match=r"wait for its end.*dbops_copy_unlock=true.*PID 71 on b"):
            work()
    assert recorder.commands == ["check", "backup"]
    tool.unlock()
    assert recorder.commands[-1] == "unlock" and "--remove-all" not in recorder.calls[-1][0]


def test_what_the_user_has_set_for_restic_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    tool, recorder = restic()
    tool.exists()
    environment = recorder.calls[0][1]["env"]
    for name in ("RESTIC_PASSWORD_FILE", "RESTIC_PASSWORD_COMMAND", "RESTIC_REPOSITORY_FILE"):
        assert environment[name] == ""


def test_the_user_of_a_rest_server_is_known_to_older_versions_too() -> None:
    keys = {"RESTIC_REST_USERNAME": "ann", "RESTIC_REST_PASSWORD": "a/word@"}
    tool, recorder = restic(location="rest:https://backup:8000/chat", environment=keys)
    tool.exists()
    assert recorder.calls[0][1]["env"]["RESTIC_REPOSITORY"] == "rest:https://ann:a%2Fword%40@backup:8000/chat"
    assert str(tool.repository) == "rest:https://backup:8000/chat"


def test_a_password_with_an_at_sign_is_no_part_of_the_host() -> None:
    assert str(Repository("rest:https://user:p@ssword9@host/x", "h")) == "rest:https://user:********@host/x"
    assert str(Repository("sftp://user:word@host//x", "h")) == "sftp://user:********@host//x"


@pytest.mark.parametrize("text", ["a wrapper says hello", '[{"id": 1}]', '["x"]'])
def test_what_is_no_list_is_said(text: str) -> None:
    tool, _recorder = restic(Outcome(0, text, ""))
    with pytest.raises(DbopsError, match="cannot be read"):
        tool.snapshots([])


def test_a_folder_that_has_gone_is_not_restics_fault() -> None:
    tool, recorder = restic()
    with pytest.raises(DbopsError, match="'/no/such' was removed while this ran"):
        tool.send("/no/such", "chat_1", [], "2026-11-23 03:00:00")
    assert recorder.calls == []


def test_an_address_with_404_is_no_missing_repository() -> None:
    tool, _recorder = restic(failed('Fatal: unable to open config file: Head "http://b/backup-404/config": connection refused'))
    with pytest.raises(DbopsError, match="connection refused"):
        tool.exists()


@pytest.mark.parametrize("outcome", [Outcome(3, SUMMARY, "some file could not be read"), Outcome(0, "", ""), Outcome(0, "{}", "")])
def test_what_is_not_said_to_be_there_was_not_sent(outcome: Outcome) -> None:
    tool, _recorder = restic(outcome)
    with pytest.raises(DbopsError):
        tool.send("/tmp", "chat_1", [], "2026-11-23 03:00:00")


def test_snapshots_are_listed_without_a_lock() -> None:
    listed = json.dumps([{"id": "ab", "time": "2026-11-23T03:00:00Z", "tags": ["dbops"]}, {"id": "cd", "time": "2026-11-22T03:00:00Z"}])
    tool, recorder = restic(Outcome(0, listed, ""), Outcome(0, "null", ""))
    assert tool.snapshots(["dbops", "database=chat"]) == [
        Snapshot("ab", "2026-11-23T03:00:00Z", ("dbops",)),
        Snapshot("cd", "2026-11-22T03:00:00Z", ()),
    ]
    argv = recorder.calls[0][0]
    assert "--no-lock" in argv and argv[argv.index("--tag") + 1] == "dbops,database=chat"
    assert tool.snapshots(["dbops"]) == []


def test_in_a_container_it_sees_what_it_needs_and_no_more() -> None:
    docker = FakeDocker()
    repository = Repository("local:/mnt/nas", "h", password_file="/etc/word", image="restic/restic:0.18.0")
    Restic(repository, t.cast(t.Any, docker), RUN, {"dbops": RUN}).fetch("ab", "/backups/.work")
    [job] = docker.jobs
    assert job.mounts == (("/mnt/nas", "/mnt/nas", True), ("/etc/word", "/etc/word", False), ("/backups/.work", "/dbops", True))
    assert job.argv == ("restic", "restore", "--no-cache", "--no-lock", "ab", "--target", "/dbops")
    assert (job.network, job.workdir, job.labels) == ("host", "/dbops", {"dbops": RUN})
