# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A diagnosis as a person reads it: the first screen holds the verdict and the likeliest cause, with the line to type."""

from __future__ import annotations

import textwrap
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._facts import RED, Facts, Finding
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import count_text

_WIDTH = 110

#: Of the first finding's evidence, so many lines: the first screen has 25.
_MOST_EVIDENCE = 4
_MOST_LINES_TO_TYPE = 7

#: Kinds of error lines of each log, below.
_MOST_GROUPS = 3


def render(facts: Facts, findings: t.Sequence[Finding], since: str) -> list[str]:
    lines = [_verdict(facts, findings)]
    if findings:
        lines += _in_full(findings[0], facts)
        lines += [""] + ["Also found:"] if len(findings) > 1 else []
        for number, item in enumerate(findings[1:], 2):
            lines += _shorter(number, item)
    lines += ["", *_wrapped("Looked at: ", "; ".join(facts.seen) or "nothing")]
    lines += [line for text in facts.unseen for line in _wrapped("Not looked at: ", text)]
    return lines + _logs(facts, since)


def _verdict(facts: Facts, findings: t.Sequence[Finding]) -> str:
    where = "Database '%s' of host '%s'" % (facts.database_name, facts.expected.host or facts.expected.named)
    if not findings:
        return "%s: nothing wrong was found." % where
    red = sum(item.colour == RED for item in findings)
    yellow = len(findings) - red
    parts = (["%d red" % red] if red else []) + (["%d yellow" % yellow] if yellow else [])
    return "%s: %s (%s). %s: %s" % (
        where,
        count_text(len(findings), "finding"),
        ", ".join(parts),
        "The likeliest cause" if red else "Nothing is broken; look at",
        findings[0].kind,
    )


def _in_full(item: Finding, facts: Facts) -> list[str]:
    lines = ["", *_wrapped("1. [%s] " % item.colour, item.found)]
    lines += _wrapped("   Looked at: ", item.looked_at)
    lines += _wrapped("   Why it matters: ", item.why)
    lines += ["   > " + textwrap.shorten(line, _WIDTH, placeholder=" ...") for line in item.evidence[-_MOST_EVIDENCE:]]
    lines += ["   What to do%s:" % _place(item, facts)]
    return lines + ["     " + line for line in item.do[:_MOST_LINES_TO_TYPE]]


def _place(item: Finding, facts: Facts) -> str:
    first = next((line for line in item.do if not line.startswith("#")), "")
    if not first:
        return ""
    return " (here, on the controller)" if first.startswith("ansible-playbook") else " (on the server of host '%s')" % facts.expected.host


def _shorter(number: int, item: Finding) -> list[str]:
    lines = _wrapped("%d. [%s] " % (number, item.colour), item.found)
    first = next((line for line in item.do if not line.startswith("#")), item.do[0] if item.do else "")
    lines += ["   > " + textwrap.shorten(line, _WIDTH, placeholder=" ...") for line in item.evidence[-1:]]
    return lines + ["   " + first]


def _logs(facts: Facts, since: str) -> list[str]:
    if not facts.logs:
        return []
    lines = ["Logs since %s:" % since]
    for name, log in sorted(facts.logs.items(), key=lambda item: -item[1].errors):
        lines.append("  %s: %s, %s" % (name, count_text(log.lines, "line"), count_text(log.errors, "error line")))
        for group in log.groups[:_MOST_GROUPS]:
            lines.append("    %d x %s" % (group.count, textwrap.shorten(group.last, _WIDTH, placeholder=" ...")))
    return lines


def _wrapped(head: str, text: str) -> list[str]:
    """Broken at spaces only, with what follows below the text, so that the eye finds the next heading."""
    return textwrap.wrap(text, _WIDTH, initial_indent=head, subsequent_indent="      ", break_long_words=False, break_on_hyphens=False) or [
        head.rstrip()
    ]
