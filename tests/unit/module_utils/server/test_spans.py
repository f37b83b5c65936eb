# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From when to when something was there."""

from __future__ import annotations

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.server._spans import Span, Spans


def test_what_is_seen_again_goes_on_and_what_is_not_has_ended() -> None:
    spans = Spans(0.1)
    spans.look(0.5, [("A", 1, "x")])
    spans.look(0.6, [("A", 1, "x"), ("B", 2, "x")])
    spans.look(0.7, [("B", 2, "x")])
    spans.look(0.8, [("A", 1, "x")])
    assert [(span.what, span.table, round(span.begun, 2), round(span.ended, 2)) for span in spans.all()] == [
        *(("A", 1, 0.4, 0.7), ("B", 2, 0.5, 0.8), ("A", 1, 0.7, 0.8)),
    ]


def test_of_somebody_else_it_is_another_one() -> None:
    spans = Spans(0.1)
    spans.look(0.1, [("A", 1, "x")])
    spans.look(0.2, [("A", 1, "y")])
    assert len(spans.all()) == 2


def test_it_cannot_have_begun_before_the_beginning() -> None:
    spans = Spans(0.1)
    spans.look(0.05, [("A", 1, None)])
    assert spans.all() == [Span(0.0, 0.05, "A", 1)] and spans.all()[0].seconds == pytest.approx(0.05)
