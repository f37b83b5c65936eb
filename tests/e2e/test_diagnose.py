# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stacks broken for real: the first finding is the right one, nothing was changed by looking, and no secret shows."""

from __future__ import annotations

import json
import urllib.parse

import pytest

from broken import BROKEN, Broken, Workbench, first_kind, run_diagnosis
from controller import MOST_REMOTE_TASKS, Controller, Run
from stack import Stack

#: Passwords that stand somewhere in the broken stacks; the stack's own come to them.
SECRETS = ["rotated-secret-word", "an-older-secret-word", "app-secret-word", "yesterdays-secret-word", "a/b@c#d", "throw-away-word"]

#: Lines of a terminal, in which the likeliest cause has to stand.
FIRST_SCREEN = 25


@pytest.fixture(scope="module")
def filled() -> list[str]:
    """What the databases hold now: they are filled anew only where a test needs something else, or has changed it."""
    return [""]


@pytest.fixture
def bench(stack: Stack, controller: Controller) -> Workbench:
    return Workbench(stack, controller)


def secrets_of(stack: Stack) -> list[str]:
    return [*SECRETS, *(server.env["POSTGRES_PASSWORD"] for server in stack.servers)]


def found_in(text: str, secrets: list[str]) -> list[str]:
    """Raw, as in an address, and as in JSON."""
    return [
        form
        for word in secrets
        for form in {word, urllib.parse.quote(word, safe=""), urllib.parse.quote(word), json.dumps(word)[1:-1]}
        if form in text
    ]


def first_screen(run: Run) -> str:
    return "\n".join("\n".join(run.result()["summary"]).splitlines()[:FIRST_SCREEN])


@pytest.mark.parametrize("broken", [pytest.param(item, id=item.name, marks=[pytest.mark.long] if item.long else []) for item in BROKEN])
def test_the_first_finding_is_the_right_one(broken: Broken, bench: Workbench, stack: Stack) -> None:
    stack.fill(broken.contents)
    with broken.break_and_mend(bench) as variables:
        before = bench.state()
        run = run_diagnosis(bench, broken, variables)
        after = bench.state()
    assert run.ok, run.output
    assert first_kind(run) == broken.expected, run.output
    screen = " ".join(first_screen(run).split())
    assert [word for word in broken.words if word not in screen] == [], first_screen(run)
    [first, *_others] = run.result()["findings"]
    typed = next(line for line in first["do"] if not line.startswith("#")) if any(not line.startswith("#") for line in first["do"]) else ""
    assert typed in first_screen(run)
    assert not run.changed
    assert after == before
    assert found_in(run.output, secrets_of(stack)) == []
    assert run.remote_tasks <= MOST_REMOTE_TASKS
