# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checks: from facts to findings, without an engine or a server. Every kind of finding is found once, and as the first one."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.backend._connection_url import parse_address
from ansible_collections.dbops.postgres.plugins.module_utils.backend._env_file import EnvFile
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis import _look as look
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._diagnosis import judge
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._facts import (
    KINDS,
    Branch,
    Claim,
    Contents,
    Database,
    Disk,
    Expected,
    Facts,
    PlanFacts,
    Production,
    ServerFacts,
    Table,
    Tried,
    View,
    Wait,
    refusal_kind,
)
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._queries import _waits
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Endpoint
from ansible_collections.dbops.postgres.plugins.module_utils.server._vitals import Slot
from ansible_collections.dbops.postgres.plugins.module_utils.text._log_summary import summarise
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import OTHER_RUN, container

COMPOSE = {
    "com.docker.compose.project": "chat",
    "com.docker.compose.service": "db-preview",
    "com.docker.compose.project.working_dir": "/opt/chat",
    "com.docker.compose.project.config_files": "/opt/chat/docker-compose.production.yml",
}
SERVER = container("chat-postgres-preview", endpoints=(Endpoint("chat", "172.19.0.3", ("db-preview",)),), labels=COMPOSE)
BACKEND = container("chat-backend-preview-x", health="healthy")
URL = "postgresql://postgres:hid-den@chat-postgres-preview:5432/chat_preview?sslmode=disable"
SOUND = ServerFacts(
    identifier="7",
    version="18.1",
    superuser=True,
    databases=(Database("chat_preview"), Database("postgres")),
    roles={"postgres": True, "sleeper": False},
)
USERS = Table("public", "users", True)
PRODUCTION = container("chat-postgres-prod", endpoints=(Endpoint("chat", "172.19.0.9"),))


def facts(**changes: t.Any) -> Facts:
    """A preview on which nothing is wrong, but for what is given."""
    made = Facts(
        Expected("chat-preview", "preview", "chat_preview", SERVER.name, backends=("chat-backend-preview-*",)),
        containers=(SERVER, BACKEND, PRODUCTION),
        container=SERVER,
        candidates=(SERVER,),
        backends=(BACKEND,),
        listening=(5432,),
        ours=Tried(),
        server=SOUND,
        contents=Contents((USERS,), (View("postgres", ("public",)),)),
        branches=(branch(URL),),
    )
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def claim(url: str, source: str = "container", refusal: str = "") -> Claim:
    address = parse_address(url)
    host = address.places[0].host
    meant = next((item for item in (SERVER, PRODUCTION) if host in item.hostnames), None)
    tried = Tried(refusal, "production" if meant is PRODUCTION else "") if meant else None
    return Claim(source, BACKEND.name, "PREVIEW_DATABASE_URL", address, "", meant, meant is not None, tried)


def branch(url: str, in_file: str = "", refusal: str = "") -> Branch:
    file = EnvFile("/opt/chat-preview/x/.env.preview", pairs=(("PREVIEW_DATABASE_URL", in_file or url),))
    return Branch(BACKEND.name, BACKEND, file, claim(url, refusal=refusal), claim(in_file or url, "file", refusal))


def with_url(url: str, **further: t.Any) -> dict[str, t.Any]:
    return {"branches": (branch(url, **further),)}


def server(**changes: t.Any) -> dict[str, t.Any]:
    return {"server": replace(SOUND, **changes)}


def stopped(**changes: t.Any) -> dict[str, t.Any]:
    item = replace(SERVER, status="exited", **changes)
    return {"container": item, "candidates": (item,), "server": None, "ours": None}


def backend(**changes: t.Any) -> dict[str, t.Any]:
    item = replace(BACKEND, **changes)
    return {"backends": (item,), "containers": (SERVER, item)}


def refused(text: str) -> dict[str, t.Any]:
    return {"ours": Tried(text), "server": None, "contents": None}


def contents(*tables: Table, **changes: t.Any) -> dict[str, t.Any]:
    return {"contents": Contents(tables, changes.pop("views", (View("postgres", ("public",)),)), **changes)}


