# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The look into indexes: what is checked, what a damaged one is called, and what is said where it cannot be."""

from __future__ import annotations

import typing as t

import psycopg2

from ansible_collections.dbops.postgres.plugins.module_utils.server._indexes import IndexCheck, check_indexes
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeConnection


def checked(**answers: t.Any) -> IndexCheck:
    there: dict[str, t.Any] = {"pg_available_extensions": [(1,)], "FROM pg_index": [(11, "public.one"), (12, "public.two")]}
    return check_indexes(t.cast(t.Any, FakeConnection({**there, **answers})))


def test_every_index_is_looked_into() -> None:
    assert checked() == IndexCheck(2)


class Corrupted(psycopg2.Error):
    pgcode = "XX002"


def test_a_damaged_one_is_named() -> None:
    found = checked(**{"bt_index_check(12": Corrupted('item order invariant violated for index "two"\nDETAIL: x')})
    assert found == IndexCheck(2, ('index public.two is damaged: item order invariant violated for index "two"',))


def test_a_server_that_goes_is_no_damage() -> None:
    found = checked(**{"bt_index_check(12": psycopg2.Error("server closed the connection unexpectedly")})
    assert found == IndexCheck(1, (), ("public.two (server closed the connection unexpectedly)",))


def test_without_the_extension_it_is_said() -> None:
    assert checked(pg_available_extensions=[]).unavailable == "the image has no amcheck"
    assert "could not be added: no" in checked(**{"CREATE EXTENSION": psycopg2.Error("no")}).unavailable
