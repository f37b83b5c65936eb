# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Branches: how they are named, and how a person's word for one is understood."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbops.postgres.plugins.module_utils.backend._branches import Branch, branch_name, branches_of, choose, slug
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import container

PATTERN = "chat-backend-preview-*"


@pytest.mark.parametrize(
    ("name", "patterns", "expected"),
    [
        ("chat-backend-preview-feature-login", [PATTERN], "feature-login"),
        ("chat-backend-preview-x-web", ["chat-backend-preview-*-web"], "x"),
        ("chat-backend-preview-", [PATTERN], "chat-backend-preview-"),
        ("chat-backend", ["chat-backend"], "chat-backend"),
        ("other", [PATTERN], "other"),
        ("pr-7-api", ["chat-*", "pr-*-api"], "7"),
    ],
)
def test_the_star_of_the_pattern_is_the_branch(name: str, patterns: list[str], expected: str) -> None:
    assert branch_name(container(name), patterns, "") == expected


def test_a_label_names_the_branch_where_it_is_asked_for() -> None:
    labelled = container("chat-backend-preview-a", labels={"git.branch": "feature/Login", "org.opencontainers.image.revision": "0123abc"})
    assert branch_name(labelled, [PATTERN], "git.branch") == "feature/Login"
    assert branch_name(labelled, [PATTERN], "other") == "a"
    [branch] = branches_of([labelled], [PATTERN], "")
    assert (branch.name, branch.revision) == ("a", "0123abc")


BRANCHES = [Branch(name, container(name)) for name in ("feature-login", "main", "feature-login-2")]


@pytest.mark.parametrize("wanted", ["feature-login", "feature/login", "Feature/Login", "feature_login", " feature--login/"])
def test_a_git_branch_finds_its_container(wanted: str) -> None:
    assert choose(BRANCHES, wanted).name == "feature-login"


def test_of_two_containers_of_a_branch_the_newest_counts() -> None:
    twice = [Branch("main", container("old")), Branch("main", container("new"))]
    assert choose(twice, "main").container.name == "new"


@pytest.mark.parametrize("wanted", ["nobody", "x" * 200, "/", "", "日本"])
def test_an_unknown_branch_is_told_with_those_that_there_are(wanted: str) -> None:
    with pytest.raises(DbopsError, match="Branches here: 'feature-login', 'main'") as caught:
        choose(BRANCHES, wanted)
    assert len(caught.value.message) < 400


@given(st.text(max_size=80))
def test_a_slug_is_what_a_container_may_be_called(text: str) -> None:
    made = slug(text)
    assert made == slug(made)
    assert not made or (made[0] != "-" and made[-1] != "-" and all(c.isascii() and (c.isalnum() or c == "-") for c in made))
