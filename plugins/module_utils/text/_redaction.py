# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets are taken out of every text by value, so that an error message stays readable."""

from __future__ import annotations

import json
import re
import typing as t
from urllib.parse import quote, quote_plus, unquote, urlsplit

MASK = "********"

#: Shorter values are left alone: masking every "a" would make all output unreadable.
SHORTEST = 3

_SECRET_NAME = re.compile(r"(PASS|SECRET|TOKEN|CREDENTIAL|PRIVATE|API_?KEY|ACCESS_?KEY|SALT|SIGNING)", re.IGNORECASE)
_KEYWORD_PASSWORD = re.compile(r"\bpassword\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S+))", re.IGNORECASE)

#: Passwords by where they stand, for texts of others: in an address, after a keyword or a JSON name, in an SQL statement.
_BY_FORM = (
    re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]*://[^\s:/@]*:)[^\s]+(?=@)"),
    re.compile(
        r"(\b\w*(?:password|passwd|pwd|secret|token|api_?key)\w*[\"']?\s*[=:]\s*)(?:\"[^\"]*\"|'(?:[^'\\]|\\.|'')*'|[^\s,;&\"']+)",
        re.IGNORECASE,
    ),
    re.compile(r"(\bPASSWORD\s+E?)'(?:[^']|'')*'", re.IGNORECASE),
)


class Redactor:
    """Knows the secrets of one run and masks them, raw, percent-encoded and JSON-escaped."""

    def __init__(self) -> None:
        self._values: set[str] = set()

    def add(self, value: str | None) -> None:
        if not value or len(value) < SHORTEST:
            return
        self._values.update(written_forms(value))

    def add_environment(self, env: t.Mapping[str, str]) -> None:
        """Learn the secrets of a container's environment: by a variable's name, and passwords inside addresses."""
        for name, value in env.items():
            if _SECRET_NAME.search(name) and not name.upper().endswith("_FILE"):
                self.add(value)
            for secret in passwords_in(value):
                self.add(secret)

    def text(self, text: str) -> str:
        for value in sorted(self._values, key=len, reverse=True):
            text = text.replace(value, MASK)
        return text

    def data(self, value: t.Any) -> t.Any:
        """Mask every string inside ``value`` (JSON types); keys stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.data(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.data(item) for item in value]
        return value


def written_forms(value: str) -> set[str]:
    """A secret as it may appear in a text: raw, in an address, in JSON (Python's and Go's), in an SQL literal."""
    encoded = {quote(value, safe=""), quote(value), quote_plus(value)}
    encoded |= {re.sub("%[0-9A-F]{2}", lambda match: match.group().lower(), text) for text in encoded}
    raw_json = json.dumps(value, ensure_ascii=False)[1:-1]
    go_json = raw_json.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return {value, *encoded, raw_json, go_json, json.dumps(value)[1:-1], value.replace("'", "''")}


def passwords_in(value: str) -> list[str]:
    """The passwords in a connection address (URL, or libpq keywords such as ``password=...``), as written and decoded."""
    found = []
    if "://" in value:
        try:
            password = urlsplit(value).password
        except ValueError:
            password = None
        if password:
            found += [password, unquote(password)]
    for match in _KEYWORD_PASSWORD.finditer(value):
        quoted, plain = match.groups()
        if quoted is not None:
            found.append(re.sub(r"\\(.)", r"\1", quoted))
        else:  # "&" and ";" end it in an URL's query or a .NET address, but libpq takes them as part of it
            first = re.split("[&;]", plain, maxsplit=1)[0]
            found += [plain, first, unquote(first)]
    return [word for word in dict.fromkeys(found) if word]


def masked_by_form(text: str) -> str:
    """Mask what stands where passwords stand, whatever it is: for logs, in which there may be secrets that nobody here knows."""
    for pattern in _BY_FORM:
        text = pattern.sub(lambda match: match.group(1) + MASK, text)
    return text
