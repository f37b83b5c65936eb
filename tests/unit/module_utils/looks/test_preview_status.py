# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The branches on a database: what is said of each, what the ledger keeps, and when a sandbox is opened."""

from __future__ import annotations

import contextlib
import typing as t
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _journal
from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import Runner
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container, Image
from ansible_collections.dbops.postgres.plugins.module_utils.looks import _preview_status
from ansible_collections.dbops.postgres.plugins.module_utils.looks._preview_status import preview_status
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operation._target import TargetOptions
from ansible_collections.dbops.postgres.plugins.module_utils.preview import _conflicts
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox import _expected_schemas
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._expected_schemas import Trial, expected_schemas, known
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeConnection, FakeDocker, container, operation

V1 = {"table public.users": "owner", "column public.users.id": "bigint not null identity by default"}
V2 = {**V1, "table public.reactions": "owner", "column public.reactions.id": "bigint", "column public.users.nickname": "text"}
RETYPED = {**V2, "column public.users.nickname": "integer"}


def backend(branch: str, image: str, **changes: t.Any) -> Container:
    return container("chat-backend-preview-" + branch, image="chat:" + image, image_id="sha256:" + image, **changes)


class Stage:
    """Plays the sandbox: each image makes of an empty database, or of the live one, what is said here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder = folder
        self.shared: dict[str, str] = V2
        self.makes: dict[str, Trial] = {"sha256:v1": Trial(V1, ""), "sha256:v2": Trial(V2, ""), "sha256:v3": Trial(RETYPED, "")}
        self.makes_of_live: dict[str, Trial] = {}
        self.backends: tuple[Container, ...] = (backend("a", "v1"), backend("b", "v2"))
        self.opened = 0
        for module in (_preview_status, _expected_schemas):
            monkeypatch.setattr(module, "open_trials", self._open)
        monkeypatch.setattr(_preview_status, "read_snapshot", lambda _connection: self.shared)

    @contextlib.contextmanager
    def _open(self, running: Operation) -> t.Iterator[t.Any]:
        self.opened += 1
        self.operation = running
        self.live = self.shared
        yield self

    def on_empty(self, runner: Runner) -> Trial:
        return self.makes[runner.image_id]

    def on_live(self, runner: Runner) -> Trial:
        return self.makes_of_live[runner.image_id]

    def running(self, check_mode: bool = False, risk: Risk = Risk.READ) -> Operation:
        images = {item.image_id: Image(item.image_id, {}, (), {}) for item in self.backends}
        return operation(
            self.folder,
            FakeConnection({"SELECT 1 FROM pg_database": [(1,)]}),
            FakeDocker(*self.backends, images=images),
            backends=self.backends,
            risk=risk,
            check_mode=check_mode,
            environment="preview",
            target=TargetOptions(database="chat", container="chat-postgres-prod", backends=("chat-backend-preview-*",)),
        )

    def look(self, check_mode: bool = False) -> Result:
        return preview_status(self.running(check_mode), ("ent",))

    def states(self) -> dict[str, str]:
        return {item["branch"]: item["state"] for item in self.look().facts["branches"]}


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    return Stage(monkeypatch, tmp_path)


def test_a_branch_is_the_same_or_behind_or_ahead(stage: Stage) -> None:
    assert stage.states() == {"a": "ahead", "b": "same"}
    stage.shared = V1
    stage.makes_of_live["sha256:v2"] = Trial(V2, "")
    result = stage.look()
    assert {item["branch"]: item["state"] for item in result.facts["branches"]} == {"b": "behind", "a": "same"}
    assert result.facts["branches"][0]["why"] == ["its migration would add table public.reactions, column public.users.nickname"]
    assert "To migrate once for all: ansible-playbook migrate.yml -l chat-production -e dbops_preview_branch=b" in result.summary
    assert not result.changed


def test_what_has_another_type_is_a_conflict_and_comes_first(stage: Stage) -> None:
    stage.shared = RETYPED
    result = stage.look()
    assert [(item["branch"], item["state"]) for item in result.facts["branches"]] == [("b", "conflict"), ("a", "ahead")]
    assert "b: column public.users.nickname is integer, not text" in result.summary
    assert result.summary[0] == "2 branches on database 'chat': 1 conflict, 1 ahead."


def test_a_migration_that_would_break_another_branch_is_a_conflict(stage: Stage) -> None:
    stage.backends = (backend("b", "v2"), backend("c", "v4"))
    stage.makes["sha256:v4"] = Trial({**V1, "table public.polls": ""}, "")
    stage.makes_of_live["sha256:v4"] = Trial({**V1, "table public.polls": ""}, "")
    [first, second] = stage.look().facts["branches"]
    assert (first["branch"], first["state"], second["state"]) == ("c", "conflict", "same")
    assert first["why"] == [
        "its migration would break branch 'b': column public.users.nickname would be gone, table public.reactions would be gone"
    ]


def test_a_migration_that_does_not_bring_what_its_own_branch_needs_is_a_conflict(stage: Stage) -> None:
    stage.shared, stage.makes_of_live["sha256:v2"] = V1, Trial(V1, "")
    assert stage.states()["b"] == "conflict"
    stage.makes_of_live["sha256:v2"] = Trial(V1, "it failed")
    assert "its migration would fail: it failed" in stage.look().facts["branches"][0]["why"]


def test_an_image_whose_own_migration_fails_is_unknown_and_asked_again(stage: Stage) -> None:
    stage.makes["sha256:v1"] = Trial({}, "'x' failed with exit status 1. It says: boom")
    assert stage.states() == {"a": "unknown", "b": "same"}
    stage.makes["sha256:v1"] = Trial(V1, "")
    assert stage.states() == {"a": "ahead", "b": "same"}


def test_what_an_image_needs_is_found_out_once(stage: Stage) -> None:
    stage.look()
    assert stage.opened == 1
    stage.look()
    assert stage.opened == 1
    files = list((stage.folder / "expected_schemas").iterdir())
    assert len(files) == 2 and all(path.stat().st_mode & 0o777 == 0o600 for path in files)
    files[0].write_text("{cut")
    stage.look()
    assert stage.opened == 2, "a file that cannot be read is made anew"


def test_check_mode_writes_nothing(stage: Stage) -> None:
    result = stage.look(check_mode=True)
    assert [item["state"] for item in result.facts["branches"]] == ["ahead", "same"]
    assert list(stage.folder.iterdir()) == []


def test_without_a_backup_folder_nothing_is_kept(stage: Stage) -> None:
    stage.folder = stage.folder / "missing"
    assert stage.states() == {"a": "ahead", "b": "same"}
    assert not stage.folder.exists()


def ledger(stage: Stage) -> list[tuple[str, str]]:
    return [(entry["branch"], entry["state"]) for entry in _journal.read(str(stage.folder)) if entry["operation"] == "branch"]


def test_the_ledger_has_a_line_for_what_is_new_or_has_changed(stage: Stage) -> None:
    stage.look()
    stage.look()
    assert ledger(stage) == [("a", "ahead"), ("b", "same")]
    stage.shared = RETYPED
    stage.look()
    assert ledger(stage)[2:] == [("b", "conflict")] or sorted(ledger(stage)[2:]) == [("a", "ahead"), ("b", "conflict")]


def test_a_branch_that_is_gone_is_listed_with_what_it_left(stage: Stage) -> None:
    stage.look()
    stage.backends = (backend("a", "v1"),)
    result = stage.look()
    assert [(item["branch"], item["state"]) for item in result.facts["branches"]] == [("a", "ahead"), ("b", "gone")]
    assert result.facts["leftovers"] == ["column public.users.nickname", "table public.reactions"]
    assert any(
        line.startswith("Left over from branches that are gone (the next reset clears it): table public.reactions")
        for line in result.summary
    )


def test_who_migrated_last_is_read_from_the_journal(stage: Stage) -> None:
    for finished, changed in (("2026-11-20T00:00:00Z", True), ("2026-11-21T00:00:00Z", False)):
        _journal.append(
            str(stage.folder),
            {"operation": "migrate", "backend": "chat-backend-preview-b", "changed": changed, "finished": finished, "run_id": "r"},
        )
    assert {item["branch"]: item["migrated"] for item in stage.look().facts["branches"]} == {"a": "", "b": "2026-11-20T00:00:00Z"}


def test_no_branch_and_a_hundred(stage: Stage) -> None:
    stage.backends = ()
    assert stage.look().summary == ["0 branches on database 'chat': no backend was found."]
    stage.backends = tuple(backend("feature-%d-%s" % (number, "x" * 60), "v2") for number in range(100))
    result = stage.look()
    assert len(result.facts["branches"]) == 100 and stage.opened == 1
    assert result.summary[0] == "100 branches on database 'chat': 100 same."


# --- before a migration ---------------------------------------------------------------------------------------------------


def runner(image: str) -> Runner:
    return Runner(("/app/backend", "migrate"), "chat:" + image, "sha256:" + image, backend("x", image))


def test_a_plan_that_only_adds_asks_nobody(stage: Stage) -> None:
    assert _conflicts.broken_branches(stage.running(), runner("v9"), V1, V2) == {}
    assert stage.opened == 0


def test_a_plan_that_takes_something_away_names_who_uses_it(stage: Stage) -> None:
    broken = _conflicts.broken_branches(stage.running(), runner("v9"), V2, V1)
    assert broken == {"b": ["column public.users.nickname would be gone", "table public.reactions would be gone"]}


def test_branches_that_do_not_run_or_run_the_same_image_are_not_asked(stage: Stage) -> None:
    assert _conflicts.broken_branches(stage.running(), runner("v2"), V2, V1) == {}
    stage.backends = (backend("b", "v2", status="exited"),)
    assert _conflicts.broken_branches(stage.running(), runner("v9"), V2, V1) == {}


def test_an_image_that_tells_nothing_is_a_warning(stage: Stage) -> None:
    stage.makes["sha256:v2"] = Trial({}, "it failed")
    running = stage.running()
    assert _conflicts.broken_branches(running, runner("v9"), V2, V1) == {}
    assert running.warnings == ["What branch 'b' needs of the schema is not known: it failed."]


def test_expected_schemas_are_kept_by_image_and_command(stage: Stage) -> None:
    running = stage.running()
    expected_schemas(running, [runner("v2")])
    assert known(running, _expected_schemas.file_name(running, runner("v2"))) == V2
    other = Runner(("/app/backend", "up"), "chat:v2", "sha256:v2", backend("x", "v2"))
    assert known(running, _expected_schemas.file_name(running, other)) is None
