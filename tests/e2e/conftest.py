# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the end-to-end tests share: the stack, the controller, known contents."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

import checkout
from browser import opened_browser
from controller import MOST_REMOTE_TASKS, ROOT, CheckThenRun, Controller, Run
from faults import Hand
from stack import Server, Stack, provide
from warm import Warm

checkout.offer_collection()  # some tests import of it

#: What the stack runs that molecule's scenarios share.
NEWEST = 18


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--postgres", type=int, default=NEWEST, metavar="MAJOR", help=f"run on this PostgreSQL (default {NEWEST})")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "core: run on the oldest supported PostgreSQL as well")
    config.addinivalue_line("markers", "long: run by `make test-all` only")
    config.addinivalue_line("markers", "share(cases): of a parametrized test, so many of its cases; `make test-all` runs all of them")


@pytest.hookimpl(tryfirst=True)  # before `-m long` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`make test` has a share of the tests that fits its time; `DBOPS_TEST_ALL=1 pytest -m long` runs what it leaves out."""
    taken: Counter[str] = Counter()
    for item in items:
        share = item.get_closest_marker("share")
        test = item.nodeid.partition("[")[0]
        if share and taken[test] >= share.args[0]:
            item.add_marker(pytest.mark.long)
        if not item.get_closest_marker("long"):
            taken[test] += 1
        elif not os.environ.get("DBOPS_TEST_ALL"):
            item.add_marker(pytest.mark.skip(reason="long: make test-all runs it"))


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """The runbook's stack. DBOPS_TEST_STACK names another than `e2e`, so that several runs fit on a machine."""
    major = request.config.getoption("postgres")
    name = os.environ.get("DBOPS_TEST_STACK", "e2e") + ("" if major == NEWEST else f"-{major}")
    with provide(name, major) as found:
        assert found.major == major
        yield found


@pytest.fixture(scope="session")
def controller_home() -> Iterator[Path]:
    """A short path: sockets of SSH connections lie in it."""
    home = Path(tempfile.mkdtemp(prefix="dbops-e2e-"))
    yield home
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def warm(controller_home: Path) -> Iterator[Warm]:
    """Ansible, loaded once for all runs from the checkout's root."""
    ready = Warm(controller_home, ROOT, Controller(controller_home, Path()).environment(Path()))
    yield ready
    ready.close()


@pytest.fixture
def controller(stack: Stack, controller_home: Path, warm: Warm) -> Iterator[Controller]:
    made = Controller(Path(tempfile.mkdtemp(dir=controller_home)), stack.inventory, warm, controller_home)
    yield made
    made.close()


@pytest.fixture
def production(stack: Stack) -> Server:
    return stack.production


@pytest.fixture
def preview(stack: Stack) -> Server:
    return stack.preview


@pytest.fixture
def v1(stack: Stack) -> None:
    """Both databases wait for a migration: the deployed backend wants v2."""
    stack.fill("v1")


@pytest.fixture
def v2(stack: Stack) -> None:
    """Both databases are migrated and hold rows."""
    stack.fill("v2")


@pytest.fixture
def v2_empty(stack: Stack) -> None:
    """Both databases are migrated and hold no row."""
    stack.fill("v2-empty")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with contextlib.ExitStack() as closing:
        yield closing.enter_context(opened_browser())


@pytest.fixture(scope="session")
def hand(stack: Stack) -> Iterator[Hand]:
    """A shell on the target host that acts at once."""
    with Hand(stack) as opened:
        yield opened


@pytest.fixture
def check_then_run(stack: Stack, controller: Controller) -> CheckThenRun:
    """Run a playbook with --check, which must change nothing at all, then for real, which must do what the check has shown."""

    def both(playbook: str, *arguments: str, **options: object) -> tuple[Run, Run]:
        before = stack.everything()
        checked = controller.run(playbook, *arguments, "--check", "--diff", **options)
        assert checked.ok, checked.output
        assert stack.everything() == before
        done = controller.run(playbook, *arguments, "--diff", **options)
        assert done.ok, done.output
        assert checked.changed and done.changed
        assert done.result()["diff"] == checked.result()["diff"]
        assert max(checked.remote_tasks, done.remote_tasks) <= MOST_REMOTE_TASKS
        assert stack.leftovers() == []
        return checked, done

    return both
