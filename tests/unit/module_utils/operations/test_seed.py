# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Seeding: once for each version, remembered only after it succeeded, and with the rows it left told when it did not."""

from __future__ import annotations

import contextlib
import typing as t
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import Runner
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Image
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.operation import _watched_run
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations import _seed
from ansible_collections.dbops.postgres.plugins.module_utils.operations._seed import SeedOptions, seed, seed_fingerprint
from ansible_collections.dbops.postgres.plugins.module_utils.server._row_counts import TableRows
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import (
    RUN,
    SERVER_ID,
    FakeConnection,
    FakeDocker,
    container,
    operation,
    published,
)

BACKEND = container()
IMAGES = {"sha256:backend": Image("sha256:backend", {}, (), {}), "chat-backend:v2": Image("sha256:v2", {}, (), {})}
MARK = seed_fingerprint(Runner(("/app/backend", "seed"), "chat-backend:v1", "sha256:backend", BACKEND))


class Stage:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.journal: list[str] = []
        self.counts = [(TableRows("public", "users", 0),), (TableRows("public", "users", 5),)]
        self.seeds = ""
        self.seeding = ""
        self.docker = FakeDocker(BACKEND, images=IMAGES)
        self.folder = folder
        monkeypatch.setattr(_seed, "require_space", lambda _operation: self.journal.append("space"))
        monkeypatch.setattr(_seed, "make_backup", self._back_up)
        monkeypatch.setattr(_watched_run, "session", lambda *_arguments: contextlib.nullcontext(FakeConnection()))
        monkeypatch.setattr(_seed, "count_rows", lambda _connection, _path="": self.counts.pop(0))

    def _back_up(self, _operation: Operation, options: t.Any) -> t.Any:
        self.journal.append("backup " + options.reason)
        assert not self.docker.jobs, "the backup comes before the seed"
        return published(self.folder)

    def seed(self, environment: str = "preview", check_mode: bool = False, **options: t.Any) -> Result:
        self.connection = FakeConnection({"SELECT 1 FROM pg_database": [(1,)], "FROM pg_db_role_setting": self._settings})
        self.operation = operation(
            self.folder,
            self.connection,
            self.docker,
            backends=(BACKEND,),
            risk=Risk.OVERWRITE,
            check_mode=check_mode,
            environment=environment,
            server_id=SERVER_ID,
        )
        return seed(self.operation, SeedOptions(("ent",), **options))

    def _settings(self, _text: str, parameters: t.Any) -> list[tuple[str, str]]:
        found = {"dbops.seeds": self.seeds, "dbops.seeding": self.seeding}[parameters[0]]
        return [("chat", found)] if found else []

    @property
    def remembered(self) -> list[str]:
        return self.connection.said('SET "dbops"."seeds"')


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    return Stage(monkeypatch, tmp_path)


def test_a_seed_runs_once_and_is_remembered_in_the_database(stage: Stage) -> None:
    result = stage.seed()
    assert result.changed
    assert result.facts["rows_added"] == {"public.users": 5}
    assert result.summary[0] == "Seeded database 'chat' with '/app/backend seed': public.users +5."
    assert stage.remembered == ['ALTER DATABASE "chat" SET "dbops"."seeds" TO \'%s\'' % MARK]
    assert [job.argv for job in stage.docker.jobs] == [("/app/backend", "seed")]


def test_the_same_seed_does_not_run_again(stage: Stage) -> None:
    stage.seeds = "0123456789abcdef," + MARK
    result = stage.seed()
    assert not result.changed and result.facts["ran_before"]
    assert stage.docker.jobs == [] and stage.remembered == []
    assert "dbops_seed_again=true" in result.summary[0]
    assert result.diff is not None and result.diff["before"] == result.diff["after"]


def test_another_image_or_command_is_another_seed(stage: Stage) -> None:
    stage.seeds = MARK
    result = stage.seed(image="chat-backend:v2")
    assert result.changed and result.facts["seed"] != MARK
    assert stage.remembered[0].endswith("TO '%s,%s'" % (MARK, result.facts["seed"]))
    base = Runner(("a",), "i", "sha256:1", BACKEND)
    assert (
        len(
            {
                seed_fingerprint(base),
                seed_fingerprint(Runner(("b",), "i", "sha256:1", BACKEND)),
                seed_fingerprint(Runner(("a",), "i", "sha256:2", BACKEND)),
            }
        )
        == 3
    )


