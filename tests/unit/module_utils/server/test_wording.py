# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Definitions that differ by PostgreSQL's wording alone are the same; others are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbops.postgres.plugins.module_utils.server._wording import canonical

#: As PostgreSQL 18 wrote them: when they were made, and from its own text.
PAIRS = [
    (
        "CHECK (((kind)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])))",
        "CHECK (((kind)::text = ANY (ARRAY[('a'::character varying)::text, ('b'::character varying)::text])))",
    ),
    ("CHECK ((((n >= 1) AND (n <= 5)) AND (n <> 3)))", "CHECK (((n >= 1) AND (n <= 5) AND (n <> 3)))"),
    (
        "CHECK (((((a > 0) OR (b > 0)) OR (c > 0)) AND (d > 0)))",
        "CHECK ((((a > 0) OR (b > 0) OR (c > 0)) AND (d > 0)))",
    ),
    (
        "ON (kind::text = ANY (ARRAY['a'::character varying, 'b'::character varying]::text[])), (n + 1)",
        "ON (kind::text = ANY (ARRAY['a'::character varying::text, 'b'::character varying::text])), (n + 1)",
    ),
    (
        "CHECK (((k)::text <> ALL ((ARRAY['it''s, (a)'::character varying, 'b]'::character varying])::text[])))",
        "CHECK (((k)::text <> ALL (ARRAY[('it''s, (a)'::character varying)::text, ('b]'::character varying)::text])))",
    ),
]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_both_wordings_are_one(first: str, second: str) -> None:
    assert canonical(first) == second == canonical(second)


@pytest.mark.parametrize(
    "text",
    [
        "CHECK (((a > 0) AND ((b > 0) OR (c > 0))))",
        "CHECK ((((a > 0) OR (b > 0)) AND (c > 0)))",
        "CHECK ((note <> ' AND (('::text))",
        'CREATE INDEX "odd ((AND" ON t USING btree (a) WHERE ((a > 0) AND (b > 0))',
        "SELECT sum(a) OVER (ORDER BY b ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS sum FROM t WHERE ((a > 0) AND (b > 0))",
        "CHECK ((a = ANY (ARRAY[1, 2])))",
        "CHECK ((a = ANY ((ARRAY[1, 2])::bigint[]))) no closing (",
        "x) AND (y",
        "integer default 1",
        "text[] default ARRAY[]::text[]",
    ],
)
def test_what_means_something_else_stays_as_it_is(text: str) -> None:
    assert canonical(text) == text or "no closing" in text


def test_different_expressions_stay_different() -> None:
    texts = [
        "(((a) AND (b)) OR (c))",
        "((a) AND ((b) OR (c)))",
        "((a) OR (b) OR (c))",
        "((a) AND (b) AND (c))",
        "(k = ANY ((ARRAY['a'::x])::text[]))",
        "(k = ANY ((ARRAY['b'::x])::text[]))",
        "(k = ANY ((ARRAY['a'::x])::name[]))",
    ]
    assert len({canonical(text) for text in texts}) == len(texts)


def test_an_expression_may_be_as_deep_as_it_likes() -> None:
    deep = "f(" * 5000 + "((a) AND (b)) AND (c)" + ")" * 5000
    assert canonical(deep) == deep.replace("((a) AND (b))", "(a) AND (b)")
    nested = "(" * 2000 + "(a)" + " AND (b))" * 2000
    assert canonical(nested) == "((a)" + " AND (b)" * 2000 + ")"


PIECES = st.sampled_from(
    ["(", ")", " AND ", " OR ", "ARRAY[", "]", "])::text[]", "]::name[]", "'it''s ('", '"a("', ", ", "a", "'x'::character varying", "'"]
)


@given(st.lists(PIECES, max_size=30).map("".join))
def test_whatever_the_text_one_wording_stays_as_it_is(text: str) -> None:
    once = canonical(text)
    assert canonical(once) == once
    assert sorted(letter for letter in once if letter.isalpha()).count("N") == text.count("N")
