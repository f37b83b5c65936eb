# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restoring: beside the live database, compared, swapped, and back again where anything goes wrong."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _load, _load_file
from ansible_collections.dbops.postgres.plugins.module_utils.archive._plain_file import PlainFile
from ansible_collections.dbops.postgres.plugins.module_utils.archive._proof import FAILED
from ansible_collections.dbops.postgres.plugins.module_utils.backend import _health
from ansible_collections.dbops.postgres.plugins.module_utils.backend._health import Recovery
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Image
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations import _comparison, _restore, _restore_source
from ansible_collections.dbops.postgres.plugins.module_utils.operations._restore import restore
from ansible_collections.dbops.postgres.plugins.module_utils.operations._restore_options import RestoreOptions
from ansible_collections.dbops.postgres.plugins.module_utils.operations._restore_source import (
    Source,
    data_volume_space,
    find_source,
    require_restorable,
    rows_lost,
)
from ansible_collections.dbops.postgres.plugins.module_utils.server import _swap
from ansible_collections.dbops.postgres.plugins.module_utils.server._contents import Contents
from ansible_collections.dbops.postgres.plugins.module_utils.server._roles import Membership, Role
from ansible_collections.dbops.postgres.plugins.module_utils.server._row_counts import TableRows
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import fingerprint
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, EngineError, Interrupted, Refused
from ansible_collections.dbops.postgres.tests.unit.module_utils.archive.test_proof import proof_of, written
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import (
    AT,
    OTHER_RUN,
    RUN,
    SCHEMA,
    SERVER_ID,
    FakeConnection,
    FakeDocker,
    container,
    operation,
    properties,
    published,
    recorded,
)

NEXT = "chat_next_" + RUN
KEPT = "chat_before_restore_20261123T030000"
BACKEND = container()
UNRESTRICTED = re.sub(r"\\(un)?restrict \w+\n", "", recorded("pg_dump_17.sql"))
COUNTED = (TableRows("public", "users", 3), TableRows("public", "messages", 5))
DF = "Filesystem 1024-blocks Used Available Capacity Mounted on\noverlay 100000 1 99999 1%% /data\n".replace("%%", "%")


