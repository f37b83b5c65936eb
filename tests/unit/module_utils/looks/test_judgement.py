# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The judgements: from which figure on a light changes, what the sentence names, and that the command is fit for a shell."""

from __future__ import annotations

import shlex
import typing as t
from dataclasses import replace

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.looks import _judgement
from ansible_collections.dbops.postgres.plugins.module_utils.looks._judgement import command_in, judge, worst
from ansible_collections.dbops.postgres.plugins.module_utils.looks._observed import (
    Backend,
    Backups,
    Finding,
    Light,
    Limits,
    Observed,
    Pending,
    Place,
)
from ansible_collections.dbops.postgres.plugins.module_utils.server._vitals import (
    Age,
    Collations,
    Connections,
    Sequence,
    Slot,
    Table,
    Transaction,
    Wait,
)
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import SERVER_ID, evidence

PLACE = Place("chat-production", "chat", "chat-postgres-prod")
PREVIEW = replace(PLACE, host="chat-preview", environment="preview")
LIMITS = Limits()
GB = 2**30
DAY = 86400

#: A database of which everything is known and nothing is the matter.
WELL = Observed(
    PLACE,
    server={"identifier": SERVER_ID, "version": "18.0", "in_recovery": False},
    uptime=3600.0,
    evidence=evidence(host="chat-production", database="chat", environment="production", marker="production"),
    size=GB,
    connections=Connections(3, 97, "server"),
    schema="0" * 64,
    pending=Pending("none", "journal"),
    backups=Backups(2, "chat_20261123_030000", "2026-11-23T03:00:00Z", 3600, growth=0.1 * GB),
    transaction=Transaction(7, "ann", "psql", "", "active", 2),
    free=100 * GB,
    volume=200 * GB,
    ages=(Age("transaction ids", "chat", 10**6, 2 * 10**8, 16 * 10**8),),
    sequences=(Sequence("public.users_id_seq", 10, 100),),
    backends=(Backend("chat-backend", "chat-backend:v1", "running", "healthy", 0, DAY),),
    collations=Collations("2.36", "2.36", 0),
)


def found(check: str, limits: Limits = LIMITS, place: Place = PLACE, **changes: t.Any) -> list[Finding]:
    return [finding for finding in judge(replace(WELL, place=place, **changes), limits) if finding.check == check]


def light_of(check: str, limits: Limits = LIMITS, place: Place = PLACE, **changes: t.Any) -> str:
    return worst(found(check, limits, place, **changes)).word


def test_a_database_that_is_well_has_no_finding() -> None:
    assert judge(WELL, LIMITS) == []
    assert worst([]) is Light.GREEN


def test_what_is_not_known_is_not_judged() -> None:
    assert judge(Observed(PLACE), Limits()) == []


# --- thresholds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "light"), [(0, "green"), (89, "green"), (90, "yellow"), (94, "yellow"), (95, "red"), (100, "red"), (130, "red")]
)
def test_connections(used: int, light: str) -> None:
    assert light_of("connections", connections=Connections(used, 100, "database")) == light


def test_a_database_that_nobody_may_use_is_full() -> None:
    assert light_of("connections", connections=Connections(0, 0, "database")) == "green"
    assert light_of("connections", connections=Connections(1, 0, "database")) == "red"


@pytest.mark.parametrize(("last", "light"), [(84, "green"), (85, "yellow"), (94, "yellow"), (95, "red")])
def test_sequences(last: int, light: str) -> None:
    assert light_of("sequences", sequences=(Sequence("public.x", last, 100),)) == light


@pytest.mark.parametrize(("free", "light"), [(5.0, "green"), (4.9, "yellow"), (3.0, "yellow"), (2.9, "red"), (0, "red")])
def test_free_space(free: float, light: str) -> None:
    assert light_of("disk", free=int(free * GB), volume=100 * GB, size=0, backups=None) == light


