# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Proving backups: which are tried, what is written down of each, and that one that does not come back fails the run at its end."""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import Backup
from ansible_collections.dbops.postgres.plugins.module_utils.archive._proof import FAILED, PROVED, Proof, read_proof
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Image
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations import _proof_restore, _throwaway_restore, _verification
from ansible_collections.dbops.postgres.plugins.module_utils.operations._proof_options import ProofOptions, Query, proof_options
from ansible_collections.dbops.postgres.plugins.module_utils.operations._proof_restore import Findings
from ansible_collections.dbops.postgres.plugins.module_utils.operations._verification import choose, verify_backups
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox import _proof_server
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._proof_server import Limits, available_memory, plan_server, roles_of
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._throwaway_server import Sandbox
from ansible_collections.dbops.postgres.plugins.module_utils.server._database import Properties, Setting
from ansible_collections.dbops.postgres.plugins.module_utils.server._roles import Role
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, EngineError, Interrupted
from ansible_collections.dbops.postgres.tests.unit.module_utils.archive.test_proof import proof_of, written
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import (
    ADDRESS,
    FakeConnection,
    FakeDocker,
    container,
    manifest,
    operation,
    properties,
    published,
)

LIVE = container("chat-postgres-prod", id="server-id", image="postgres:17", image_id="sha256:server")
IMAGES = {"sha256:server": Image("sha256:server", {"PG_MAJOR": "17"}, ("/data",), {})}
DAYS = (23, 22, 21)


