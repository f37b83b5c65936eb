# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which roles a statement of a dump needs, and what is left of it without some of them.

pg_dump writes owners (``ALTER ... OWNER TO``, ``SET SESSION AUTHORIZATION``), grants, default privileges, policies and user mappings.
"""

from __future__ import annotations

import re
import typing as t

_ROLE = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_LIST = r"(?:GROUP )?%s(?:, ?(?:GROUP )?%s)*" % (_ROLE, _ROLE)
_NAME = r"%s(?:\.%s)?" % (_ROLE, _ROLE)


def _pattern(text: str) -> t.Pattern[str]:
    return re.compile(text.replace("ROLES", "(?P<roles>%s)" % _LIST).replace("NAME", _NAME) + r"\s*;?\s*$", re.DOTALL | re.IGNORECASE)


#: Each with what ``roles`` are; ``by`` is one more role that the statement cannot do without.
_PATTERNS = (
    _pattern(r"ALTER DEFAULT PRIVILEGES FOR (?:ROLE|USER) (?P<by>%s) .*\s(?:TO|FROM)\s+ROLES(?: WITH GRANT OPTION)?" % _ROLE),
    _pattern(r"ALTER\s.*\sOWNER TO ROLES"),
    _pattern(r"(?:GRANT|REVOKE)\s.*\s(?:TO|FROM)\s+ROLES(?: WITH GRANT OPTION)?(?: GRANTED BY (?P<by>%s))?(?: CASCADE)?" % _ROLE),
    _pattern(r"CREATE POLICY NAME ON NAME(?: AS \w+)?(?: FOR \w+)? TO ROLES(?:\s+(?:USING|WITH CHECK) .*)?"),
    _pattern(r"CREATE USER MAPPING (?:IF NOT EXISTS )?FOR ROLES SERVER .*"),
    _pattern(r"CREATE SCHEMA (?:IF NOT EXISTS )?(?:NAME )?AUTHORIZATION ROLES"),
)
_SESSION = re.compile(r"SET SESSION AUTHORIZATION (?:'(?P<text>(?:[^']|'')+)'|(?P<name>%s))\s*;\s*$" % _ROLE, re.IGNORECASE)

#: Words in the place of a role; the first is everybody.
_NO_ROLES = {"PUBLIC", "CURRENT_USER", "SESSION_USER", "CURRENT_ROLE", "DEFAULT", "NONE", "USER"}


def roles_of(statement: str) -> set[str]:
    """The roles without which PostgreSQL refuses a statement."""
    session = _SESSION.match(statement)
    if session:
        return {name for name in [_session_role(session)] if name}
    found = _match(statement)
    return {name for name, _text in _listed(found)} | _by(found) if found else set()


def without_roles(statement: str, missing: t.Collection[str]) -> str:
    """What is left of a statement without these roles: all others of its list, or nothing."""
    session = _SESSION.match(statement)
    if session and _session_role(session) in missing:
        return "SET SESSION AUTHORIZATION DEFAULT;\n"
    found = _match(statement)
    if not found or not roles_of(statement) & set(missing):
        return statement
    left = [text for name, text in _listed(found, everybody=True) if name not in missing]
    if not left or _by(found) & set(missing):
        return ""
    return statement[: found.start("roles")] + ", ".join(left) + statement[found.end("roles") :]


def _match(statement: str) -> t.Match[str] | None:
    return next(filter(None, (pattern.match(statement) for pattern in _PATTERNS)), None)


def _listed(found: t.Match[str], everybody: bool = False) -> list[tuple[str, str]]:
    """``(name, as it is written)``"""
    texts = re.findall(r"(?:GROUP )?" + _ROLE, found.group("roles"), re.IGNORECASE)
    return [(_plain(text), text) for text in texts if everybody or text.upper() not in _NO_ROLES]


def _by(found: t.Match[str]) -> set[str]:
    text = found.groupdict().get("by")
    return {_plain(text)} if text and text.upper() not in _NO_ROLES else set()


def _session_role(found: t.Match[str]) -> str:
    if found.group("text"):
        return found.group("text").replace("''", "'")
    return "" if found.group("name").upper() in _NO_ROLES else _plain(found.group("name"))


def _plain(text: str) -> str:
    text = re.sub(r"^GROUP ", "", text, flags=re.IGNORECASE)
    return text[1:-1].replace('""', '"') if text.startswith('"') else text.lower()
