# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which version works with which schema, by what each needs of it."""

from __future__ import annotations

import types
import typing as t
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import Runner
from ansible_collections.dbops.postgres.plugins.module_utils.deployment import _outlook
from ansible_collections.dbops.postgres.plugins.module_utils.deployment._outlook import MIGRATE_FIRST, START_FIRST, Outlook, look_ahead
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Image
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import Plan
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeDocker, container, operation

BEFORE = {"table public.users": "", "column public.users.id": "bigint not null identity", "column public.users.name": "text"}
ADDED = {**BEFORE, "column public.users.nickname": "text", "table public.rooms": "", "column public.rooms.id": "bigint"}
DEMANDS = {**BEFORE, "column public.users.email": "text not null"}
DROPPED = {name: text for name, text in BEFORE.items() if not name.endswith("name")}


def looked(monkeypatch: pytest.MonkeyPatch, folder: Path, after: dict[str, str], needs: t.Any = None, trouble: str = "") -> Outlook:
    asked: list[t.Any] = []

    def expected(_operation: t.Any, runners: t.Sequence[Runner]) -> dict[str, t.Any]:
        asked.extend(runners)
        return {runners[0].image_id: types.SimpleNamespace(schema=BEFORE if needs is None else needs, trouble=trouble)}

    monkeypatch.setattr(_outlook, "expected_schemas", expected)
    backend = container(image_id="sha256:old")
    docker = FakeDocker(backend, images={"sha256:old": Image("sha256:old", {}, (), {})})
    plan = Plan((t.cast(t.Any, None),), BEFORE, after, (), Outcome(0, "", ""))
    found = look_ahead(operation(folder, docker=docker), plan, Runner(("x",), "app:v2", "sha256:new", backend), [backend])
    assert [runner.image_id for runner in asked] in ([], ["sha256:old"])
    return found


def test_what_is_only_added_hurts_nobody_who_runs_and_is_missed_by_who_comes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = looked(monkeypatch, tmp_path, ADDED)
    assert found.safe_orders == (MIGRATE_FIRST,)
    assert found.new_before == ("column public.users.nickname is not there", "table public.rooms is not there")
    assert found.advice(MIGRATE_FIRST) == ""
    assert found.advice(START_FIRST).endswith("Safe is: -e dbops_deploy_order=migrate_first")


def test_what_is_dropped_is_missed_by_who_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = looked(monkeypatch, tmp_path, DROPPED)
    assert found.running_after == ("column public.users.name would be gone",)
    assert found.safe_orders == (START_FIRST,)
    assert "The version that runs now would not go on" in found.lines()[0]


def test_a_value_that_is_demanded_breaks_either(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = looked(monkeypatch, tmp_path, DEMANDS)
    assert found.safe_orders == ()
    assert "in either order" in found.advice(MIGRATE_FIRST) and "two steps" in found.advice(START_FIRST)


@pytest.mark.parametrize(("needs", "trouble"), [({}, ""), (BEFORE, "it fails on an empty database")])
def test_what_cannot_be_seen_is_not_called_safe(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, needs: dict[str, str], trouble: str
) -> None:
    found = looked(monkeypatch, tmp_path, DROPPED, needs, trouble)
    assert found.safe_orders == (START_FIRST,) and found.unknown
    assert "is not known: " + found.unknown in found.lines()[0]


def test_nothing_is_missed_where_nothing_is_migrated(tmp_path: Path) -> None:
    plan = Plan((), BEFORE, BEFORE, (), Outcome(0, "", ""))
    found = look_ahead(operation(tmp_path), plan, Runner(("x",), "app:v2", "sha256:new", container()), [])
    assert found.safe_orders == (MIGRATE_FIRST, START_FIRST)


def test_of_much_that_is_missing_some_is_told() -> None:
    told = Outlook(new_before=tuple("column %d is not there" % number for number in range(9))).lines()[1]
    assert told.endswith("column 2 is not there and 6 more.")
