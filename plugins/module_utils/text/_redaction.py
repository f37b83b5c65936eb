# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets are taken out of every text by value, so that an error message stays readable."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from ansible_collections.dbops.postgres.plugins.module_utils.text._spellings import spellings

MASK = "********"

#: From so many characters on a secret is masked wherever it stands, also inside a word.
LONG = 6

#: From so many on it is masked where it is a whole word; shorter ones would make all output unreadable.
SHORTEST = 3

#: Words that people take for passwords, and that stand everywhere.
ORDINARY = {"admin", "database", "password", "postgres", "postgresql", "public", "root", "secret", "test", "user"}

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


#: Where a certain password is masked although it may not be masked everywhere.
_PLACES = (
    r"(\b[A-Za-z][A-Za-z0-9+.-]*://[^\s:/@]*:)(?:%s)(?=@)",
    r"(\b\w*(?:password|passwd|pwd|secret|token|api_?key)\w*[\"']?\s*[=:]\s*[\"']?)(?:%s)(?!\w)",
    r"(\bPASSWORD\s+E?')(?:%s)(?=')",
)
_WORD = r"()(?<!\w)(?:%s)(?!\w)"


@dataclass(frozen=True)
class _Learned:
    """What is masked wherever it stands, longest first, and the patterns of what is masked in some places only."""

    everywhere: tuple[str, ...]
    places: tuple[re.Pattern[str], ...]


def _any_of(values: t.Iterable[str]) -> str:
    return "|".join(re.escape(text) for value in sorted(values) for text in sorted({value, quote(value, safe="")}, key=len, reverse=True))


class Redactor:
    """Knows the secrets of one run and masks them, in every spelling that ``_spellings`` knows.

    A secret that is short, or is a word that stands elsewhere too (``ordinary``: the user's name, say), must not make the text
    unreadable: it is masked where passwords stand (in an address, after ``password=``), and from three characters on, where it is no
    ordinary word, as a whole word as well.
    """

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._ordinary = set(ORDINARY)
        self._learned: _Learned | None = None

    def add(self, value: str | None) -> None:
        if value and value not in self._secrets:
            self._secrets.add(value)
            self._learned = None

    def ordinary(self, *words: str) -> None:
        """Names that have to stay readable, whoever has taken one for a password."""
        self._ordinary.update(word.lower() for word in words if word)
        self._learned = None

    def add_environment(self, env: t.Mapping[str, str]) -> None:
        """Learn the secrets of a container's environment: by a variable's name, and passwords inside addresses."""
        for name, value in env.items():
            if _SECRET_NAME.search(name) and not name.upper().endswith("_FILE"):
                self.add(value)
            for secret in passwords_in(value):
                self.add(secret)

    def text(self, text: str) -> str:
        learned = self._learned = self._learned or self._learn()
        for spelling in learned.everywhere:
            text = text.replace(spelling, MASK)
        for place in learned.places:
            text = place.sub(lambda match: match.group(1) + MASK, text)
        return text

    def _learn(self) -> _Learned:
        weak = {value for value in self._secrets if len(value) < LONG or value.lower() in self._ordinary}
        words = {value for value in weak if len(value) >= SHORTEST and value.lower() not in self._ordinary}
        places = [place % _any_of(weak) for place in _PLACES] if weak else []
        places += [_WORD % _any_of(words)] if words else []
        everywhere: set[str] = set().union(*(spellings(value) for value in self._secrets - weak))
        return _Learned(tuple(sorted(everywhere, key=len, reverse=True)), tuple(re.compile(place, re.IGNORECASE) for place in places))

    def data(self, value: t.Any) -> t.Any:
        """Mask every string inside ``value`` (JSON types); keys stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.data(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.data(item) for item in value]
        return value


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
