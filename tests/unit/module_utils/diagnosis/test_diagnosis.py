# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A diagnosis: what is gathered on fakes, the order of findings, the first screen, and that nothing is changed by looking."""

from __future__ import annotations

import contextlib
import json
import re
import tarfile
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis import _diagnosis, _gather, _queries
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._diagnosis import diagnose, judge
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._facts import KINDS, RED, YELLOW, Disk, Expected, Facts, Production
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._gather import DiagnosisOptions
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._report import render
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container, Endpoint
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Result
from ansible_collections.dbops.postgres.plugins.module_utils.operation._request import Inquiry
from ansible_collections.dbops.postgres.plugins.module_utils.operation._target import TargetOptions
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, EngineError, ServerError
from ansible_collections.dbops.postgres.plugins.module_utils.text._redaction import Redactor
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import RUN, SERVER_ID, FakeConnection, container, request

ROOT = Path(__file__).resolve().parents[4]
SECRET = "hid/den@word"
URL = "postgresql://postgres:hid%2Fden%40word@chat-postgres-preview:5432/chat_preview?sslmode=disable"
DATABASE = container(
    "chat-postgres-preview",
    id="server-id",
    env={"POSTGRES_PASSWORD": SECRET, "PGDATA": "/data"},
    endpoints=(Endpoint("chat", "172.19.0.3", ("db-preview",)),),
)
BACKEND = container("chat-backend-preview-x", env={"PREVIEW_DATABASE_URL": URL}, health="healthy")

#: A server on which nothing is wrong.
ANSWERS: dict[str, t.Any] = {
    "current_setting('server_version')": [("18.1", False, False, "/data", 100, 3, True, 0.0)],
    "FROM pg_database d ORDER BY": [
        ("chat_preview", True, False, 1000, "2.36", "2.36", -1, 3),
        ("postgres", True, False, 1000, "", "", -1, 0),
    ],
    "pg_control_system": [(SERVER_ID,)],
    "rolcanlogin": [("postgres", True)],
    "AccessExclusiveLock": [(0,)],
    "relrowsecurity": [("public", "users", False, 0)],
    "SELECT EXISTS": [(True,)],
    "has_schema_privilege": [("public", True)],
    "has_table_privilege": [(True,)],
}


class StageDocker:
    """An engine that only answers questions; whatever would change something is not there."""

    def __init__(self, *containers: Container, logs: dict[str, str] | None = None, error: EngineError | None = None) -> None:
        self.containers, self.logs, self.error = list(containers), logs or {}, error
        self.executed: list[list[str]] = []

    def time(self, _seconds: float) -> str:
        if self.error:
            raise self.error
        return "garbage"

    def every(self) -> list[Container]:
        return self.containers

    def read_log(self, identifier: str, _since: str, _tail: int, _kept: int | None) -> Outcome:
        text = self.logs.get(identifier, "")
        return Outcome(1, "", "no such container") if text == "gone" else Outcome(0, text, "")

    def exec(self, _container: str, argv: list[str], **_options: t.Any) -> Outcome:
        self.executed.append(argv)
        if argv[0] == "df":
            return Outcome(0, "Filesystem 1024-blocks Used Available Capacity Mounted on\nx 1000000 1000 999000 1% /data\n", "")
        return Outcome(0, "  sl  local\n   0: 00000000:1538 00000000:0000 0A 0\n", "")

    def labelled(self, _label: str, _value: str) -> list[tuple[str, str, str]]:
        return []


