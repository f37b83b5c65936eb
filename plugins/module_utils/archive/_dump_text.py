# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text of a plain dump, followed through rows, strings, function bodies and comments: what psql itself would act on."""

from __future__ import annotations

import codecs
import re
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

_CLUSTER = re.compile(rb"^-- PostgreSQL database cluster dump")
_COPY = re.compile(rb'^COPY ((?:"(?:[^"]|"")+"|[^\s".(]+)(?:\.(?:"(?:[^"]|"")+"|[^\s".(]+))?) .*FROM stdin;\s*$', re.IGNORECASE)
ALLOWED_META = re.compile(rb"^\\(?:un)?restrict \w+\s*$")
_FORBIDDEN = re.compile(rb"^\s*(?:DROP|CREATE|ALTER)\s+DATABASE\s", re.IGNORECASE)

#: Statements that are told in one piece, since they may name a role or a setting; and the pair of commands around a dump.
_TELLING = re.compile(
    rb"(?:GRANT|REVOKE|ALTER|SET|CREATE (?:POLICY|USER MAPPING|SCHEMA)|SELECT pg_catalog\.set_config)\b|\\(?:un)?restrict ", re.IGNORECASE
)

#: What begins something, in plain SQL, inside which nothing else counts; a statement's end; a psql command, which begins with a backslash.
_BEGINS = re.compile(
    rb"(?P<dollar>\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$)|(?P<escape>[eE]')|(?P<string>')|(?P<name>\")|(?P<line>--)|(?P<block>/\*)"
    rb"|(?P<meta>\\)|(?P<stop>;)"
)
_ENDS = {
    "escape": re.compile(rb"\\.|''|(?P<end>')", re.DOTALL),
    "string": re.compile(rb"''|(?P<end>')"),
    "name": re.compile(rb'""|(?P<end>")'),
    "block": re.compile(rb"(?P<deeper>/\*)|(?P<end>\*/)"),
}

#: Blanks, and the mark with which Windows' editors begin a file in UTF-8.
_NOTHING = b" \t\r\n\f\v" + codecs.BOM_UTF8

#: Longer lines are read in pieces, so that a file of one line does not have to fit into memory.
LINE_BYTES = 1024 * 1024

#: Rows are told by the block: there may be very many.
_TOGETHER = 64 * 1024


class Piece(t.NamedTuple):
    """A line, a part of a long one, a block of rows, or a whole statement where that is ``telling``. ``outside``: it begins where a statement may."""

    text: bytes
    telling: bool
    outside: bool


def pieces(stream: t.BinaryIO, scanner: Scanner) -> t.Iterator[Piece]:
    """All of a dump, in order: put together again the pieces are the file."""
    held = b""
    rows: list[bytes] = []
    size = 0
    continued = False
    for line in iter(lambda: stream.readline(LINE_BYTES), b""):
        start_of_line, continued = not continued, not line.endswith(b"\n")
        if scanner.in_rows:
            scanner.read(line, start_of_line)
            rows.append(line)
            size += len(line)
            if size > _TOGETHER or not scanner.in_rows:
                yield Piece(b"".join(rows), False, False)
                rows, size = [], 0
            continue
        outside = scanner.at_top_level and start_of_line
        begins = outside and not scanner.in_statement
        scanner.read(line, start_of_line)
        if held or (begins and _TELLING.match(line)):
            held += line
            if scanner.at_top_level and not scanner.in_statement and not continued:
                yield Piece(held, True, True)
                held = b""
            elif len(held) > LINE_BYTES:
                yield Piece(held, False, False)
                held = b""
        else:
            yield Piece(line, False, outside)
    if held or rows:
        yield Piece(held + b"".join(rows), False, False)


class Scanner:
    """Follows a dump through rows, strings, function bodies and comments, so that only what psql itself would act on is judged."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._inside = ""
        self._dollar = b""
        self._depth = 0
        self._table = ""
        self.in_statement = False
        self.rows: dict[str, int] = {}

    @property
    def at_top_level(self) -> bool:
        return not self._inside and not self._table

    @property
    def in_rows(self) -> bool:
        return bool(self._table)

    def read(self, line: bytes, start_of_line: bool) -> None:
        if self._table:
            if start_of_line and line.rstrip(b"\r\n") == b"\\.":
                self._table = ""
            elif start_of_line:
                self.rows[self._table] += 1
            return
        if not self._inside and start_of_line:
            self._require_harmless(line)
            if ALLOWED_META.match(line):
                return
            copy = _COPY.match(line)
            if copy:
                self._table = _plain_name(copy.group(1))
                self.rows.setdefault(self._table, 0)
        position = 0
        while position < len(line):
            position = self._leave(line, position) if self._inside else self._enter(line, position)

    def _enter(self, line: bytes, position: int) -> int:
        found = _BEGINS.search(line, position)
        if line[position : found.start() if found else len(line)].strip(_NOTHING):
            self.in_statement = True
        if not found or found.lastgroup == "line":
            return len(line)
        if found.lastgroup == "stop":
            self.in_statement = False
            return found.end()
        if found.lastgroup == "meta":
            self._refuse_command(line[found.start() :])
        self._inside = found.lastgroup or ""
        self.in_statement = self.in_statement or self._inside != "block"
        self._dollar = found.group()
        self._depth = 1
        return found.end()

    def _leave(self, line: bytes, position: int) -> int:
        if self._inside == "dollar":
            end = line.find(self._dollar, position)
            self._inside = self._inside if end < 0 else ""
            return len(line) if end < 0 else end + len(self._dollar)
        for found in _ENDS[self._inside].finditer(line, position):
            self._depth += {"deeper": 1, "end": -1}.get(found.lastgroup or "", 0)  # block comments nest
            if not self._depth:
                self._inside = ""
                return found.end()
        return len(line)

    def _require_harmless(self, line: bytes) -> None:
        if _CLUSTER.match(line):
            raise DbopsError(
                "The file '%s' is a dump of a whole server (pg_dumpall), not of one database: restore it by hand on an empty server."
                % self._path
            )
        if _FORBIDDEN.match(line):
            raise DbopsError(
                "The file '%s' holds '%s', which reaches beyond the new database: make the dump without --create, or remove that line."
                % (self._path, _shown(line))
            )

    def _refuse_command(self, text: bytes) -> None:
        raise DbopsError(
            "The file '%s' holds the psql command '%s', which could leave the new database or run a program:"
            " make the dump without --create, or remove that line." % (self._path, _shown(text))
        )


def _plain_name(name: bytes) -> str:
    """``public."Users"`` -> ``public.Users``"""
    parts = re.findall(r'"((?:[^"]|"")+)"|([^".]+)', name.decode("utf-8", "replace"))
    return ".".join(quoted.replace('""', '"') or plain for quoted, plain in parts)


def _shown(line: bytes) -> str:
    return line.decode("utf-8", "replace").strip()[:80]