@pytest.mark.parametrize(
    ("growth", "light"),
    [(None, "green"), (-1.0, "green"), (0.0, "green"), (3.3, "green"), (3.4, "yellow"), (14.2, "yellow"), (14.4, "red")],
)
def test_days_until_the_volume_is_full(growth: float | None, light: str) -> None:
    backups = replace(WELL.backups, growth=growth if growth is None else growth * GB)
    assert light_of("disk", backups=backups) == light


def test_room_for_a_second_copy() -> None:
    assert light_of("disk", size=100 * GB, backups=None) == "green"
    [finding] = found("disk", size=101 * GB, backups=None)
    assert finding.light is Light.YELLOW and "second copy" in finding.sentence


@pytest.mark.parametrize(("seconds", "light"), [(4.9, "green"), (5, "yellow"), (59, "yellow"), (60, "red")])
def test_waiting_for_a_lock(seconds: float, light: str) -> None:
    assert light_of("locks", waits=(Wait(9, "app", seconds, (7,)), Wait(10, "app", 1, (9,)))) == light


def test_who_is_waited_for_is_named_and_can_be_ended() -> None:
    [finding] = found("locks", waits=(Wait(9, "app", 6.0, (7, 8)), Wait(10, "app", 1, (9,))))
    assert finding.sentence == "2 sessions wait for a lock, the longest for 6.0 s (process 9), behind process 7, 8."
    assert "pg_terminate_backend(7)" in finding.command
    [finding] = found("locks", waits=(Wait(9, "app", 6.0, (0,)),))
    assert "1 session waits" in finding.sentence and "a prepared transaction" in finding.sentence and not finding.command


@pytest.mark.parametrize(("seconds", "light"), [(299, "green"), (300, "yellow"), (3599, "yellow"), (3600, "red")])
def test_an_open_transaction(seconds: float, light: str) -> None:
    idle = replace(WELL.transaction, state="idle in transaction", seconds=seconds)
    assert light_of("transactions", transaction=idle) == light


def test_how_long_a_transaction_may_take_is_said_by_the_inventory() -> None:
    assert light_of("transactions", Limits(transaction_seconds=1)) == "yellow"


def test_a_prepared_transaction_is_rolled_back_by_its_name() -> None:
    [finding] = found("transactions", transaction=Transaction(0, "ann", "it's", "", "prepared", 400))
    assert shlex.split(finding.command)[-1] == "ROLLBACK PREPARED 'it''s'"


@pytest.mark.parametrize(
    ("age", "light"), [(10**6, "green"), (2 * 10**8, "green"), (4 * 10**8, "yellow"), (15 * 10**8, "yellow"), (16 * 10**8, "red")]
)
def test_wraparound(age: int, light: str) -> None:
    ages = (WELL.ages[0], Age("multixact ids", "postgres", age, 2 * 10**8, 16 * 10**8))
    assert light_of("wraparound", ages=ages) == light


def test_a_server_that_freezes_late_on_purpose_is_not_red_before_it_is_yellow() -> None:
    late = Age("transaction ids", "chat", 15 * 10**8, 10**9, 16 * 10**8)
    assert light_of("wraparound", ages=(late,)) == "green"


@pytest.mark.parametrize(
    ("slot", "light"),
    [
        (Slot("a", True, "reserved", 5 * GB), "green"),
        (Slot("a", True, "extended", 5 * GB), "yellow"),
        (Slot("a", False, "reserved", 5), "yellow"),
        (Slot("a", False, "reserved", 0), "green"),
        (Slot("a", False, "extended", 101 * GB), "red"),
        (Slot("a", True, "unreserved", 5), "red"),
        (Slot("a", False, "lost", 0), "red"),
    ],
)
def test_replication_slots(slot: Slot, light: str) -> None:
    assert light_of("slots", slots=(slot,)) == light


