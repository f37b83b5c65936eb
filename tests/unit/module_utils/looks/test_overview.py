# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table: worst first, one line a database, no line wider than it may be, and nothing in it that acts on a terminal."""

from __future__ import annotations

import json
import typing as t
from dataclasses import asdict, replace

import hypothesis
import pytest
from hypothesis import strategies

from ansible_collections.dbops.postgres.plugins.module_utils.looks import _overview
from ansible_collections.dbops.postgres.plugins.module_utils.looks._judgement import judge, worst
from ansible_collections.dbops.postgres.plugins.module_utils.looks._observed import Backups, Limits, Observed, Pending
from ansible_collections.dbops.postgres.plugins.module_utils.looks._overview import WIDTH, columns_of, cut, overview
from ansible_collections.dbops.postgres.plugins.module_utils.server._vitals import Slot
from ansible_collections.dbops.postgres.tests.unit.module_utils.looks.test_judgement import PLACE, WELL

HOSTILE = "<script>alert('x')</script> \x1b[31m\r\n\x07\u202e&amp;\" データベース"


def answer(seen: Observed = WELL) -> dict[str, t.Any]:
    """What the module returns, as Ansible hands it on."""
    findings = judge(seen, Limits())
    state = dict(asdict(seen), days_left=seen.days_left)
    return json.loads(json.dumps({"light": worst(findings).word, "findings": [item.to_json() for item in findings], "state": state}))


RED = answer(replace(WELL, backups=Backups(), pending=Pending("pending", "sandbox", 2)))
YELLOW = answer(replace(WELL, pending=Pending("pending", "sandbox", 2)))
GREEN = answer()


def lines_of(results: dict[str, t.Any]) -> list[str]:
    return overview(results, "red")["text"].splitlines()


def test_worst_comes_first_then_the_name() -> None:
    made = overview({"b": GREEN, "a": GREEN, "y": YELLOW, "r": RED, "gone": None}, "red")
    assert [row["host"] for row in made["rows"]] == ["gone", "r", "y", "a", "b"]
    assert (made["light"], made["counts"], made["headline"]) == (
        "red",
        {"red": 2, "yellow": 1, "green": 2},
        "5 databases: 2 red, 1 yellow, 2 green",
    )


@pytest.mark.parametrize(
    ("fail_on", "failing"), [("red", ["gone", "r"]), ("yellow", ["gone", "r", "y"]), ("never", []), ("anything else", [])]
)
def test_which_hosts_fail_is_what_was_asked_for(fail_on: str, failing: list[str]) -> None:
    assert overview({"g": GREEN, "y": YELLOW, "r": RED, "gone": None}, fail_on)["failing"] == failing


@pytest.mark.parametrize(
    ("result", "sentence", "command"),
    [
        (None, "It could not be looked at: see the messages above.", ""),
        ({"msg": "Host 'x' names no container"}, "It could not be looked at: Host 'x' names no container", ""),
        (
            {"unreachable": True, "msg": "Connection timed\nout"},
            "The host could not be reached: Connection timed out",
            "ansible h -m ansible.builtin.ping",
        ),
    ],
)
def test_a_host_that_was_not_looked_at_is_red_with_the_reason(result: t.Any, sentence: str, command: str) -> None:
    [row] = overview({"h": result}, "red")["rows"]
    assert (row["light"], row["sentence"], row["findings"][0]["command"]) == ("red", sentence, command)


def test_the_table_says_the_worst_thing_and_how_many_more_there_are() -> None:
    head, red, green = _overview.table(overview({"g": GREEN, "r": RED}, "red")["rows"])
    assert head.split() == ["STATUS", "HOST", "VERSION", "SIZE", "CONN", "BACKUP", *["WHAT", "IS", "THE", "MATTER"]]
    assert red.startswith("RED") and red.endswith("There is no backup of database 'chat'. (+1)")
    assert green.startswith("green   g") and "3/97" in green


def test_fifty_databases_fit_on_a_screen() -> None:
    results = {"database-of-customer-%02d" % number: [GREEN, YELLOW, RED][number % 3] for number in range(50)}
    lines = lines_of(results)
    table = lines[: lines.index("", 3)]
    assert len(table) == 53 and lines[0].startswith("50 databases")
    assert max(map(columns_of, table)) <= WIDTH
    assert not any("Backends" in line for line in lines), "of many, only what is the matter is told"


def test_few_databases_have_all_their_facts() -> None:
    text = "\n".join(lines_of({"a": GREEN}))
    for words in ("PostgreSQL", "production, marked 'production'", "3 of 97", "grows by 102.4 MB a day", "full in 1000 d", "None  "):
        assert words in text


def test_commands_are_never_broken() -> None:
    long = replace(PLACE, container="c" * 80, database="d" * 60)
    text = lines_of({"a": answer(replace(WELL, place=long, invalid_indexes=("public." + "i" * 60,)))})
    [command] = [line for line in text if "REINDEX" in line]
    assert command.strip().startswith("$ docker exec") and command.endswith("'")


def test_what_runs_is_shown_where_nothing_is_the_matter() -> None:
    holder = {"operation": "backup", "operator": "ann", "controller": "", "since": "2026", "phase": "backup: dump"}
    [row] = overview({"a": answer(replace(WELL, running=holder))}, "red")["rows"]
    assert (row["light"], row["sentence"]) == ("green", "backup by ann from ? runs since 2026, phase 'backup: dump'")


def test_nothing_acts_on_a_terminal() -> None:
    place = replace(PLACE, database=HOSTILE, container=HOSTILE)
    made = overview({HOSTILE: answer(replace(WELL, place=place, backups=Backups(), slots=(Slot(HOSTILE, False, "lost", 0),)))}, "red")
    assert all(char.isprintable() or char == "\n" for char in made["text"])
    assert "データベース" in made["text"]
    assert json.dumps(made)


@hypothesis.given(strategies.dictionaries(strategies.text(max_size=80), strategies.sampled_from([None, GREEN, YELLOW, RED]), max_size=8))
def test_no_line_of_the_table_is_too_wide_whatever_the_hosts_are_called(results: dict[str, t.Any]) -> None:
    assert all(columns_of(line) <= WIDTH for line in _overview.table(overview(results, "red")["rows"]))


@pytest.mark.parametrize(
    ("text", "columns", "wanted"),
    [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("データ", 6, "データ"), ("データ", 5, "デー…"), ("a bc", 3, "a…")],
)
def test_a_text_is_cut_by_columns(text: str, columns: int, wanted: str) -> None:
    assert cut(text, columns) == wanted


def test_a_database_of_which_nothing_is_known_has_facts_all_the_same() -> None:
    [row] = overview({"a": answer(Observed(PLACE, unread={"server": "It is gone."}))}, "red")["rows"]
    assert row["sentence"] == "It is gone."
    labels = [label for label, _text in row["facts"]]
    assert labels == ["Server", "Environment", "Last migration", "Pending migration"]
