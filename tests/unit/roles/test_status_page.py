# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of role status: one file that needs nothing else, in which every text is escaped."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import pytest

from ansible_collections.dbops.postgres.plugins.filter.backup_chart import backup_chart
from ansible_collections.dbops.postgres.plugins.filter.status_overview import FilterModule, status_overview
from ansible_collections.dbops.postgres.plugins.module_utils.looks._observed import Backups
from ansible_collections.dbops.postgres.plugins.module_utils.looks._overview import overview
from ansible_collections.dbops.postgres.tests.unit.module_utils.looks.test_judgement import PLACE, WELL
from ansible_collections.dbops.postgres.tests.unit.module_utils.looks.test_overview import GREEN, HOSTILE, RED, YELLOW, answer

TEMPLATE = Path(__file__).resolve().parents[3] / "roles" / "status" / "templates" / "status.html.j2"

#: What a browser closes by itself.
VOID = {"meta", "link"}


class Page(HTMLParser):
    """What stands in a page, and whether its elements are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def rendered(results: dict) -> str:
    """As Ansible's template module sets Jinja up."""
    environment = jinja2.Environment(trim_blocks=True, autoescape=False, undefined=jinja2.StrictUndefined)  # noqa: S701
    environment.filters["dbops.postgres.backup_chart"] = backup_chart
    template = environment.from_string(TEMPLATE.read_text())
    return template.render(__dbops_status_overview=overview(results, "red"), now=lambda _utc, _format: "2026-11-23 03:00")


def test_every_expression_is_escaped() -> None:
    expressions = re.findall(r"\{\{(.*?)\}\}", TEMPLATE.read_text(), re.DOTALL)
    assert len(expressions) > 10
    escaped = r" (?:[\w.]+|\([^|]*\)|now\([^()]*\)|row\.history \| length) \| e "
    # The chart is a library's drawing, with tests of its own on what is in it.
    assert [text for text in expressions if not re.fullmatch(escaped, text) and text != " chart "] == []


def test_whatever_is_in_a_name_stays_a_text() -> None:
    hostile = answer(replace(WELL, place=replace(PLACE, database=HOSTILE, container=HOSTILE), backups=Backups()))
    page = Page(rendered({HOSTILE: hostile, "gone": {"msg": HOSTILE}}))
    assert page.open == []
    assert "script" not in {tag for tag, _attributes in page.elements}
    assert not [name for _tag, attributes in page.elements for name in attributes if name.startswith("on")]
    assert any("<script>alert('x')</script>" in text and "データベース" in text for text in page.texts)


def test_the_page_needs_nothing_but_itself() -> None:
    text = rendered({"g": GREEN, "y": YELLOW, "r": RED})
    page = Page(text)
    addresses = [attributes.get(name) for _tag, attributes in page.elements for name in ("src", "href") if name in attributes]
    assert addresses == ["data:,"]
    assert "url(" not in text and "@import" not in text and "http://" not in text and "https://" not in text


def test_a_database_with_a_history_has_its_chart() -> None:
    pytest.importorskip("pygal")
    made = [{"id": f"chat_{day}", "created": f"2026-11-{day}T03:00:00Z", "size": day, "seconds": day} for day in range(10, 30)]
    page = Page(rendered({"g": answer(replace(WELL, backups=replace(WELL.backups, history=tuple(made)))), "r": RED}))
    assert page.open == []
    assert [tag for tag, _attributes in page.elements].count("svg") == 2
    assert [attributes["aria-label"] for tag, attributes in page.elements if tag == "figure"] == [
        "Size and duration of the last 20 backups"
    ]


def test_the_worst_is_first_and_open() -> None:
    page = Page(rendered({"g": GREEN, "y": YELLOW, "r": RED}))
    cards = [(attributes["class"], "open" in attributes) for tag, attributes in page.elements if tag == "details"]
    assert cards == [("is-red has-findings", True), ("is-yellow has-findings", False), ("is-green", False)]


# --- the filter -----------------------------------------------------------------------------------------------------------


def test_the_filter_takes_the_variables_of_all_hosts() -> None:
    assert FilterModule().filters() == {"status_overview": status_overview}
    made = status_overview({"a": {"__dbops_status_result": GREEN}, "b": {}, "c": {"__dbops_status_result": RED}}, ["a", "b"], "red")
    assert [(row["host"], row["light"]) for row in made["rows"]] == [("b", "red"), ("a", "green")]
    assert [row["host"] for row in status_overview({}, ["nowhere"])["rows"]] == ["nowhere"]