def file_with(**changes: t.Any) -> dict[str, t.Any]:
    sound = branch(URL)
    assert sound.file
    return {"branches": (replace(sound, file=replace(sound.file, **changes)),)}


EMPTY = replace(USERS, rows=False)
FAILED = {
    "operation": "migrate",
    "result": "failed",
    "run_id": OTHER_RUN,
    "message": "The migration failed. The schema was left changed: + column x.",
}
KEPT_ELSEWHERE = {
    "operation": "backup",
    "result": "ok",
    "database": "chat_preview",
    "server_id": "1",
    "backup": "chat_preview_1",
    "finished": "then",
}
DATA = "the server's data"

#: What is so, and the kind that has to come first.
CASES: list[tuple[str, dict[str, t.Any]]] = [
    ("docker_missing", {"engine_trouble": "The program 'docker' is not installed on this host."}),
    ("engine_denied", {"engine_trouble": "User may not use the Docker engine: add"}),
    ("engine_down", {"engine_trouble": "The Docker engine does not answer: start it"}),
    ("compose_twice", {"container": None, "candidates": (SERVER, PRODUCTION)}),
    ("container_missing", {"container": None, "candidates": ()}),
    ("slot_fills_disk", {**server(slots=(Slot("old", False, "extended", 2 * 10**9),)), "disks": (Disk(DATA, "/data", 10**10, 10**9),)}),
    ("disk_full", {"disks": (Disk(DATA, "/data", 10**10, 10**6),)}),
    ("disk_full", {**stopped(exit_code=1), "logs": {SERVER.name: summarise("FATAL: could not write: No space left on device")}}),
    ("container_out_of_memory", stopped(out_of_memory=True, exit_code=137)),
    ("container_out_of_memory", stopped(exit_code=137)),
    ("container_paused", {"container": replace(SERVER, status="paused")}),
    ("container_restarting", {"container": replace(SERVER, status="restarting", restarts=4, exit_code=1)}),
    ("container_restarting", {**refused("Connection refused"), "container": replace(SERVER, restarts=4), "listening": ()}),
    ("container_restarting", {**refused("Connection refused"), "container": replace(SERVER, restarts=4), "listening": None}),
    ("container_restarting", {**refused("No route to host"), "container": replace(SERVER, restarts=4), "listening": None}),
    ("container_stopped", stopped()),
    ("container_stopped", stopped(trouble="bind: address already in use", exit_code=128)),
    ("no_network", {"container": replace(SERVER, endpoints=()), "branches": ()}),
    ("server_starting", refused("FATAL:  the database system is starting up")),
    ("wrong_port", {**refused("Connection refused"), "listening": (5433,)}),
    ("server_silent", {**refused("Connection refused"), "listening": ()}),
    ("server_silent", {**refused("timeout expired"), "listening": None}),
    ("server_silent", {**refused("timeout expired"), "container": replace(SERVER, restarts=1), "listening": None}),
    ("hba_refuses", refused("no pg_hba.conf entry for host")),
    ("hba_refuses", with_url(URL, refusal="no pg_hba.conf entry for host")),
    ("password_rotated", refused("password authentication failed")),
    ("too_many_connections", refused("sorry, too many clients already")),
    ("too_many_connections", server(connections=97, sessions_by=(("x of role app", 97),))),
    ("too_many_connections", server(databases=(Database("chat_preview", limit=5, sessions=5),))),
    ("login_refused", refused('role "x" is not permitted to log in')),
    ("database_blocked", server(databases=(Database("chat_preview", open=False),), swapping=OTHER_RUN)),
    (
        "server_replaced",
        {**server(identifier="2"), **contents(EMPTY, Table("public", "schema_migrations", True)), "journal": (KEPT_ELSEWHERE,)},
    ),
    ("database_missing", server(databases=(Database("chat_preveiw"),))),
    ("server_read_only", server(in_recovery=True)),
    ("server_read_only", server(read_only=(("database 'chat_preview'", "ALTER DATABASE chat_preview RESET x"),))),
    ("server_read_only", {"container": replace(SERVER, command=("postgres", "-c", "default_transaction_read_only=on"))}),
    ("wraparound", server(databases=(Database("chat_preview", age=1_700_000_000),))),
    ("lock_blocked", server(waits=(Wait(7, 60, "SELECT 1", 8, "role x", "idle in transaction", 90),))),
    ("lock_blocked", server(waits=(Wait(7, 60, "SELECT 1", 0, "a prepared transaction", "", 0),))),
    ("name_twice", {"containers": (SERVER, BACKEND, container("copy", endpoints=(Endpoint("chat", "172.19.0.8", (SERVER.name,)),)))}),
    ("url_production", with_url("postgresql://postgres:hid-den@chat-postgres-prod/chat?sslmode=disable")),
    ("network_apart", {"branches": (replace(branch(URL), has=replace(claim(URL), reachable=False), reads=None),)}),
    ("url_unreadable", {"branches": (Branch("x", BACKEND, None, Claim("container", "x", "DATABASE_URL", trouble="it is empty")),)}),
    ("url_missing", {"branches": (Branch("x", BACKEND, None, Claim("container", "x", "", trouble="it has no variable")),)}),
    ("url_wrong_host", with_url(URL.replace("chat-postgres-preview", "nobody"))),
    ("url_wrong_host", with_url(URL.replace("chat-postgres-preview", "127.0.0.1"))),
    ("url_wrong_port", with_url(URL.replace("5432", "5433"))),
    ("url_wrong_database", with_url(URL.replace("chat_preview?", "chat_old?"))),
    ("url_wrong_user", with_url(URL.replace("//postgres", "//postgers"))),
    ("url_wrong_user", with_url(URL.replace("//postgres", "//sleeper"))),
    ("url_wrong_password", with_url(URL, refusal="password authentication failed for user")),
    ("url_wrong_sslmode", with_url(URL.replace("disable", "require"))),
    ("url_wrong_sslmode", with_url(URL.replace("disable", "disabled"))),
    (
        "url_wrong_sslmode",
        {**with_url(URL.partition("?")[0]), "logs": {BACKEND.name: summarise("ERROR pq: SSL is not enabled on the server")}},
    ),
    ("data_elsewhere", contents(EMPTY, Table("app", "users", True))),
    ("data_elsewhere", contents(Table("app", "users", True))),
    ("data_elsewhere", contents(EMPTY, elsewhere=(("chat_old", ("public.users",)),))),
    ("migration_half_applied", {"journal": (FAILED,)}),
    ("migration_pending", {"plan": PlanFacts(False, 2, ("+ table public.x",), "chat-backend:v2")}),
    ("grant_missing", contents(USERS, views=(View("app", ("public",), denied=("public.users",)),))),
    ("grant_missing", contents(USERS, views=(View("app", ("public",), denied_schemas=("public",)),))),
    ("rows_hidden", contents(replace(USERS, row_security=True), views=(View("app", ("public",), hidden=("public.users",)),))),
    ("tables_empty", contents(EMPTY)),
    ("server_process_killed", {"logs": {SERVER.name: summarise("LOG:  server process (PID 7) was terminated by signal 9: Killed")}}),
    ("container_unhealthy", {"container": replace(SERVER, health="unhealthy")}),
    ("backend_out_of_memory", backend(status="restarting", exit_code=137)),
    ("backend_crash_loop", backend(status="restarting", restarts=9, exit_code=1)),
    ("backends_stopped", backend(status="exited")),
    ("backend_unhealthy", backend(health="unhealthy")),
    ("idle_in_transaction", server(idle=((7, "role x", 90.0),))),
    ("index_invalid", contents(USERS, invalid_indexes=("public.x",))),
    ("collation_mismatch", server(databases=(Database("chat_preview", collation="2.28", collation_now="2.36"),))),
    ("clock_skew", {"clocks": (("the controller", -90.0),)}),
    ("env_file_differs", with_url(URL, in_file=URL.replace("5432", "5433"))),
    ("env_file_trouble", file_with(trouble="is missing")),
    ("env_file_trouble", file_with(oddities=("has Windows line ends",))),
    ("env_file_trouble", {"branches": (replace(branch(URL), several=("a", "b")),)}),
    ("images_differ", {"backends": (BACKEND, replace(BACKEND, name="other", image_id="sha256:other"))}),
    ("leftovers", server(leftovers=("database 'x'",))),
    ("seed_interrupted", server(seeding=OTHER_RUN)),
    ("slot_holds_wal", server(slots=(Slot("old", False, "reserved", 10),))),
    ("wraparound_near", server(databases=(Database("chat_preview", age=1_200_000_000),))),
    ("prepared_transaction", server(prepared=(("gid", 7200.0),))),
    (
        "rows_may_be_hidden",
        contents(replace(USERS, row_security=True, policies=1), views=(View("app", ("public",), hidden=("public.users",)),)),
    ),
    ("migration_endless", {"plan": PlanFacts(trouble="it did not end", endless=True)}),
    ("plan_failed", {"plan": PlanFacts(trouble="it failed")}),
    ("operation_running", server(running="migrate by ann")),
    ("backend_stopped", {"backends": (replace(BACKEND, name="gone", status="exited"), BACKEND)}),
    ("backend_missing", {"backends": (), "branches": ()}),
    ("address_elsewhere", with_url(URL.replace("chat-postgres-preview", "db.example.com"))),
    ("disk_filling", {"disks": (Disk("the backups", "/opt", 10**10, 5 * 10**8),)}),
    ("error_lines", {"logs": {BACKEND.name: summarise("ERROR something")}}),
]