class Stage:
    """A restore in which the server's and the engine's parts are played; the swap and the decisions are real."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder = folder
        self.journal: list[str] = []
        self.present = ["chat"]
        self.roles = ["chat_owner", "reader", "postgres"]
        self.unknown_settings: list[str] = []
        self.kept: list[tuple[str, str]] = []
        self.counted = COUNTED
        self.snapshot = SCHEMA
        self.large_objects = 0
        self.sick: list[list[str]] = []
        self.sick_before: list[str] = []
        self.fails: dict[str, BaseException] = {}
        self.connection = FakeConnection(
            {
                "SELECT 1 FROM pg_database": lambda _text, parameters: [(1,)] if parameters[0] in self.present else [],
                "SELECT rolname FROM pg_roles": lambda _text, parameters: [
                    (name,) for name in (parameters[0] if parameters else self.roles) if name in self.roles or name == "pg_read_all_data"
                ],
                "current_setting(name, true)": lambda _text, parameters: [
                    (name,) for name in parameters[0] if name in self.unknown_settings
                ],
                "data_directory": [("/var/lib/postgresql/data",)],
                "FROM pg_db_role_setting": lambda _text, parameters: self.kept if parameters == ("dbops.kept",) else [],
                "pg_database_size": [(4096,)],
                "FROM pg_database d JOIN pg_tablespace": [(16384, True, "c", "chat_owner", "UTF8", "C", "C", "", "", "pg_default", -1, "")],
                "SELECT oid::bigint": [(16384,)],
                "pg_largeobject_metadata": lambda _text, _parameters: [(self.large_objects,)],
                "RENAME": self._remember,
                "DROP": self._remember,
                "CREATE DATABASE": self._remember,
            }
        )
        self.docker = FakeDocker(BACKEND)
        self.docker.on_exec = lambda _container, _argv: Outcome(0, DF, "")
        monkeypatch.setattr(_load, "load", lambda _tools, _path, database, _jobs, *_options: self._step("load " + database))
        monkeypatch.setattr(_restore, "count_rows", lambda _connection, _path="": self.counted)
        monkeypatch.setattr(_comparison, "read_snapshot", lambda _connection: self.snapshot)
        monkeypatch.setattr(_restore, "require_space", lambda _operation: None)
        monkeypatch.setattr(_restore, "make_backup", self._back_up)
        monkeypatch.setattr(_restore_source, "count_newer_rows", lambda _connection, _transaction: {"public.messages": 2})
        monkeypatch.setattr(_health, "bring_back", self._bring_back)
        monkeypatch.setattr(_health, "sick", lambda _docker, _backends: self.sick_before)

    def _bring_back(self, _docker: t.Any, _backends: t.Any, restart: str, _seconds: float, sick_before: t.Sequence[str] = ()) -> Recovery:
        self._step("bring back " + restart)
        self.not_judged = list(sick_before)
        return Recovery((), tuple(self.sick.pop(0) if self.sick else ()), ())

    def _step(self, name: str) -> None:
        self.journal.append(name)
        for sign, error in self.fails.items():
            if sign in name:
                raise error

    def _remember(self, text: str, _parameters: t.Any) -> None:
        self._step(text.replace('"', ""))

    def _back_up(self, _operation: Operation, options: t.Any) -> t.Any:
        self._step("backup %s of %s" % (options.reason, options.of))
        return published(self.folder, id="chat_before-%d" % len(self.journal), created="2020-01-01T00:00:00Z")

    def publish(self, **changes: t.Any) -> t.Any:
        return published(self.folder, SCHEMA, **{"run_id": OTHER_RUN, "schema_fingerprint": fingerprint(SCHEMA), **changes})

    def operation(self, **changes: t.Any) -> Operation:
        self.running = operation(self.folder, self.connection, self.docker, backends=(BACKEND,), risk=Risk.OVERWRITE, **changes)
        return self.running

    def restore(self, wanted: str = "latest", check_mode: bool = False, environment: str = "production", **options: t.Any) -> Result:
        running = self.operation(check_mode=check_mode, environment=environment)
        with contextlib.closing(running):
            return restore(running, RestoreOptions(wanted, **options))

    @property
    def changes(self) -> list[str]:
        return [
            statement.replace('"', "")
            for statement in self.connection.statements
            if statement.startswith(("ALTER", "CREATE", "DROP", "COMMENT", "GRANT"))
        ]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    return Stage(monkeypatch, tmp_path)


def renames(stage: Stage) -> list[str]:
    return [statement.partition("ALTER DATABASE ")[2] for statement in stage.journal if "RENAME" in statement]


# --- what the tables hold ---------------------------------------------------------------------------------------------


HELD = {"public.users": "00" * 16, "public.messages": "01" * 16}


def holding(stage: Stage, monkeypatch: pytest.MonkeyPatch, digests: dict[str, str], **manifest: t.Any) -> None:
    stage.publish(contents=HELD, **manifest)
    stage.connection.answers.setdefault("pg_encoding_to_char(encoding) FROM pg_database WHERE", [("UTF8",)])
    tables = (TableRows("public", "messages", 5), TableRows("public", "users", 3))
    monkeypatch.setattr(_restore, "read_contents", lambda _session, jobs, path, _done: Contents(tables, digests))


def test_what_the_tables_hold_is_compared_where_the_manifest_has_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    holding(stage, monkeypatch, HELD)
    assert "count and contents of every table compared with the manifest" in stage.restore().summary[0]


def test_a_table_that_holds_other_values_is_refused_and_can_be_consented_to(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    holding(stage, monkeypatch, {**HELD, "public.users": "ff" * 16})
    with pytest.raises(DbopsError, match=r"table public\.users holds other values than were backed up.*accept_differences=") as refused:
        stage.restore()
    assert not renames(stage)
    [accepted] = re.findall(r"dbops_restore_accept_differences=(\w+)", refused.value.message)
    assert stage.restore(accept_differences=accepted).changed


@pytest.mark.parametrize(
    ("encoding", "made", "words"),
    [
        ("UTF8", {"server_version_number": 160004}, "PostgreSQL 17 may write them, in UTF8, otherwise than PostgreSQL 16"),
        ("LATIN1", {}, "in LATIN1, otherwise than PostgreSQL 17 wrote them in UTF8"),
    ],
)
def test_where_the_same_value_may_be_other_bytes_a_difference_is_a_warning(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, encoding: str, made: dict[str, int], words: str
) -> None:
    stage.connection.answers["pg_encoding_to_char(encoding) FROM pg_database WHERE"] = [(encoding,)]
    holding(stage, monkeypatch, {**HELD, "public.users": "ff" * 16}, **made)
    assert stage.restore().changed
    assert any(words in text and "table public.users holds other values" in text for text in stage.running.warnings)


# --- the way through ------------------------------------------------------------------------------------------------------


def test_a_restore_builds_beside_compares_saves_and_swaps(stage: Stage) -> None:
    stage.publish()
    result = stage.restore()
    assert [step.split(" TEMPLATE")[0] for step in stage.journal] == [
        "CREATE DATABASE %s" % NEXT,
        "load " + NEXT,
        "ALTER DATABASE chat RENAME TO " + KEPT,
        "ALTER DATABASE %s RENAME TO chat" % NEXT,
        "bring back auto",
        "backup before_restore of " + KEPT,
    ]
    assert result.changed
    assert result.facts["replaced"] == KEPT
    assert result.facts["backup_before"]["id"].startswith("chat_before-")
    assert "every count compared with the manifest" in result.summary[0]
    assert "-e dbops_restore_backup=undo -e dbops_confirm=restore:chat" in result.summary[1]
    assert result.journal == {
        "source": "chat_20261123_030000",
        "replaced": KEPT,
        "rows_lost": {"public.messages": 2},
        "accepted_differences": [],
    }


def test_what_was_replaced_takes_connections_only_while_it_is_saved(stage: Stage) -> None:
    stage.publish()
    stage.restore()
    opened, closed = (stage.changes.index("ALTER DATABASE %s ALLOW_CONNECTIONS %s" % (KEPT, state)) for state in ("true", "false"))
    assert stage.changes.index("ALTER DATABASE %s RENAME TO chat" % NEXT) < opened
    assert stage.changes[-1] == "ALTER DATABASE %s ALLOW_CONNECTIONS false" % KEPT
    assert closed < opened  # the swap had closed it


def test_a_backup_that_fails_after_the_swap_leaves_the_restore_and_all_that_was_replaced(stage: Stage) -> None:
    stage.publish()
    stage.fails["backup"] = DbopsError("No space left.")
    stage.kept = [(KEPT, json.dumps({"of": "chat", "at": "2026-11-23T03:00:00Z", "by": "restore", "run_id": RUN}))]
    result = stage.restore(keep=0)
    assert result.facts["replaced"] == KEPT
    assert result.facts["backup_before"] is None
    assert "No space left. Nothing of it is lost: it is kept as '%s'" % KEPT in " ".join(stage.running.warnings)
    assert not [step for step in stage.journal if step.startswith("DROP")]


def test_a_run_that_is_cancelled_while_it_saves_what_was_replaced_says_that_it_had_swapped(stage: Stage) -> None:
    stage.publish()
    stage.fails["backup"] = Interrupted("Interrupted by signal 15.")
    with pytest.raises(DbopsError, match=r"signal 15\. The database had been swapped before that\.") as interrupted:
        stage.restore()
    assert interrupted.value.details["swapped"]
    assert stage.changes[-1] == "ALTER DATABASE %s ALLOW_CONNECTIONS false" % KEPT


def test_no_room_for_that_backup_is_known_before_anything_is_built(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(_operation: Operation) -> None:
        raise DbopsError("too little room")

    monkeypatch.setattr(_restore, "require_space", no_room)
    stage.publish()
    with pytest.raises(DbopsError, match="too little room"):
        stage.restore()
    assert stage.journal == []
    assert stage.restore(backup_first=False).changed


# --- differences, and consent to them -------------------------------------------------------------------------------------


def refusal(stage: Stage, **options: t.Any) -> DbopsError:
    with pytest.raises(DbopsError) as refused:
        stage.restore(**options)
    return refused.value


def test_differences_can_be_consented_to_with_the_line_that_the_refusal_shows(stage: Stage) -> None:
    stage.publish()
    stage.counted = (TableRows("public", "users", 2), TableRows("public", "messages", 5))
    message = refusal(stage).message
    assert renames(stage) == []
    command = "ansible-playbook restore.yml -l chat-production -e dbops_restore_backup=chat_20261123_030000 -e dbops_confirm=restore:chat"
    assert command + " -e dbops_restore_accept_differences=" in message
    result = stage.restore(accept_differences=message.rpartition("=")[2])
    wrong = ["table public.users has 2 rows instead of 3"]
    assert result.facts["accepted_differences"] == result.journal["accepted_differences"] == wrong
    assert "with the differences that were consented to" in result.summary[0]
    assert wrong[0] in stage.running.warnings[-1]


def test_other_differences_are_not_consented_to(stage: Stage) -> None:
    stage.publish()
    stage.counted = (TableRows("public", "users", 2), TableRows("public", "messages", 5))
    accepted = refusal(stage).message.rpartition("=")[2]
    stage.counted = (TableRows("public", "users", 1), TableRows("public", "messages", 5))
    error = refusal(stage, accept_differences=accepted)
    assert "These are others than those consented to" in error.message
    assert error.message.rpartition("=")[2] not in ("", accepted)
    assert renames(stage) == []


def test_what_cannot_be_restored_at_all_is_a_difference(stage: Stage) -> None:
    stage.publish()
    stage.fails["load"] = DbopsError(
        "pg_restore failed.",
        output="pg_restore: error: could not execute query: ERROR:  division by zero\nCommand was: CREATE INDEX messages_short;\n",
    )
    stage.docker.outcomes = [Outcome(0, "", "")] * 2 + [Outcome(1, "", stage.fails["load"].details["output"])]
    assert "'CREATE INDEX messages_short' could not be restored: division by zero" in refusal(stage).message


def test_a_collation_that_changed_is_cured_and_told(stage: Stage) -> None:
    stage.publish()
    stage.connection.answers = {"pg_database_collation_actual_version": [("2.31", "2.36")], **stage.connection.answers}
    assert "made with version 2.31 of its collation, the image has 2.36" in stage.restore().summary[-1]


def test_materialized_views_that_came_back_fresh_are_named(stage: Stage) -> None:
    stage.publish()
    stage.connection.answers["FROM pg_matviews"] = [("public.by_state",), ("public.report",)]
    assert "may be newer than at that time: public.by_state, public.report." in "\n".join(stage.restore().summary)


def test_the_new_database_is_marked_before_it_goes_live(stage: Stage) -> None:
    stage.publish()
    stage.restore()
    marked = stage.changes.index("ALTER DATABASE %s SET dbops.environment TO 'production'" % NEXT)
    assert marked < stage.changes.index("ALTER DATABASE %s RENAME TO chat" % NEXT)


def test_the_seeds_are_those_that_the_backup_had(stage: Stage) -> None:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._database import Setting

    stage.publish(properties=properties(settings=(Setting("", "dbops.seeds", "0123456789abcdef"),)))
    stage.restore()
    assert "ALTER DATABASE %s SET dbops.seeds TO '0123456789abcdef'" % NEXT in stage.changes


def test_a_backup_of_production_does_not_make_a_preview_production(stage: Stage) -> None:
    stage.publish(environment="production")
    stage.restore(environment="preview")
    assert "ALTER DATABASE %s SET dbops.environment TO 'preview'" % NEXT in stage.changes


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_backup_of_a_preview_does_not_replace_production_by_a_wrong_path(stage: Stage, check_mode: bool) -> None:
    path = stage.publish(environment="preview", database="chat_preview", host="chat-preview").path
    with pytest.raises(Refused, match=r"is of database .chat_preview. \(preview, host .chat-preview.\), and .chat. is production"):
        stage.restore(path, check_mode=check_mode)
    assert stage.changes == [] and stage.journal == []


def test_where_it_is_meant_or_does_no_harm_it_is_told(stage: Stage) -> None:
    path = stage.publish(environment="preview", database="chat_preview", host="chat-preview").path
    assert stage.restore(path, from_other_environment=True).changed
    [warning] = stage.running.warnings
    assert warning.endswith("is of database 'chat_preview' (preview, host 'chat-preview'), not of 'chat'.")
    other = stage.publish(id="shop_1", environment="production", database="shop").path
    stage.restore(other)
    assert "is of database 'shop' (production" in stage.running.warnings[0]
    stage.restore(stage.publish(id="chat_1", server_identifier="42").path)
    assert stage.running.warnings == [], "the same database on a server that is no more"


@pytest.mark.parametrize("wanted", ["", "/"])
def test_what_names_no_backup_is_a_sentence(stage: Stage, wanted: str) -> None:
    with pytest.raises(DbopsError, match=r"No backup was named|^'/' is not a backup"):
        stage.restore(wanted)


def test_check_mode_touches_nothing_and_tells_what_would_be_lost(stage: Stage) -> None:
    stage.publish()
    result = stage.restore(check_mode=True)
    assert stage.changes == [] and stage.journal == []
    assert result.changed
    assert "Rows newer than it, which would be lost: public.messages 2." in result.summary
    assert result.diff == stage.restore().diff


def test_a_database_that_is_gone_is_made_anew_from_the_manifest(stage: Stage) -> None:
    stage.publish()
    stage.present = []
    result = stage.restore()
    assert result.facts["replaced"] == "" and result.facts["rows_lost"] == {}
    assert not any(step.startswith("backup") for step in stage.journal)
    assert "OWNER chat_owner" in stage.changes[0] and "en_US.utf8" in stage.changes[0]


def test_the_backup_before_can_be_switched_off(stage: Stage) -> None:
    stage.publish()
    assert stage.restore(backup_first=False).facts["backup_before"] is None


def test_older_replaced_databases_are_dropped_only_where_that_was_asked_for(stage: Stage) -> None:
    stage.publish()
    stage.kept = kept(("old", "1", "restore"), ("older", "0", "reset"))
    assert any("take room: 'old'" in line for line in stage.restore().summary)
    assert not any("DROP" in step for step in stage.journal)
    assert any("Dropped the replaced database 'older'" in line for line in stage.restore(keep=1).summary)


# --- what goes wrong before the swap --------------------------------------------------------------------------------------


def test_a_copy_with_other_counts_never_goes_live(stage: Stage) -> None:
    stage.publish()
    stage.counted = (TableRows("public", "users", 2), TableRows("public", "messages", 5))
    with pytest.raises(DbopsError, match=r"differs from 'chat_20261123_030000': table public.users has 2 rows instead of 3\."):
        stage.restore()
    assert renames(stage) == []
    assert stage.journal[-1] == "DROP DATABASE IF EXISTS %s WITH (FORCE)" % NEXT


def test_missing_large_objects_are_noticed(stage: Stage) -> None:
    stage.publish(large_objects=2)
    with pytest.raises(DbopsError, match="0 large objects instead of 2"):
        stage.restore()
    assert renames(stage) == []


def test_another_schema_is_only_a_warning(stage: Stage) -> None:
    stage.publish()
    stage.snapshot = {**SCHEMA, "view public.v": ""}
    assert stage.restore().changed
    assert stage.running.warnings == ["The restored schema is not exactly the one that was backed up: + view public.v"]


@pytest.mark.parametrize("step", ["CREATE DATABASE", "load", "RENAME"])
@pytest.mark.parametrize("error", [DbopsError("no"), KeyboardInterrupt()], ids=["failed", "interrupted"])
def test_a_failure_before_the_swap_is_done_drops_the_copy_and_leaves_the_live_one(stage: Stage, step: str, error: BaseException) -> None:
    stage.publish()
    stage.fails[step] = error
    with pytest.raises(type(error)):
        stage.restore()
    assert stage.journal[-1] == "DROP DATABASE IF EXISTS %s WITH (FORCE)" % NEXT
    assert len(renames(stage)) <= 1
    if renames(stage):
        assert "ROLLBACK" in stage.connection.statements


def test_files_beside_a_backups_own_are_a_warning(stage: Stage) -> None:
    Path(stage.publish().path, "core").write_bytes(b"x")
    assert stage.restore(check_mode=True).changed
    assert "lie files that are none of its own: 'core'. Nothing is restored from them" in stage.running.warnings[0]


def test_a_damaged_backup_is_refused_before_anything_is_made(stage: Stage) -> None:
    backup = stage.publish()
    Path(backup.dump, "toc.dat").write_bytes(b"")
    with pytest.raises(DbopsError, match="is damaged"):
        stage.restore()
    assert stage.changes == []


def test_a_database_that_cannot_be_swapped_is_refused_before_anything_is_made(stage: Stage) -> None:
    stage.publish()
    stage.connection.answers["pg_prepared_xacts"] = [("x1",)]
    with pytest.raises(DbopsError, match="prepared transactions"):
        stage.restore()
    assert stage.changes == []


# --- what goes wrong after the swap ---------------------------------------------------------------------------------------


def test_a_backend_that_does_not_get_well_takes_the_swap_back(stage: Stage) -> None:
    stage.publish()
    stage.sick = [["Backend 'chat-backend' is not healthy."]]
    rejected = r"is not healthy\. The rejected copy is kept as 'chat_before_rejected_20261123T030000'"
    with pytest.raises(DbopsError, match=rejected + r"\. With the old database it is well again\.$"):
        stage.restore()
    assert renames(stage) == [
        "chat RENAME TO " + KEPT,
        NEXT + " RENAME TO chat",
        "chat RENAME TO chat_before_rejected_20261123T030000",
        KEPT + " RENAME TO chat",
    ]


def test_a_backend_that_is_sick_with_the_old_database_too_is_said(stage: Stage) -> None:
    stage.publish()
    stage.sick = [["Backend 'chat-backend' is not healthy."], ["Backend 'chat-backend' says no."]]
    with pytest.raises(DbopsError, match=r"With the old database it is not well either: Backend 'chat-backend' says no\.$"):
        stage.restore()


def test_where_nothing_was_replaced_there_is_nothing_to_swap_back(stage: Stage) -> None:
    stage.publish()
    stage.present = []
    stage.sick = [["Backend 'chat-backend' is not healthy."]]
    with pytest.raises(DbopsError, match="was restored as 'chat', but the backend is not well"):
        stage.restore()
    assert len(renames(stage)) == 1


def test_a_backend_that_was_sick_before_is_not_blamed_on_the_restore(stage: Stage) -> None:
    stage.publish()
    stage.sick_before = ["chat-backend"]
    assert stage.restore().changed
    assert stage.not_judged == ["chat-backend"]
    assert "Backend 'chat-backend' was not healthy before either: look at it." in stage.running.warnings


@pytest.mark.parametrize("error", [EngineError("The engine is gone."), DbopsError("Interrupted by signal 15.")])
def test_an_error_after_the_swap_says_that_it_is_done_and_how_to_undo_it(stage: Stage, error: DbopsError) -> None:
    stage.publish()
    stage.fails["bring back"] = error
    with pytest.raises(DbopsError) as failed:
        stage.restore()
    assert error.message in failed.value.message
    assert KEPT in failed.value.message
    assert "dbops_restore_backup=undo" in failed.value.message


# --- undo -----------------------------------------------------------------------------------------------------------------


def kept(*entries: tuple[str, str, str]) -> list[tuple[str, str]]:
    return [(name, json.dumps({"of": "chat", "at": at, "by": by, "run_id": OTHER_RUN})) for name, at, by in entries]


def test_undo_puts_back_what_was_replaced_last(stage: Stage) -> None:
    stage.kept = kept(("first", "1", "restore"), ("second", "2", "reset"), ("bad", "3", "rejected"))
    result = stage.restore("undo")
    assert renames(stage) == ["chat RENAME TO chat_before_undo_20261123T030000", "second RENAME TO chat"]
    assert result.facts["source"]["name"] == "second"
    assert "ALTER DATABASE second SET dbops.environment TO 'production'" in stage.changes
    assert not any("dbops.seeds" in statement for statement in stage.changes)  # its contents keep theirs


def test_undo_in_check_mode_only_says_what_it_would_do(stage: Stage) -> None:
    stage.kept = kept(("second", "2026-11-22T03:00:00Z", "reset"))
    result = stage.restore("undo", check_mode=True)
    assert stage.changes == []
    assert result.summary == ["Would put 'second' (replaced by reset at 2026-11-22T03:00:00Z) back as 'chat'."]
    assert result.diff == stage.restore("undo").diff


def test_without_a_replaced_database_there_is_nothing_to_undo(stage: Stage) -> None:
    stage.kept = kept(("bad", "3", "rejected"))
    with pytest.raises(DbopsError, match="nothing to undo"):
        stage.restore("undo")


# --- what is restored -----------------------------------------------------------------------------------------------------


def test_a_source_is_an_id_a_folder_or_a_file(stage: Stage, tmp_path: Path) -> None:
    backup = stage.publish()
    running = stage.operation()
    assert find_source(running, "chat_20261123_030000").backup == backup
    assert find_source(running, backup.path + "/").backup == backup
    (tmp_path / "old.sql").write_text(recorded("pg_dump_17.sql"))
    found = find_source(running, str(tmp_path / "old.sql"))
    assert found.file is not None and found.file.server_major == 17 and found.name.endswith("old.sql")


def test_a_damaged_backup_named_by_its_id_says_what_is_wrong_with_it(stage: Stage) -> None:
    Path(stage.publish().path, "manifest.json").write_text("{")
    with pytest.raises(DbopsError, match="is damaged"):
        find_source(stage.operation(), "chat_20261123_030000")


def test_a_newer_dump_is_refused(stage: Stage) -> None:
    stage.publish(server_version_number=180001)
    with pytest.raises(DbopsError, match="made on PostgreSQL 18, this server is 17"):
        stage.restore()


@pytest.mark.parametrize("check_mode", [True, False])
def test_missing_roles_are_named_before_the_restore(stage: Stage, check_mode: bool) -> None:
    stage.roles = []
    stage.publish(roles=("chat_owner", "pg_read_all_data", 'the "writer"'))
    with pytest.raises(
        DbopsError, match=r"needs roles that this server does not have: chat_owner, the \"writer\"\. Nothing was begun"
    ) as refusal:
        stage.restore(check_mode=check_mode)
    assert 'CREATE ROLE "chat_owner"; CREATE ROLE "the ""writer""";' in refusal.value.message
    assert "dbops_restore_missing_roles=create" in refusal.value.message and "=skip" in refusal.value.message
    assert stage.changes == []