@pytest.mark.parametrize(
    ("table", "light"),
    [
        (Table("public.a", 100, 50, 0, 10, True, None), "green"),
        (Table("public.a", 101, 50, 0, 10, True, None), "yellow"),
        (Table("public.a", 51, 50, 0, 10, False, None), "yellow"),
        (Table("public.a", 0, 50, 20, 10, True, None), "green"),
        (Table("public.a", 0, 50, 21, 10, True, None), "yellow"),
    ],
)
def test_tables_that_need_a_vacuum(table: Table, light: str) -> None:
    assert light_of("vacuum", unvacuumed=(table,)) == light


@pytest.mark.parametrize(
    ("hours", "place", "light"),
    [(24, PLACE, "green"), (24.1, PLACE, "yellow"), (48, PLACE, "yellow"), (48.1, PLACE, "red"), (48.1, PREVIEW, "yellow")],
)
def test_the_age_of_the_newest_backup(hours: float, place: Place, light: str) -> None:
    assert light_of("backups", place=place, backups=replace(WELL.backups, age=hours * 3600)) == light


def test_a_database_without_any_backup() -> None:
    assert light_of("backups", backups=Backups()) == "red"
    assert light_of("backups", place=PREVIEW, backups=Backups()) == "yellow"
    assert light_of("backups", Limits(backup_hours=0), backups=Backups()) == "green"
    [moved] = found("backups", backups=Backups(elsewhere="chat_1"))
    assert light_of("backups", place=PREVIEW, backups=Backups(elsewhere="chat_1")) == "yellow"
    assert moved.light is Light.RED and "was its data volume replaced? Newest: 'chat_1'" in moved.sentence
    assert moved.command.endswith("restore.yml -l chat-production -e dbops_restore_backup=chat_1 -e dbops_confirm=restore:chat")
    [finding] = found("backups", backups=Backups())
    assert finding.command == "ansible-playbook backup.yml -l chat-production"


@pytest.mark.parametrize(
    ("changes", "hours", "light"),
    [
        ({}, 0, "green"),
        ({}, 26, "red"),
        ({"proved": "chat_1", "proved_age": 25 * 3600}, 26, "green"),
        ({"proved": "chat_1", "proved_age": 27 * 3600}, 26, "yellow"),
        ({"proved": "chat_1", "proved_age": 53 * 3600}, 26, "red"),
        ({"proof_trouble": "table public.users is missing", "proved": "chat_1", "proved_age": 3600}, 0, "red"),
    ],
)
def test_a_backup_that_is_not_proved_is_told_where_one_is_expected(changes: dict, hours: float, light: str) -> None:
    backups = replace(WELL.backups, **changes)
    assert light_of("proof", Limits(proof_hours=hours), backups=backups) == light
    if light != "green":
        [finding] = found("proof", Limits(proof_hours=hours), backups=backups)
        assert finding.command.split()[1] == ("backup.yml" if "proof_trouble" in changes else "verify_backups.yml")
    assert light_of("proof", Limits(proof_hours=hours), backups=Backups()) == "green", "that there is none is said elsewhere"


def test_a_backup_that_pg_restore_alone_cannot_restore() -> None:
    trouble = replace(WELL.backups, restorable="no", restorable_trouble="It cannot be restored as it is.")
    [finding] = found("restorable", backups=trouble)
    assert (finding.light, finding.sentence) == (Light.RED, "It cannot be restored as it is.")
    assert light_of("restorable", place=PREVIEW, backups=trouble) == "yellow"
    assert light_of("restorable", backups=replace(WELL.backups, restorable="unknown")) == "green"


def test_a_backup_that_is_not_whole_and_one_that_cannot_be_read() -> None:
    assert light_of("backups", backups=replace(WELL.backups, intact=False)) == "red"
    [finding] = found("backups", backups=replace(WELL.backups, unreadable=("a", "b", "c", "d")))
    assert finding.light is Light.YELLOW
    assert finding.sentence.endswith("cannot be read as a backup: 'a', 'b', 'c' and 1 more.") and "4 folders" in finding.sentence


