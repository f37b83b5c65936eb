# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shows a plan in the job's summary and, for a pull request, in one comment, which the next run updates.

``report_plan.py FILE FOLDER``: the file holds what ansible-playbook printed, the folder the reports of plan.yml, one for each database. Read
from the environment: LIMIT, OUTCOME, what GitHub sets for every step, and PULL_REQUEST with GITHUB_TOKEN where there is one. Written: the
step's outputs ``changed`` and ``plan``, the fingerprint for the job that migrates (empty where there are several databases).
"""

from __future__ import annotations

import json
import os
import re
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

#: GitHub takes 65,536 characters in a comment.
MOST = 60_000

#: Who writes with a job's own token. Somebody else's comment that holds the mark is left alone.
AUTHOR = "github-actions[bot]"

PAGE = 100
COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def mark(limit: str) -> str:
    """Invisible in the comment; tells the next run which comment to update."""
    return f"<!-- dbops.postgres plan: {limit} -->"


def body(output: str, reports: list[str], limit: str, outcome: str, run: str, most: int = MOST) -> str:
    """The whole comment, never longer than that many characters: the reports, or what was printed where there are none."""
    head = f"{mark(limit)}\n### `{limit}`: {_verdict(outcome)}\n\n[The whole run]({run})\n\n"
    if outcome == "success" and reports:
        text = "\n\n".join(reports)
        if len(head) + len(text) <= most:
            return head + text + "\n"
    return head + _framed(output, most - len(head))


def _verdict(outcome: str) -> str:
    return "what the migration would do" if outcome == "success" else f"the plan failed ({outcome})"


def _framed(output: str, most: int) -> str:
    text = COLOUR.sub("", output).strip("\n")
    longest = max((len(ticks) for ticks in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    tail = f"\n{fence}\n"
    cut = f"{tail}\nCut at {MOST:,} characters; the whole run has all of it.\n"
    first = f"{fence}text\n"
    if len(first) + len(text) + len(tail) <= most:
        return first + text + tail
    room = text[: max(0, most - len(first) - len(cut))]
    return first + (room[: room.rfind("\n")] if "\n" in room else room) + cut


def changed(plans: list[dict[str, Any]]) -> bool:
    return any(not plan["plan"]["empty"] for plan in plans)


def fingerprint(plans: list[dict[str, Any]]) -> str:
    return str(plans[0]["plan"]["fingerprint"]) if len(plans) == 1 else ""


class PullRequest:
    """The comments of one pull request."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._token = env["GITHUB_TOKEN"]
        self._repository = f"{env['GITHUB_API_URL']}/repos/{env['GITHUB_REPOSITORY']}"
        self._comments = f"{self._repository}/issues/{int(env['PULL_REQUEST'])}/comments"

    def report(self, limit: str, text: str) -> None:
        mine = [comment for comment in self._all() if comment["user"]["login"] == AUTHOR and comment["body"].startswith(mark(limit))]
        if mine:
            self._call("PATCH", f"{self._repository}/issues/comments/{mine[0]['id']}", {"body": text})
        else:
            self._call("POST", self._comments, {"body": text})

    def _all(self) -> Iterator[dict[str, Any]]:
        page, found = 1, []
        while page == 1 or len(found) == PAGE:
            found = self._call("GET", f"{self._comments}?per_page={PAGE}&page={page}")
            yield from found
            page += 1

    def _call(self, method: str, url: str, data: dict[str, str] | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/vnd.github+json"}
        content = json.dumps(data).encode() if data else None
        request = urllib.request.Request(url, content, headers, method=method)  # noqa: S310 (GitHub says where its API is)
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.load(answer)


def main(file: Path, folder: Path, env: Mapping[str, str]) -> None:
    output = file.read_text(encoding="utf-8", errors="replace")
    reports = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.md"))]
    plans = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    run = f"{env['GITHUB_SERVER_URL']}/{env['GITHUB_REPOSITORY']}/actions/runs/{env['GITHUB_RUN_ID']}"
    text = body(output, reports, env["LIMIT"], env["OUTCOME"], run)
    with Path(env["GITHUB_STEP_SUMMARY"]).open("a", encoding="utf-8") as summary:
        summary.write(text)
    with Path(env["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as outputs:
        outputs.write(f"changed={json.dumps(changed(plans))}\nplan={fingerprint(plans)}\n")
    if env.get("PULL_REQUEST"):
        PullRequest(env).report(env["LIMIT"], text)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), os.environ)