def test_roles_of_another_version_cannot_be_made(stage: Stage) -> None:
    stage.publish(roles=("pg_of_tomorrow",))
    for choice in ("refuse", "create"):
        with pytest.raises(DbopsError, match=r"cannot be made here: pg_of_tomorrow\..*missing_roles=skip"):
            stage.restore(missing_roles=choice)


def test_missing_roles_are_made_as_they_were_and_gone_where_the_restore_fails(stage: Stage) -> None:
    known = (Role("writer", ("INHERIT", "LOGIN"), 7, (Membership("readers", False),)), Role("readers", ()), Role("reader", ()))
    stage.publish(roles=("chat_owner", "writer"), role_definitions=known)
    assert stage.restore(check_mode=True, missing_roles="create").changed
    assert stage.changes == []
    stage.restore(missing_roles="create")
    made = [line for line in stage.changes if "ROLE" in line or "GRANT readers" in line]
    assert [line.split(" WITH ")[0] for line in made] == ["CREATE ROLE writer", "CREATE ROLE readers", "GRANT readers TO writer"]
    assert " LOGIN " in made[0] and " NOLOGIN " in made[1] and "CONNECTION LIMIT 7" in made[0]
    assert any(
        "are made: writer (LOGIN, member of readers), readers (without login). Those without a password" in text
        for text in stage.running.warnings
    )
    stage.fails["load"] = DbopsError("no")
    with pytest.raises(DbopsError, match="no"):
        stage.restore(missing_roles="create")
    assert "DROP ROLE IF EXISTS writer" in stage.changes