# --- states ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backend", "place", "light"),
    [
        (Backend("b", "i", "running", "", 9, DAY), PLACE, "green"),
        (Backend("b", "i", "running", "starting", 0, 1), PLACE, "green"),
        (Backend("b", "i", "running", "unhealthy", 0, DAY), PLACE, "red"),
        (Backend("b", "i", "restarting", "", 1, 1), PLACE, "red"),
        (Backend("b", "i", "running", "healthy", 3, 60), PLACE, "red"),
        (Backend("b", "i", "running", "healthy", 2, 60), PLACE, "green"),
        (Backend("b", "i", "exited", "", 0, DAY), PLACE, "red"),
        (Backend("b", "i", "exited", "unhealthy", 0, DAY), PREVIEW, "yellow"),
    ],
)
def test_backends(backend: Backend, place: Place, light: str) -> None:
    assert light_of("backends", place=place, backends=(backend,)) == light


@pytest.mark.parametrize(
    ("changes", "light", "words"),
    [
        ({}, "green", ""),
        ({"marker": "preview"}, "red", "the database is marked 'preview'"),
        ({"marker": ""}, "green", ""),
        ({"pinned_server_id": "42"}, "red", "pins server 42"),
    ],
)
def test_what_the_witnesses_of_production_say(changes: dict[str, str], light: str, words: str) -> None:
    findings = found("environment", evidence=replace(WELL.evidence, **changes))
    assert worst(findings).word == light
    assert any(words in finding.sentence for finding in findings) or not words


@pytest.mark.parametrize(
    ("changes", "lights"),
    [
        ({}, []),
        ({"marker": ""}, ["yellow"]),
        ({"pinned_server_id": ""}, ["yellow"]),
        ({"pinned_server_id": "42"}, ["red"]),
        ({"pinned_server_id": "42", "marker": ""}, ["red", "yellow"]),
    ],
)
def test_what_the_witnesses_of_a_preview_say(changes: dict[str, str], lights: list[str]) -> None:
    findings = found("environment", place=PREVIEW, evidence=replace(evidence(), **changes))
    assert [finding.light.word for finding in findings] == lights


def test_a_database_that_lacks_its_marker_gives_the_line_to_type() -> None:
    [finding] = found("environment", place=PREVIEW, evidence=replace(evidence(), marker=""))
    assert finding.command == "ansible-playbook enroll.yml -l chat-preview"


def test_a_migration_that_is_pending_or_not_known() -> None:
    [finding] = found("migration", pending=Pending("pending", "sandbox", 2))
    assert (finding.light.word, finding.command) == ("yellow", "ansible-playbook migrate.yml -l chat-production --check --diff")
    assert "2 statements" in finding.sentence
    [finding] = found("migration", pending=Pending(trouble="It failed."))
    assert finding.light is Light.YELLOW and "It failed." in finding.sentence
    assert found("migration", pending=Pending()) == []


def test_the_last_operation_that_failed_shows_its_way_back() -> None:
    message = "The migration failed. To go back to the backup made before it: ansible-playbook restore.yml -l chat -e a=b"
    [finding] = found("operation", failed_operation={"operation": "migrate", "finished": "2026", "message": message})
    assert finding.command == "ansible-playbook restore.yml -l chat -e a=b"
    assert (finding.sentence, finding.detail) == ("The last migrate failed, 2026.", message)


def test_an_invalid_index_is_built_anew_by_its_quoted_name() -> None:
    [finding] = found("indexes", invalid_indexes=('public."it\'s"',))
    assert shlex.split(finding.command)[-1] == 'REINDEX INDEX CONCURRENTLY public."it\'s"'