def test_where_nothing_is_wrong_nothing_is_found() -> None:
    sound = facts(
        plan=PlanFacts(), journal=({"operation": "migrate", "result": "ok", "changed": True},), disks=(Disk(DATA, "/", 10**12, 10**11),)
    )
    assert judge(sound) == [] and sound.unseen == []


@pytest.mark.parametrize(("kind", "changes"), CASES)
def test_what_is_wrong_is_the_first_finding(kind: str, changes: dict[str, t.Any]) -> None:
    looked = facts(**changes)
    found = judge(looked)
    assert [item.kind for item in found][:1] == [kind], found
    assert looked.unseen == []
    for item in found:
        assert item.found.endswith((".", ")")) or item.found[-1].isalnum(), item.found
        assert item.why and item.do and item.looked_at
        assert "hid-den" not in item.found + " ".join(item.do)


def test_every_kind_is_found_once() -> None:
    assert {kind for kind, _changes in CASES} == set(KINDS)


def test_a_later_success_makes_a_failed_migration_history() -> None:
    restored = {"operation": "restore", "result": "ok", "changed": True, "run_id": OTHER_RUN}
    assert judge(facts(journal=(FAILED, restored))) == []


def test_a_replaced_server_is_told_from_a_move_that_is_over() -> None:
    lost = facts(**server(identifier="2"), **contents(EMPTY), journal=(KEPT_ELSEWHERE, dict(KEPT_ELSEWHERE, server_id="2", backup="new")))
    first = judge(lost)[0]
    assert first.kind == "server_replaced" and "until then (it is 2, that was 1)" in first.found
    assert any("restore.yml -l chat-preview -e dbops_restore_backup=chat_preview_1 " in line for line in first.do)
    assert judge(facts(**server(identifier="2"), journal=(KEPT_ELSEWHERE,))) == [], "the data is here"
    assert judge(facts(**server(identifier="1"), **contents(EMPTY), journal=(KEPT_ELSEWHERE,)))[0].kind == "tables_empty"
    other = dict(KEPT_ELSEWHERE, database="shop")
    assert judge(facts(**server(identifier="2"), **contents(EMPTY), journal=(other,)))[0].kind == "tables_empty"


