# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dump files that were made by hand: what kind they are, and what can be told of them without a manifest.

A plain dump that was cut off restores without any error (the last ``COPY`` just ends early), so the closing line that pg_dump
writes has to be there. What would leave the new database (``\\connect``, ``DROP DATABASE``) or run a program (``\\!``) is refused.
"""

from __future__ import annotations

import gzip
import os
import re
import stat
import typing as t
import zlib
from dataclasses import dataclass, field

from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

_CUSTOM_MAGIC = b"PGDMP"
_GZIP_MAGIC = b"\x1f\x8b"
_OPENING = re.compile(rb"^-- PostgreSQL database dump\s*$")
_CLOSING = re.compile(rb"^-- PostgreSQL database dump complete\s*$")
_CLUSTER = re.compile(rb"^-- PostgreSQL database cluster dump")
_VERSION = re.compile(rb"^-- Dumped from database version (\d+)")
_COPY = re.compile(rb'^COPY ((?:"(?:[^"]|"")+"|[^\s".(]+)(?:\.(?:"(?:[^"]|"")+"|[^\s".(]+))?) .*FROM stdin;\s*$', re.IGNORECASE)
_ALLOWED_META = re.compile(rb"^\\(?:un)?restrict \w+\s*$")
_FORBIDDEN = re.compile(rb"^\s*(?:DROP|CREATE|ALTER)\s+DATABASE\s", re.IGNORECASE)

#: What begins something, in plain SQL, inside which nothing else counts; and a psql command, which begins with a backslash.
_BEGINS = re.compile(
    rb"(?P<dollar>\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$)|(?P<escape>[eE]')|(?P<string>')|(?P<name>\")|(?P<line>--)|(?P<block>/\*)|(?P<meta>\\)"
)
_ENDS = {
    "escape": re.compile(rb"\\.|''|(?P<end>')", re.DOTALL),
    "string": re.compile(rb"''|(?P<end>')"),
    "name": re.compile(rb'""|(?P<end>")'),
    "block": re.compile(rb"(?P<deeper>/\*)|(?P<end>\*/)"),
}

#: Longer lines are read in pieces, so that a file of one line does not have to fit into memory.
_LINE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class PlainFile:
    """A dump file. ``kind`` is ``custom``, ``sql`` or ``sql.gz``; ``server_major`` is zero where the file does not say.

    ``rows``: how many rows the file holds for each table (``schema.table``) that it fills with ``COPY``.
    """

    path: str
    kind: str
    size: int
    modified: float
    server_major: int = 0
    rows: dict[str, int] = field(default_factory=dict)


def inspect_file(path: str) -> PlainFile:
    """Read a file in full and tell what it is.

    :raises DbopsError: where it cannot be read, is empty, cut off, no dump, or does what a restore must not.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, a device read without end
            raise DbopsError("'%s' is neither a file nor the folder of a backup: name what pg_dump has written." % path)
        with open(path, "rb") as stream:
            magic = stream.read(5)
    except OSError as error:
        raise DbopsError("The file '%s' cannot be read: %s." % (path, error.strerror)) from None
    if not magic:
        raise DbopsError("The file '%s' is empty: a dump into it failed. Use another one." % path)
    if magic == _CUSTOM_MAGIC:
        return PlainFile(path, "custom", status.st_size, status.st_mtime)
    kind = "sql.gz" if magic.startswith(_GZIP_MAGIC) else "sql"
    major, rows = _scan(path, kind)
    return PlainFile(path, kind, status.st_size, status.st_mtime, major, rows)


def open_text(path: str, kind: str) -> t.BinaryIO:
    return t.cast(t.BinaryIO, gzip.open(path, "rb") if kind == "sql.gz" else open(path, "rb"))


def decompress(source: PlainFile, destination: str) -> None:
    """Write the plain text of a compressed file to a new file, mode 0600, in constant memory."""
    descriptor = os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as output, open_text(source.path, source.kind) as stream:
        for chunk in iter(lambda: stream.read(_LINE_BYTES), b""):
            output.write(chunk)


def _scan(path: str, kind: str) -> tuple[int, dict[str, int]]:
    """Read a plain dump to its end; returns the major version of the server that it was made from (zero where it does not say), and its rows."""
    opened = closed = continued = False
    major = 0
    scanner = _Scanner(path)
    try:
        with open_text(path, kind) as stream:
            for line in iter(lambda: stream.readline(_LINE_BYTES), b""):
                start_of_line, continued = not continued, not line.endswith(b"\n")
                outside = scanner.at_top_level and start_of_line
                scanner.read(line, start_of_line)
                if outside:
                    opened = opened or bool(_OPENING.match(line))
                    version = _VERSION.match(line)
                    major = int(version.group(1)) if version else major
                    closed = bool(_CLOSING.match(line)) or (closed and _says_nothing(line))
    except (EOFError, zlib.error, OSError) as error:
        raise DbopsError("The file '%s' is cut off or damaged (%s): use another one." % (path, error)) from None
    if not opened:
        raise DbopsError("The file '%s' is not a dump that pg_dump made (its heading is missing)." % path)
    if not closed or not scanner.at_top_level:
        raise DbopsError(
            "The file '%s' is cut off: the closing line '-- PostgreSQL database dump complete' is missing."
            " Restoring it would lose rows without any error. Use another one." % path
        )
    return major, scanner.rows


def _says_nothing(line: bytes) -> bool:
    """What may follow the closing line: blank lines, comments, and the command with which newer versions of pg_dump end."""
    return not line.strip() or line.startswith(b"--") or bool(_ALLOWED_META.match(line))


class _Scanner:
    """Follows a dump through rows, strings, function bodies and comments, so that only what psql itself would act on is judged."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._inside = ""
        self._dollar = b""
        self._depth = 0
        self._table = ""
        self.rows: dict[str, int] = {}

    @property
    def at_top_level(self) -> bool:
        return not self._inside and not self._table

    def read(self, line: bytes, start_of_line: bool) -> None:
        if self._table:
            if start_of_line and line.rstrip(b"\r\n") == b"\\.":
                self._table = ""
            elif start_of_line:
                self.rows[self._table] += 1
            return
        if not self._inside and start_of_line:
            self._require_harmless(line)
            if _ALLOWED_META.match(line):
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
        if not found or found.lastgroup == "line":
            return len(line)
        if found.lastgroup == "meta":
            self._refuse_command(line[found.start() :])
        self._inside = found.lastgroup or ""
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
