# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The alert rules and the dashboard ask for metrics that there are, with labels that they have; promtool plays the rules in stage `lint`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _metrics

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "examples" / "prometheus"
KNOWN = set(_metrics._HELP)
RULES: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))


def metrics_in(text: str) -> set[str]:
    return set(re.findall(r"\bdbops_\w+", text))


def expressions() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def test_they_ask_for_metrics_that_there_are() -> None:
    asked = metrics_in(" ".join([*(rule["expr"] for rule in RULES), *expressions()]))
    assert len(asked) > 8 and asked <= KNOWN


def test_every_metric_is_shown_or_watched_or_in_the_guide() -> None:
    for name in ("docs/monitoring.md", "docs/monitoring.ja.md"):
        assert metrics_in((ROOT / name).read_text(encoding="utf-8")) >= KNOWN, name


def test_every_rule_says_what_to_do_and_is_played() -> None:
    played = {
        asked["alertname"]
        for test in yaml.safe_load((FOLDER / "alerts.test.yml").read_text(encoding="utf-8"))["tests"]
        for asked in test["alert_rule_test"]
        if asked["exp_alerts"]
    }
    for rule in RULES:
        assert rule["annotations"]["summary"] and rule["annotations"]["description"] and rule["labels"]["severity"]
        assert rule["alert"] in played, f"{rule['alert']} never fires in alerts.test.yml"


def test_no_two_panels_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_its_variables_are_declared() -> None:
    declared = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]+)\}?", json.dumps(DASHBOARD)))
    assert used - declared == set()