def test_asked_to_a_seed_runs_again_after_a_backup_and_is_remembered_once(stage: Stage) -> None:
    stage.seeds = MARK
    result = stage.seed(again=True)
    assert result.changed
    assert stage.journal == ["space", "backup before_seed"]
    assert stage.remembered[0].endswith("TO '%s'" % MARK)


def test_production_is_backed_up_first(stage: Stage) -> None:
    assert stage.seed(environment="production").facts["backup"]["id"] == "chat_20261123_030000"
    assert stage.journal == ["space", "backup before_seed"]


def test_a_first_seed_of_a_preview_needs_no_backup(stage: Stage) -> None:
    assert stage.seed().facts["backup"] is None
    assert stage.journal == []


def test_check_mode_runs_nothing_and_shows_the_same_diff(stage: Stage) -> None:
    check = stage.seed(check_mode=True)
    assert check.changed and stage.docker.jobs == [] and stage.remembered == [] and stage.journal == []
    assert check.diff == stage.seed().diff


def test_a_failed_seed_is_not_remembered_and_tells_what_it_left(stage: Stage) -> None:
    stage.docker.outcomes = [Outcome(1, "", "duplicate key")]
    with pytest.raises(DbopsError, match=r"The seed failed: .*It says: duplicate key\. It left rows behind: public.users \+5") as failed:
        stage.seed(environment="production")
    assert stage.remembered == []
    assert "dbops_restore_backup=chat_20261123_030000 -e dbops_confirm=restore:chat" in failed.value.message
    assert failed.value.details["rows_added"] == {"public.users": 5}


def test_a_failed_seed_that_left_nothing_says_so(stage: Stage) -> None:
    stage.docker.outcomes = [Outcome(1, "", "")]
    stage.counts[1] = stage.counts[0]
    with pytest.raises(DbopsError, match=r"It says: \(nothing\)\. No table has more or fewer rows than before"):
        stage.seed()


def test_an_interrupted_seed_names_the_way_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_arguments: t.Any) -> Outcome:
        raise DbopsError("Interrupted by signal 15.")

    monkeypatch.setattr(_seed, "run_watched", interrupted)
    with pytest.raises(DbopsError, match=r"Interrupted by signal 15\. It may have left rows behind\. To go back: .*chat_20261123_030000"):
        stage.seed(environment="production")
    assert stage.remembered == []


def test_a_seed_that_takes_too_long_is_a_failure(stage: Stage) -> None:
    stage.docker.outcomes = [Outcome(-9, "", "", timed_out=True)]
    with pytest.raises(DbopsError, match="did not end within 600 s"):
        stage.seed()


def test_an_interruption_after_the_seed_says_that_it_had_run(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = [stage.counts[0], DbopsError("Interrupted by signal 1.")]

    def count(_connection: t.Any) -> t.Any:
        found = counts.pop(0)
        if isinstance(found, DbopsError):
            raise found
        return found

    monkeypatch.setattr(_seed, "count_rows", count)
    with pytest.raises(DbopsError, match=r"Interrupted by signal 1\. The seed had run before that\. To go back: .*chat_20261123_030000"):
        stage.seed(environment="production")


def test_a_seed_whose_end_nobody_saw_is_not_run_again_by_itself(stage: Stage) -> None:
    stage.seeding = RUN
    for check_mode in (False, True):
        with pytest.raises(DbopsError, match="did not come to its end .run %s.*dbops_seed_again=true" % RUN):
            stage.seed(check_mode=check_mode)
    assert stage.docker.jobs == []
    assert stage.seed(again=True).changed
    assert 'RESET "dbops"."seeding"' in stage.connection.statements[-2]


def test_the_mark_of_a_running_seed_goes_in_one_transaction_with_remembering_it(stage: Stage) -> None:
    stage.seed()
    begun = stage.connection.statements.index("BEGIN")
    [marked] = stage.connection.said(' SET "dbops"."seeding"')
    assert stage.connection.statements.index(marked) < begun
    assert ['"seeds"' in stage.connection.statements[begun + 1], '"seeding"' in stage.connection.statements[begun + 2]] == [True, True]
    assert stage.connection.statements[begun + 3] == "COMMIT"


@pytest.mark.parametrize(("left", "cleared"), [(0, True), (5, False)])
def test_a_seed_that_failed_may_be_tried_again_where_it_left_nothing(stage: Stage, left: int, cleared: bool) -> None:
    stage.counts[1] = (TableRows("public", "users", left),)
    stage.docker.outcomes = [Outcome(1, "", "no")]
    with pytest.raises(DbopsError):
        stage.seed()
    assert bool(stage.connection.said('RESET "dbops"."seeding"')) == cleared
