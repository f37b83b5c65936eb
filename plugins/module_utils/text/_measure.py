# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sizes, durations and ages in words, and rows in columns."""

from __future__ import annotations

import re
import typing as t


def size_text(number: float) -> str:
    """``1536`` -> ``1.5 kB`` (1 kB = 1024 bytes, as pg_size_pretty has it)."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1024:
            return "%d %s" % (number, unit) if unit == "bytes" else "%.1f %s" % (number, unit)
        number /= 1024
    return "%.1f TB" % number


def parse_size(text: str) -> int | None:
    """``8g``, ``512 MB`` or ``1073741824`` -> bytes (1 kB = 1024 bytes); none where it is no size."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?(?:ytes)?\s*", text, re.IGNORECASE | re.ASCII)
    return int(float(match.group(1)) * 1024 ** " kmgt".index(match.group(2).lower() or " ")) if match else None


def duration_text(seconds: float) -> str:
    """``75`` -> ``1 min 15 s``."""
    if seconds < 10:
        return "%.1f s" % seconds
    whole = round(seconds)
    parts = [(whole // 86400, "d"), (whole % 86400 // 3600, "h"), (whole % 3600 // 60, "min"), (whole % 60, "s")]
    shown = [part for part in parts if part[0]][:2]
    return " ".join("%d %s" % part for part in shown)


def count_text(number: int, noun: str) -> str:
    """``(1, "table")`` -> ``1 table``; ``(2, "table")`` -> ``2 tables``; ``(2, "index")`` -> ``2 indexes``."""
    return "%d %s%s" % (number, noun, "" if number == 1 else "es" if noun.endswith("x") else "s")


def aligned(table: t.Sequence[t.Sequence[str]]) -> list[str]:
    """The rows of a table as lines, each column as wide as its longest text."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip() for row in table]