class Stage:
    """Three backups; what restoring each gives is ``outcomes``, by id: ``proved`` where nothing is said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder = folder
        self.backups: list[Backup] = [
            published(folder, id="chat_202611%02d_030000" % day, created="2026-11-%02dT03:00:00Z" % day) for day in DAYS
        ]
        self.outcomes: dict[str, t.Any] = {}
        self.tried: list[str] = []
        monkeypatch.setattr(_verification, "prove", self._prove)

    def _prove(self, _operation: Operation, backup: Backup, _options: ProofOptions) -> Proof:
        self.tried.append(backup.manifest.id)
        outcome = self.outcomes.get(backup.manifest.id, PROVED)
        if isinstance(outcome, BaseException):
            raise outcome
        return proof_of(backup, outcome, seconds={"server": 1.0, "restore": 11.0, "compare": 3.0}, image="postgres:17")

    def verify(self, select: str = "newest", check_mode: bool = False) -> Result:
        docker = FakeDocker(LIVE, images=IMAGES)
        self.operation = operation(self.folder, FakeConnection(), docker, risk=Risk.ASIDE, check_mode=check_mode)
        try:
            return verify_backups(self.operation, select, ProofOptions(limits=Limits("memory")))
        finally:
            self.operation.close()


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    return Stage(monkeypatch, tmp_path)


def test_the_newest_is_proved_and_what_was_compared_is_said(stage: Stage) -> None:
    result = stage.verify()
    assert result.changed and stage.tried == ["chat_20261123_030000"]
    assert result.summary == [
        "Backup 'chat_20261123_030000' is proved: restored into 'postgres:17' in 12 s and compared in 3.0 s: 3 rows in 1 table."
    ]
    assert read_proof(stage.backups[0]).state == PROVED
    assert result.facts["verified"][0]["seconds"] == {"server": 1.0, "restore": 11.0, "compare": 3.0}
    assert result.diff == {"before": "chat_20261123_030000: not proved\n", "after": "chat_20261123_030000: proved\n"}


def test_one_that_does_not_come_back_is_marked_and_fails_the_run_when_all_were_tried(stage: Stage) -> None:
    stage.outcomes = {"chat_20261123_030000": FAILED, "chat_20261122_030000": EngineError("There is too little room.")}
    with pytest.raises(DbopsError) as failed:
        stage.verify("all")
    assert len(stage.tried) == 3
    message = failed.value.message
    assert "Backup 'chat_20261123_030000' does NOT come back as it was made: table public.users is missing. It is marked" in message
    assert "ansible-playbook backup.yml -l chat-production" in message and "dbops_restore_backup=chat_20261123_030000" in message
    assert "Backup 'chat_20261122_030000' could not be tried: There is too little room." in message
    assert "Backup 'chat_20261121_030000' is proved" in message
    assert failed.value.details["failed_backups"] == ["chat_20261123_030000"]
    assert list(failed.value.details["not_tried"]) == ["chat_20261122_030000"]
    assert [read_proof(backup).state for backup in stage.backups] == ["failed", "none", "proved"]


def test_a_disk_that_refuses_the_proof_is_no_success(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: t.Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_verification, "write_proof", full)
    with pytest.raises(DbopsError, match=r"could not be tried: The host's file system refused: .*No space left"):
        stage.verify()


def test_whoever_ends_the_run_ends_it(stage: Stage) -> None:
    stage.outcomes = {"chat_20261123_030000": Interrupted("Interrupted by signal 15")}
    with pytest.raises(Interrupted):
        stage.verify("all")
    assert stage.tried == ["chat_20261123_030000"]


def test_without_a_backup_there_is_nothing_to_be_glad_of(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    running = operation(tmp_path / "empty", FakeConnection(), FakeDocker(LIVE, images=IMAGES), risk=Risk.ASIDE)
    with pytest.raises(DbopsError, match=r"There is no backup of database 'chat' .*ansible-playbook backup.yml -l chat-production"):
        verify_backups(running, "newest", ProofOptions())


def test_check_mode_says_what_would_be_restored_into_what(stage: Stage) -> None:
    result = stage.verify("unverified", check_mode=True)
    assert result.changed and stage.tried == []
    assert len(result.summary) == 3
    assert "into a throwaway server of 'postgres:17', in memory, and compare it." in result.summary[0]


# --- which ones -----------------------------------------------------------------------------------------------------------


def test_what_is_chosen(stage: Stage, tmp_path: Path) -> None:
    newest, middle, oldest = stage.backups
    written(tmp_path, newest, proof_of(newest))
    written(tmp_path, middle, proof_of(middle, FAILED))
    assert choose(stage.backups, "newest") == [newest]
    assert choose(stage.backups, "all") == stage.backups
    assert choose(stage.backups, "unverified") == [oldest]
    assert choose(stage.backups, "random", draw=lambda backups: backups[1]) == [middle]
    assert choose(stage.backups, "chat_20261121_030000") == [oldest]
    with pytest.raises(DbopsError, match=r"no backup 'yesterday' \(dbops_verify_select: .*The newest: chat_20261123_030000"):
        choose(stage.backups, "yesterday")


def test_the_newest_is_not_the_state_that_a_restore_has_replaced(stage: Stage) -> None:
    replaced = published(stage.folder, id="chat_20261123_040000_before_restore", created="2026-11-23T04:00:00Z", reason="before_restore")
    assert choose([replaced, *stage.backups], "newest") == [stage.backups[0]]
    assert choose([replaced], "newest") == [replaced]


def test_a_second_run_over_what_is_unverified_changes_nothing(stage: Stage) -> None:
    assert stage.verify("unverified").changed
    again = stage.verify("unverified")
    assert not again.changed and again.summary == ["Every one of the 3 backups of database 'chat' was verified before."]


# --- into what ------------------------------------------------------------------------------------------------------------


def planned(images: dict[str, Image], limits: Limits | None = None, live: str = "sha256:server", **changes: t.Any) -> _proof_server.Plan:
    docker: t.Any = FakeDocker(replace(LIVE, image_id=live), images=images)
    docker.root = lambda: "/"
    running = operation("/nowhere", FakeConnection({"shared_preload_libraries": [("timescaledb",)]}), docker)
    running = replace(running, target=replace(running.target, container=docker.containers["server-id"]))
    return plan_server(running, manifest(**changes), limits or Limits("memory"))


def image(identity: str, major: str = "17") -> Image:
    return Image(identity, {"PG_MAJOR": major}, ("/data",), {})


def test_the_very_image_is_taken() -> None:
    plan = planned({"sha256:server": image("sha256:server")})
    assert (plan.machine.image.id, plan.image, plan.note) == ("sha256:server", "postgres:17", "")


def test_where_it_is_gone_one_of_the_same_version_is_taken_and_said() -> None:
    plan = planned({"postgres:17": image("sha256:newer")}, image_id="sha256:gone")
    assert plan.machine.image.id == "sha256:newer" and "is not on this host any more" in plan.note
    plan = planned({"postgres:17": image("x", "18"), "sha256:server": image("sha256:server")}, image_id="sha256:gone", image="postgres:17")
    assert plan.machine.image.id == "sha256:server", "the name means another version by now"


def test_where_there_is_none_the_line_that_gets_one_is_said() -> None:
    with pytest.raises(DbopsError, match=r"PostgreSQL 14: run 'docker pull postgres:14' there"):
        planned({"sha256:server": image("sha256:server")}, image_id="gone", image="postgres:14", server_version_number=140012)


@pytest.mark.parametrize(
    ("limits", "available", "in_memory"),
    [
        (Limits("memory"), 0, True),
        (Limits("disk"), 2**40, False),
        (Limits(), 24 * 2**30, True),
        (Limits(), 3 * 2**30, False),
        (Limits(memory=2**30), 2**40, False),
        (Limits(memory=4 * 2**30), 24 * 2**30, True),
        (Limits(memory=4 * 2**30), 3 * 2**30, False),
    ],
)
def test_where_the_copy_lies(monkeypatch: pytest.MonkeyPatch, limits: Limits, available: int, in_memory: bool) -> None:
    monkeypatch.setattr(_proof_server, "available_memory", lambda: available)
    plan = planned({"sha256:server": image("sha256:server")}, limits, database_size=2**30)
    assert plan.machine.in_memory is in_memory
    assert plan.machine.memory == (limits.memory or 2 * 2**30 + (int(1.5 * 2**30) if in_memory else 0))
    assert plan.machine.room == (int(1.5 * 2**30) if in_memory else 0)


def test_too_little_room_is_said_beforehand_with_what_has_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    images = {"sha256:server": image("sha256:server")}
    monkeypatch.setattr(_proof_server, "free_space", lambda _folder: 2**30)
    for available, advised in ((2**40, True), (2**30, False)):
        monkeypatch.setattr(_proof_server, "available_memory", lambda available=available: available)
        with pytest.raises(DbopsError, match="too little room on the engine's volume") as refused:
            planned(images, Limits("disk"), database_size=2**33)
        assert ("-e dbops_verify_place=memory" in refused.value.message) is advised
    with pytest.raises(DbopsError, match=r"too little memory on the host.*-e dbops_verify_place=disk"):
        planned(images, Limits("memory"), database_size=2**33)


def test_memory_is_what_the_kernel_says(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  100 kB\nMemAvailable:   50 kB\n")
    assert available_memory(str(tmp_path / "meminfo")) == 50 * 1024
    assert available_memory(str(tmp_path / "nothing")) == 0


def test_an_earlier_manifest_knows_names_only_and_lets_them_do_all() -> None:
    known = Role("chat_owner", ("LOGIN",))
    assert roles_of(manifest(roles=("chat_owner", "pg_monitor", "reader"), role_definitions=(known,))) == (
        known,
        Role("reader", ("SUPERUSER", "INHERIT")),
    )


# --- what is compared -----------------------------------------------------------------------------------------------------


def test_the_databases_own_properties_are_compared_in_any_order_and_no_value_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = properties(settings=(Setting("", "app.jwt_secret", "hidden-word"), Setting("reader", "search_path", "a")))
    there = replace(mine, comment="another", tablespace="dbops_memory", settings=mine.settings[::-1], grants=(mine.grants or ())[::-1])

    def compared(found_there: Properties) -> list[str]:
        monkeypatch.setattr(_proof_restore._database, "read_properties", lambda _connection, _name: found_there)
        found = Findings()
        _proof_restore._compare_properties(manifest(properties=mine), t.cast(t.Any, None), "chat", found)
        return found.failures

    assert compared(there) == ["the database's comment is not what it was"]
    assert compared(replace(mine, settings=())) == [
        "the database's setting app.jwt_secret is not what it was",
        "the database's setting search_path is not what it was",
    ]


@pytest.mark.parametrize(
    ("line", "version", "held_against_it"),
    [
        ("~ extension hstore: version 1.7 in public -> version 1.8 in public", 170005, False),
        ("- index public.half CREATE INDEX half ON public.users (id) INVALID", 170005, False),
        ("- index public.whole CREATE INDEX whole ON public.users (id)", 170005, True),
        ("~ schema public: owner app -> owner postgres", 140012, False),
        ("~ schema public: owner app -> owner postgres", 170005, True),
        ("~ constraint kind on public.users: CHECK (((a)::text = ANY ((ARRAY['x'::varchar])::text[]))) -> CHECK (x)", 170005, False),
        ("~ materialized view public.report: SELECT 1 -> SELECT (1)", 170005, False),
        ("~ column public.users.at: timestamptz default now() -> timestamptz default (now())", 170005, False),
        ("~ column public.users.id: integer -> bigint", 170005, True),
        ("~ type public.mood: enum ok, sad -> enum ok", 170005, True),
        ("~ type public.code: domain of text check ((a)) -> domain of text check (a)", 170005, False),
        ("~ table public.users: owner chat -> owner postgres", 170005, True),
        ("+ table public.more", 170005, True),
    ],
)
def test_what_a_restore_makes_otherwise_on_purpose_is_not_held_against_it(line: str, version: int, held_against_it: bool) -> None:
    """See planetscale/migration-scripts#75 for what a CHECK becomes on its way through a dump."""
    assert (not _proof_restore._as_it_should_be(line, version)) is held_against_it