def test_the_same_fault_of_several_backends_is_one_finding() -> None:
    those = tuple(replace(branch(URL.replace("5432", "5433")), name="b%d" % number) for number in range(6))
    found = judge(facts(branches=those))
    assert [item.kind for item in found] == ["url_wrong_port"]
    assert "And 2 backends more." in found[0].found


def test_an_edit_without_a_restart_is_told() -> None:
    [first, *_others] = judge(facts(**with_url(URL.replace("5432", "5433"), in_file=URL)))
    assert first.kind == "url_wrong_port" and "the container was not made anew" in first.found


def test_from_production_only_what_points_at_it_is_of_interest() -> None:
    expected = Expected("chat-production", "production", "chat", PRODUCTION.name)
    stranger = branch("postgresql://postgres:hid-den@chat-postgres-prod/chat")
    seen = facts(expected=expected, container=PRODUCTION, candidates=(PRODUCTION,), branches=(), backends=(), server=None, contents=None)
    seen.strangers = (replace(stranger, container=None, has=None),)
    assert [item.kind for item in judge(seen)] == ["url_production"]


def test_production_of_the_inventory_is_recognised_by_its_container() -> None:
    expected = replace(facts().expected, productions=(Production("chat-production", "chat-postgres-prod", "chat"),))
    [first, *_others] = judge(facts(expected=expected, **with_url("postgresql://postgres:hid-den@chat-postgres-prod/other")))
    assert first.kind == "url_production" and "host 'chat-production'" in first.found