def test_collations_that_changed() -> None:
    assert light_of("collation", collations=Collations("2.31", "2.36", 0)) == "yellow"
    [finding] = found("collation", collations=Collations("2.31", "2.36", 0))
    assert finding.command == "ansible-playbook recollate.yml -l chat-production" and "--check" in finding.detail
    assert light_of("collation", collations=Collations("2.36", "2.36", 1)) == "yellow"
    assert light_of("collation", collations=Collations("", "2.36", 0)) == "green"


def test_a_standby_and_what_interrupted_runs_left() -> None:
    assert light_of("server", server={"in_recovery": True}) == "yellow"
    assert light_of("leftovers", leftovers=("chat_next_1",)) == "yellow"
    assert light_of("swap", blocked_by="20261123T030000_3f9a2c") == "red"


@pytest.mark.parametrize(
    ("part", "reason", "light", "command"),
    [
        ("server", "Container 'a' is exited, not running: start it with 'docker start a' and look.", "red", "docker start a"),
        ("server", "The Docker engine does not answer: start it with 'systemctl start docker', then", "red", "systemctl start docker"),
        ("server", "There is no container 'a' on this host.", "red", "docker ps --all"),
        ("server", "Cannot connect to database 'chat'", "red", "docker logs --tail 50 chat-postgres-prod"),
        ("database", "There is no database 'chat' on this server.", "red", "docker exec -it chat-postgres-prod psql -U postgres -l"),
        ("schema", "PostgreSQL refused: lock timeout", "yellow", ""),
    ],
)
def test_what_could_not_be_read(part: str, reason: str, light: str, command: str) -> None:
    [finding] = found(part, unread={part: reason})
    assert (finding.light.word, finding.command) == (light, command)
    assert reason in finding.sentence


def test_a_database_that_is_being_swapped_is_not_red() -> None:
    [finding] = found("database", unread={"database": "It is blocked."}, running={"operation": "restore"})
    assert finding.light is Light.YELLOW and "restore that runs" in finding.sentence


# --- order and commands ---------------------------------------------------------------------------------------------------


def test_worst_comes_first_and_equals_keep_the_order_of_the_judges() -> None:
    seen = replace(
        WELL,
        collations=Collations("1", "2", 0),
        invalid_indexes=("public.a",),
        backups=Backups(),
        pending=Pending("pending", "sandbox", 1),
    )
    assert [finding.check for finding in judge(seen, LIMITS)] == ["backups", "migration", "indexes", "collation"]


def test_a_command_survives_the_shell_whatever_the_names_are() -> None:
    place = Place("it's; rm -rf", 'my "chat"', "a container", "the owner")
    seen = replace(WELL, place=place, invalid_indexes=("public.a",), backups=Backups(), pending=Pending("pending", "sandbox", 1))
    commands = {finding.check: shlex.split(finding.command) for finding in judge(seen, LIMITS)}
    assert commands["backups"] == ["ansible-playbook", "backup.yml", "-l", "it's; rm -rf"]
    assert commands["indexes"][:8] == ["docker", "exec", "-it", "a container", "psql", "-U", "the owner", "-d"]
    assert commands["indexes"][8] == 'my "chat"'


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ("start it with 'docker start a' and look at 'docker logs a'.", "docker start a"),
        ("as root on that host, run: install -d -m 0700 -o deploy '/opt/b'", "install -d -m 0700 -o deploy '/opt/b'"),
        ("The container 'docker-db' is gone.", ""),
        ("", ""),
    ],
)
def test_the_command_in_a_message(message: str, command: str) -> None:
    assert command_in(message) == command


def test_a_statement_with_quotes_is_quoted_as_a_person_would() -> None:
    [finding] = found("slots", slots=(Slot("nobody", False, "lost", 0),))
    assert finding.command.endswith(""" -c "SELECT pg_drop_replication_slot('nobody')\"""")


def test_every_judge_is_asked() -> None:
    judges = {name for name, thing in vars(_judgement).items() if getattr(thing, "__annotations__", {}).get("return") == "list[Finding]"}
    assert judges - {"judge"} == {asked.__name__ for asked in _judgement._JUDGES}