def test_a_schema_that_was_read_by_other_rules_is_not_compared() -> None:
    backup = Backup("/nowhere", manifest(schema_format=2))
    found = Findings()
    _proof_restore._compare_schema(backup, t.cast(t.Any, None), found)
    assert found.failures == [] and "by other rules" in found.not_compared[0]


def asked(queries: t.Sequence[Query], **answers: t.Any) -> Findings:
    connection = FakeConnection(answers)
    new: t.Any = type("New", (), {"session": lambda _self: contextlib.nullcontext(connection), "search_path": "public"})()
    found = Findings()
    _proof_restore._ask(new, queries, found)
    assert not queries or "BEGIN READ ONLY" in connection.statements
    return found


def test_the_operators_queries_are_asked_and_say_nothing_about_the_backup() -> None:
    queries = [Query(name, name, expected) for name, expected in (("admins", "true"), ("users", "3"), ("nobody", ""), ("many", "1"))]
    found = asked(
        [*queries, Query("broken", "broken", "1")],
        admins=[(True,)],
        users=[(4,)],
        nobody=[(None,)],
        many=[(1,), (1,)],
        broken=psycopg2.Error("no"),
    )
    assert found.unmet == [
        "the query 'users' gave '4' instead of '3'",
        "the query 'many' has to give one value, not 2 rows",
        "the query 'broken' failed: no",
    ]
    assert found.failures == [] and found.compared == ["5 questions of the operator's own"]
    assert asked([]).compared == []