def test_of_a_role_that_only_its_name_is_known_of_a_bare_one_is_made(stage: Stage) -> None:
    stage.publish(roles=("chat_owner", "writer"))
    stage.restore(missing_roles="create")
    [made] = [line for line in stage.changes if "CREATE ROLE" in line]
    assert made.startswith("CREATE ROLE writer WITH NOSUPERUSER INHERIT") and " NOLOGIN " in made


def test_missing_roles_are_left_out_of_a_backup(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    text = UNRESTRICTED
    grant = "GRANT SELECT ON TABLE public.users TO writer;\n"
    write_text_of(
        stage, monkeypatch, text.replace("\n-- PostgreSQL database dump complete", "\n" + grant + "-- PostgreSQL database dump complete")
    )
    stage.publish(roles=("chat_owner", "writer"))
    loaded = []
    monkeypatch.setattr(_load_file, "tool_failure", lambda *_all: "")
    run = stage.docker.run

    def read(job: t.Any, timeout: float | None = None, **_options: t.Any) -> Outcome:
        if job.argv[0] == "psql":
            loaded.append(Path(job.mounts[-1][0]).read_text())
        return run(job, timeout)

    monkeypatch.setattr(stage.docker, "run", read)
    stage.restore(missing_roles="skip")
    assert loaded == [UNRESTRICTED]
    assert any(warning.startswith("Left out") and grant.strip() in warning for warning in stage.running.warnings)
    assert not [line for line in stage.changes if "CREATE ROLE" in line]


def test_a_newer_backup_is_read_by_the_tools_of_another_image(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text_of(stage, monkeypatch, recorded("pg_dump_17.sql"))
    stage.publish(server_version_number=180001)
    with pytest.raises(DbopsError, match=r"tools_image=postgres:18"):
        stage.restore()
    with pytest.raises(EngineError, match="docker pull postgres:18"):
        stage.restore(tools_image="postgres:18")
    stage.docker.images["postgres:18"] = Image("sha256:newer", {}, (), {})
    stage.unknown_settings = ["transaction_timeout"]
    stage.docker.jobs.clear()
    assert stage.restore(tools_image="postgres:18").changed
    by = [(job.argv[0], job.image) for job in stage.docker.jobs]
    assert by == [("pg_restore", "postgres:18"), ("pg_restore", "postgres:18"), ("psql", "sha256:server")]
    assert [warning for warning in stage.running.warnings if "transaction_timeout" in warning]


def test_too_little_room_on_the_data_volume_is_refused(stage: Stage) -> None:
    source = Source(backup=stage.publish(database_size=10**9))
    with pytest.raises(DbopsError, match=r"too little room for a second copy: about 1\.1 GB needed, 97\.7 MB free"):
        require_restorable(stage.operation(), source)


@pytest.mark.parametrize(
    ("outcome", "space"),
    [
        (Outcome(0, DF, ""), 99999 * 1024),
        (Outcome(0, "Filesystem\n/dev/x 1 2 3 4% /a b\n", ""), 3 * 1024),
        (Outcome(0, "nothing", ""), None),
        (Outcome(0, "a\nb\n", ""), None),
        (Outcome(0, "Filesystem\nx 1 2 - 4% /\n", ""), None),
        (Outcome(127, "", "df: not found"), None),
    ],
)
def test_the_free_space_of_the_data_volume_is_told_or_unknown(stage: Stage, outcome: Outcome, space: int | None) -> None:
    stage.docker.on_exec = lambda _container, _argv: outcome
    assert data_volume_space(stage.operation()) == space


def test_space_that_the_server_does_not_tell_is_unknown(stage: Stage) -> None:
    stage.connection.answers["data_directory"] = []
    assert data_volume_space(stage.operation()) is None
    assert stage.docker.executed == []


def test_lost_rows_of_another_database_are_told_by_the_counts(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    now = (TableRows("public", "users", 9), TableRows("public", "rooms", 2), TableRows("public", "messages", 1))
    monkeypatch.setattr(_restore_source, "count_rows", lambda _connection, _path="": now)
    source = Source(backup=stage.publish(server_identifier="42"))
    assert rows_lost(stage.operation(), source) == {"public.users": 6, "public.rooms": 2}
    assert rows_lost(stage.operation(), Source(backup=stage.publish(id="own", server_identifier=SERVER_ID))) == {"public.messages": 2}
    assert rows_lost(stage.operation(), Source(file=PlainFile("/x", "sql", 1, 0))) == {}


# --- files made by hand ---------------------------------------------------------------------------------------------------


def file_in(folder: Path, text: str) -> str:
    path = folder / "old.sql"
    path.write_text(text)
    return str(path)


def test_a_file_is_loaded_by_psql_in_one_transaction_and_compared_with_its_own_rows(stage: Stage, tmp_path: Path) -> None:
    result = stage.restore(file_in(tmp_path, UNRESTRICTED))
    argv = stage.docker.jobs[0].argv
    assert argv[0] == "psql" and {"--single-transaction", "--set=ON_ERROR_STOP=1", "--no-psqlrc"} <= set(argv)
    assert stage.docker.jobs[0].mounts[-1] == (str(tmp_path / "old.sql"), "/dbops/file", False)
    assert "every count compared with the rows in the file" in result.summary[0]


@pytest.mark.parametrize(("version", "goes"), [(140018, True), (140019, False), (170005, True), (170006, False), (180000, False)])
def test_the_commands_around_a_dump_go_where_psql_does_not_know_them(stage: Stage, tmp_path: Path, version: int, goes: bool) -> None:
    running = stage.operation()
    running.server = replace(running.server, version_number=version)
    preparation = require_restorable(
        running, find_source(running, file_in(tmp_path, recorded("pg_dump_17.sql").replace("database version 17", "database version 14")))
    )
    assert preparation.changes.restrict is goes


def test_a_compressed_file_is_unpacked_privately_first_and_gone_afterwards(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "old.sql.gz").write_bytes(gzip.compress(recorded("pg_dump_17.sql").encode()))
    assert stage.restore(str(tmp_path / "old.sql.gz")).changed
    source = stage.docker.jobs[0].mounts[-1][0]
    assert source.endswith("dump.sql") and not Path(source).exists()


def test_a_file_restored_where_no_database_is_gets_the_servers_own_locale(stage: Stage, tmp_path: Path) -> None:
    stage.present = []
    stage.restore(file_in(tmp_path, recorded("pg_dump_17.sql")))
    assert stage.changes[0].startswith("CREATE DATABASE %s TEMPLATE template0 OWNER postgres ENCODING 'UTF8' LC_COLLATE 'C'" % NEXT)


def test_a_file_in_check_mode_says_that_its_losses_cannot_be_told(stage: Stage, tmp_path: Path) -> None:
    lines = stage.restore(file_in(tmp_path, recorded("pg_dump_17.sql")), check_mode=True).summary
    assert any("which rows would be lost cannot be told" in line for line in lines)
    assert stage.changes == []


def test_a_damaged_custom_file_is_refused_before_anything_is_made(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "old.dump").write_bytes(b"PGDMP cut")
    listed = Outcome(0, ";     Dumped from database version: 16.4\n", "")
    stage.docker.outcomes = [listed, Outcome(1, "", "pg_restore: error: could not read: end of file\n")]
    with pytest.raises(DbopsError, match=r"could not read: end of file\. It is cut off or damaged"):
        stage.restore(str(tmp_path / "old.dump"), check_mode=True)
    assert stage.changes == []


def test_a_custom_file_of_a_newer_server_is_refused(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "old.dump").write_bytes(b"PGDMP and so on")
    stage.docker.outcomes = [Outcome(0, ";     Dumped from database version: 18.0\n", "")]
    with pytest.raises(DbopsError, match="made on PostgreSQL 18, this server is 17"):
        stage.restore(str(tmp_path / "old.dump"))


def test_a_file_that_lost_rows_on_the_way_never_goes_live(stage: Stage, tmp_path: Path) -> None:
    stage.counted = (TableRows("public", "users", 3), TableRows("public", "messages", 4))
    with pytest.raises(DbopsError, match=r"table public\.messages has 4 rows instead of 5"):
        stage.restore(file_in(tmp_path, recorded("pg_dump_17.sql")))
    assert renames(stage) == []


def test_a_file_whose_tables_are_not_known_by_that_name_is_not_refused_for_it(stage: Stage, tmp_path: Path) -> None:
    """An old dump names no schemas; an extension's own tables are not counted."""
    old = recorded("pg_dump_17.sql").replace("COPY public.users", "COPY users")
    assert stage.restore(file_in(tmp_path, old)).changed


def write_text_of(stage: Stage, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """What pg_restore writes where it is to make SQL of an archive."""
    run = stage.docker.run

    def play(job: t.Any, timeout: float | None = None, **_options: t.Any) -> Outcome:
        for word in job.argv:
            if word.startswith("--file=/dbops/text/"):
                folder = next(source for source, destination, _writable in job.mounts if destination == "/dbops/text")
                Path(folder, word.rpartition("/")[2]).write_text(text)
        return run(job, timeout)

    monkeypatch.setattr(stage.docker, "run", play)


def test_a_custom_file_is_loaded_by_pg_restore(stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_text_of(stage, monkeypatch, recorded("pg_dump_17.sql"))
    (tmp_path / "old.dump").write_bytes(b"PGDMP and so on")
    result = stage.restore(str(tmp_path / "old.dump"))
    assert [job.argv[0] for job in stage.docker.jobs if "--exit-on-error" in job.argv] == ["pg_restore"]
    assert "the counts could not be compared" in result.summary[0]


def test_a_file_that_psql_refuses_leaves_the_live_database_untouched(stage: Stage, tmp_path: Path) -> None:
    stage.docker.outcomes = [Outcome(3, "", 'psql:/dbops/file:9: ERROR:  relation "x" already exists\n')]
    with pytest.raises(DbopsError, match=r'relation "x" already exists'):
        stage.restore(file_in(tmp_path, recorded("pg_dump_17.sql")))
    assert renames(stage) == [] and "DROP DATABASE" in stage.journal[-1]


def test_the_age_of_a_source_is_known() -> None:
    source = Source(file=PlainFile("/x.sql", "sql", 1000, AT.timestamp()))
    assert (source.made, source.needed, source.server_major, source.name) == (AT, 1200, 0, "/x.sql")
    assert _swap.building_name("chat", RUN) == NEXT


# --- what is known from restoring it --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "chosen", "told"),
    [
        ("latest", "chat_20261122_030000", ["The newer backup 'chat_20261123_030000' was passed over"]),
        ("2026-11-23T12:00", "chat_20261122_030000", ["The newer backup 'chat_20261123_030000' was passed over"]),
        ("2026-11-22T12:00", "chat_20261122_030000", []),  # the newer one was not meant
        ("chat_20261121_030000", "chat_20261121_030000", []),
        ("chat_20261123_030000", "chat_20261123_030000", ["Backup 'chat_20261123_030000' did not come back as it was made"]),
    ],
)
def test_what_did_not_come_back_is_passed_over_and_said(stage: Stage, tmp_path: Path, wanted: str, chosen: str, told: list[str]) -> None:
    for day in (21, 22, 23):
        made = stage.publish(id="chat_202611%d_030000" % day, created="2026-11-%dT03:00:00Z" % day, next_transaction=day)
    written(tmp_path, made, proof_of(made, FAILED))
    result = stage.restore(wanted, check_mode=True)
    assert result.facts["source"]["name"] == chosen
    said = [text for text in stage.running.warnings if "come back" in text]
    assert len(said) == len(told) and all(text.startswith(beginning) for text, beginning in zip(said, told))
    assert not told or "passed over" not in told[0] or "dbops_restore_backup=chat_20261123_030000" in said[0]