@pytest.mark.parametrize(
    ("text", "kind"), [("", ""), ("something else", "other"), ('FATAL: role "x" does not exist', "role"), ("SSL is not enabled", "ssl")]
)
def test_refusals_are_told_apart(text: str, kind: str) -> None:
    assert refusal_kind(text) == kind


def test_who_is_at_the_root_of_a_queue() -> None:
    """3 waits for 2, which waits for 1; 1 does nothing."""
    waiting = [(3, 50.0, "SELECT 3", [2]), (2, 40.0, "SELECT 2", [1])]
    activity = {1: (1, "role x", "idle in transaction", 60.0, 55.0, "LOCK TABLE users")}
    [found] = _waits(waiting, activity, 30)
    assert (found.blocker_pid, found.pid, found.waiting) == (1, 3, 2) and "LOCK TABLE users" in found.blocker
    assert _waits(waiting, activity, 60) == ()


def test_a_deadlock_is_no_endless_loop() -> None:
    assert _waits([(1, 50.0, "a", [2]), (2, 50.0, "b", [1])], {}, 30)


def test_where_something_listens() -> None:
    text = (
        "  sl  local_address rem_address   st\n   0: 00000000:1538 00000000:0000 0A 0\n   1: 0B00007F:92DD 00000000:0000 0A 0\n"
        "   2: 00000000:1539 0100007F:0001 01 0\n   0: 00000000000000000000000000000000:1538 00:0 0A 0\n"
    )
    assert look.parse_listening(text) == (5432,)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Filesystem 1024-blocks Used Available Capacity Mounted on\noverlay 100 40 60 40% /\n", Disk(DATA, "/d", 102400, 61440)),
        ("Filesystem\n", None),
        ("df: /d: No such file\n", None),
    ],
)
def test_free_space_as_df_says_it(text: str, wanted: Disk | None) -> None:
    assert look.parse_df(text, "/d") == wanted


HBA = '2026-11-25 01:58:22 UTC [281] FATAL: no pg_hba.conf entry for host "192.168.112.1", user "postgres"'


@pytest.mark.parametrize(("said", "found"), [("ERROR serve: pq: " + HBA, True), ("ERROR: usage: backend serve", False)])
def test_what_the_server_refused_a_while_ago_is_no_cause_by_itself(said: str, found: bool) -> None:
    crashing = replace(branch(URL), container=replace(BACKEND, status="restarting"))
    logs = {SERVER.name: summarise(HBA), crashing.name: summarise(said)}
    kinds = [item.kind for item in judge(facts(branches=(crashing,), logs=logs))]
    assert ("hba_refuses" in kinds) is found