class Stage:
    """A diagnosis of a made-up preview."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, docker: StageDocker | None = None, answers: dict[str, t.Any] | None = None
    ) -> None:
        self.folder = folder
        self.docker = docker or StageDocker(DATABASE, BACKEND)
        self.connection = FakeConnection({**(answers or {}), **ANSWERS}, 180001)
        self.refusal = ""
        self.read_only: list[bool] = []
        monkeypatch.setattr(_gather, "Docker", lambda _host: self.docker)
        for module in (_gather, _queries):
            monkeypatch.setattr(module, "session", self._session)
        self.files = folder / "branches"
        (self.files / "x").mkdir(parents=True, exist_ok=True)
        (self.files / "x" / ".env.preview").write_text("PREVIEW_DATABASE_URL=%s\n" % URL)

    @contextlib.contextmanager
    def _session(self, address: t.Any, database: str, _application: str, read_only: bool = False) -> t.Iterator[FakeConnection]:
        self.read_only.append(read_only)
        if self.refusal:
            raise ServerError("Cannot connect.", postgresql=self.refusal)
        yield self.connection

    def diagnose(self, **options: t.Any) -> Result:
        target = TargetOptions(database="chat_preview", container=DATABASE.name, backends=("chat-backend-preview-*",))
        asked = replace(request(Risk.READ, operation="diagnose", environment="preview", backup_dir=str(self.folder)), target=target)
        asked = replace(asked, caller=replace(asked.caller, host="chat-preview"))
        given = {"env_files": (str(self.files / "*" / ".env.preview"),), **options}
        return diagnose(Inquiry(asked, Redactor(), RUN, "2026-11-23T03:00:00Z"), DiagnosisOptions(**given))

    def kinds(self, **options: t.Any) -> list[str]:
        return [item["kind"] for item in self.diagnose(**options).facts["findings"]]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    return Stage(monkeypatch, tmp_path)


# --- the whole ------------------------------------------------------------------------------------------------------------


def test_where_nothing_is_wrong_it_says_what_was_looked_at(stage: Stage) -> None:
    result = stage.diagnose()
    assert result.facts["findings"] == [] and result.facts["verdict"] == "green"
    assert result.summary[0] == "Database 'chat_preview' of host 'chat-preview': nothing wrong was found."
    text = " ".join(" ".join(result.summary).split())
    for words in ("the server: sessions", "the disks", "1 backends and 1 environment files", "tables, rows, rights"):
        assert words in text
    assert not result.changed
    assert json.loads(json.dumps(result.facts))


def test_every_session_is_read_only_and_nothing_but_readers_runs_in_the_container(stage: Stage) -> None:
    stage.diagnose()
    assert stage.read_only and all(stage.read_only)
    assert {argv[0] for argv in stage.docker.executed} == {"df", "cat"}
    begins = {statement.split()[0] for statement in stage.connection.statements}
    assert begins <= {"SELECT", "SET", "RESET"}


def test_an_engine_that_does_not_answer_is_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    docker = StageDocker(
        error=EngineError("The Docker engine does not answer: start it with 'systemctl start docker', then run this again.")
    )
    assert Stage(monkeypatch, tmp_path, docker).kinds() == ["engine_down"]


def test_a_container_that_stops_during_the_look_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stage = Stage(monkeypatch, tmp_path, StageDocker(DATABASE, BACKEND, logs={BACKEND.id: "gone"}))
    stage.refusal = 'connection to server at "172.19.0.3", port 5432 failed: No route to host'
    result = stage.diagnose()
    assert result.facts["findings"][0]["kind"] == "server_silent"
    assert "the log of 'chat-backend-preview-x': no such container" in result.facts["not_looked_at"]


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        ('FATAL:  password authentication failed for user "postgres"', "password_rotated"),
        ('FATAL:  no pg_hba.conf entry for host "172.19.0.1"', "hba_refuses"),
        ("FATAL:  sorry, too many clients already", "too_many_connections"),
        ("FATAL:  the database system is starting up", "server_starting"),
        ('FATAL:  database "postgres" does not exist', "database_missing"),
        ('FATAL:  role "postgres" does not exist', "login_refused"),
    ],
)
def test_a_server_that_refuses_is_a_finding(stage: Stage, refusal: str, kind: str) -> None:
    stage.refusal = refusal
    assert stage.kinds()[0] == kind


def test_a_question_that_the_server_refuses_takes_nothing_else_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import psycopg2

    refusals = {"pg_replication_slots": psycopg2.ProgrammingError("permission denied for view pg_replication_slots\n")}
    result = Stage(monkeypatch, tmp_path, answers=refusals).diagnose()
    assert result.facts["findings"] == []
    assert "the replication slots: permission denied for view pg_replication_slots" in result.facts["not_looked_at"]


def test_a_check_that_fails_itself_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def check_badly(_facts: Facts) -> list[t.Any]:
        raise KeyError("x")

    monkeypatch.setattr(_diagnosis._containers, "CHECKS", (check_badly,))
    facts = Facts(Expected("h", "preview", "chat"))
    judge(facts)
    assert facts.unseen == ["what check_badly looks at: it failed itself (KeyError: 'x')"]


def test_no_secret_is_in_the_answer_or_the_bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    log = "ERROR dial postgresql://postgres:unknown-word@db: refused\nERROR %s\nERROR hid%%2Fden%%40word\n" % SECRET
    stage = Stage(monkeypatch, tmp_path, StageDocker(DATABASE, BACKEND, logs={BACKEND.id: log}))
    (stage.files / "x" / ".env.preview").write_text("PREVIEW_DATABASE_URL=%s\n" % URL.replace("hid%2Fden", "other-hidden"))
    result = stage.diagnose(bundle=str(tmp_path / "b.tgz"))
    with tarfile.open(tmp_path / "b.tgz") as archive:
        bundled = "".join(archive.extractfile(member).read().decode() for member in archive.getmembers())  # type: ignore[union-attr]
        assert "diagnosis/logs/chat-backend-preview-x.log" in archive.getnames()
    for text in (json.dumps(result.summary), json.dumps(result.facts["findings"]), bundled):
        for word in (SECRET, "hid%2Fden", "unknown-word", "other-hidden"):
            assert word not in text
    assert "Bundle for a ticket" in result.summary[-1]


@pytest.mark.parametrize("since", ["", "yesterday", "1w", "2026-11", "-1h", "1h; rm"])
def test_a_time_that_is_none_is_refused(stage: Stage, since: str) -> None:
    with pytest.raises(DbopsError, match=r"dbops_diagnose_since is '.*', which is no time"):
        stage.diagnose(since=since)


@pytest.mark.parametrize(
    ("since", "wanted"), [("1h30m", "1h30m"), ("3d", "72h"), ("2026-11-24", "2026-11-24"), ("2026-11-24 03:00:00Z", "2026-11-24T03:00:00Z")]
)
def test_times_are_handed_on_as_the_engine_takes_them(since: str, wanted: str) -> None:
    assert _diagnosis.look.since_option(since) == wanted


def test_a_branch_at_production_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    production = container("chat-postgres-prod", endpoints=(Endpoint("chat", "172.19.0.9"),))
    wrong = replace(BACKEND, env={"PREVIEW_DATABASE_URL": URL.replace("-preview:", "-prod:").replace("chat_preview?", "chat?")})
    stage = Stage(monkeypatch, tmp_path, StageDocker(DATABASE, production, wrong))
    result = stage.diagnose(productions=(Production("chat-production", "chat-postgres-prod", "chat"),))
    [first, *_others] = result.facts["findings"]
    assert first["kind"] == "url_production" and "edited" in first["found"]


# --- the order and the report ---------------------------------------------------------------------------------------------


def test_what_is_broken_stands_before_what_wants_a_look() -> None:
    colours = list(KINDS.values())
    assert colours == sorted(colours, key=[RED, YELLOW].index)


def test_findings_are_ordered_by_what_explains_what() -> None:
    stopped = replace(DATABASE, status="exited")
    sick = replace(BACKEND, health="unhealthy")
    facts = Facts(
        Expected("h", "preview", "chat_preview"), containers=(stopped, sick), container=stopped, candidates=(stopped,), backends=(sick,)
    )
    facts.disks = (Disk("the backups", "/opt", 10**10, 0),)
    assert [item.kind for item in judge(facts)] == ["disk_full", "container_stopped", "backend_unhealthy"]


def test_the_first_screen_holds_the_verdict_and_the_line_to_type(stage: Stage) -> None:
    stage.refusal = 'FATAL:  no pg_hba.conf entry for host "172.19.0.1"'
    result = stage.diagnose()
    screen = "\n".join(result.summary).splitlines()[:25]
    assert screen[0].startswith("Database 'chat_preview' of host 'chat-preview': ") and "The likeliest cause: hba_refuses" in screen[0]
    first = result.facts["findings"][0]
    assert any(first["do"][0] in line for line in screen)


def test_a_report_of_many_findings_stays_readable(stage: Stage) -> None:
    facts = Facts(Expected("h", "preview", "chat"), seen=["x"])
    stopped = tuple(replace(BACKEND, name="b%d" % number, status="restarting", restarts=5) for number in range(30))
    facts.containers = facts.backends = stopped
    facts.container = DATABASE
    findings = judge(facts)
    lines = render(facts, findings, "1h")
    assert len("\n".join(lines).splitlines()) < 4 * len(findings) + 40


@pytest.mark.parametrize("guide", ["docs/diagnose.md", "docs/diagnose.ja.md"])
def test_every_kind_of_finding_is_explained(guide: str) -> None:
    explained = re.findall(r"^\| `(\w+)` \|", (ROOT / guide).read_text(encoding="utf-8"), re.MULTILINE)
    assert explained == list(KINDS)