def test_only_what_is_said_of_the_archive_is_held_against_the_backup() -> None:
    sandbox = Sandbox(container("proof"), "x", ADDRESS, "chat", "x")
    running = operation("/nowhere", docker=FakeDocker(LIVE, container("proof")))
    _throwaway_restore.require_server(
        running, sandbox, DbopsError("pg_restore failed", output="could not read from input file: end of file"), "dbops_verify"
    )
    for said in (
        "No space left on device",
        "out of memory",
        "no message",
        "connection to server failed: in recovery mode",
        "out of shared memory",
    ):
        with pytest.raises(EngineError, match="says nothing about the backup"):
            _throwaway_restore.require_server(running, sandbox, DbopsError("pg_restore failed", output=said), "dbops_verify")
    gone = operation("/nowhere", docker=FakeDocker(LIVE))
    with pytest.raises(EngineError, match="-e dbops_verify_place=disk"):
        _throwaway_restore.require_server(gone, sandbox, DbopsError("could not read from input file"), "dbops_verify")


def test_no_row_and_no_secret_is_written_down() -> None:
    running = operation("/nowhere", docker=FakeDocker(LIVE))
    running.redactor.add("hidden-word")
    said = 'could not create unique index "a"  DETAIL:  Key (email)=(ann@example.com) is duplicated.'
    assert _proof_restore._shown(running, said) == 'could not create unique index "a"'
    assert "hidden-word" not in _proof_restore._shown(running, "setting hidden-word")


def test_what_is_expected_and_does_not_hold_fails_the_run_but_marks_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    unmet = ("the query 'users' gave '4' instead of '3'",)
    whole = _verification.prove
    monkeypatch.setattr(_verification, "prove", lambda *given: replace(whole(*given), unmet=unmet))
    with pytest.raises(DbopsError, match="which says nothing about the backup: the query 'users' gave '4'") as failed:
        stage.verify()
    assert failed.value.details["unmet"] == {"chat_20261123_030000": list(unmet)}
    assert read_proof(stage.backups[0]).state == PROVED


def test_what_another_server_made_or_a_clock_that_was_ahead_is_meant_by_its_id_only(stage: Stage) -> None:
    published(stage.folder, id="chat_20991123_030000", created="2099-11-23T03:00:00Z")
    published(stage.folder, id="chat_20261125_030000", created="2026-11-25T03:00:00Z", server_identifier="42")
    stage.verify()
    stage.verify("chat_20261125_030000")
    assert stage.tried == ["chat_20261123_030000", "chat_20261125_030000"]


# --- the options ----------------------------------------------------------------------------------------------------------

GIVEN = {"jobs": 2, "queries": [], "place": "auto", "memory": None, "cpus": 0}


def test_options_are_taken_as_a_person_writes_them() -> None:
    queries = [{"name": None, "query": "SELECT 1", "expected": True}, {"name": "b", "query": "SELECT 2", "expected": 42}]
    options = proof_options(dict(GIVEN, memory="8g", cpus=1.5, queries=queries))
    assert options.limits == Limits("auto", 1.5, 8 * 2**30)
    assert options.queries == (Query("SELECT 1", "SELECT 1", "true"), Query("b", "SELECT 2", "42"))


@pytest.mark.parametrize("given", [{"memory": "much"}, {"memory": "1m"}, {"jobs": 0}, {"cpus": -1}])
def test_what_makes_no_sense_is_refused(given: dict[str, t.Any]) -> None:
    with pytest.raises(DbopsError, match="dbops_verify_"):
        proof_options(dict(GIVEN, **given))
