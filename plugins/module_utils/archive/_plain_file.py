# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dump files that were made by hand: what kind they are, and what can be told of them without a manifest.

A plain dump that was cut off restores without any error (the last ``COPY`` just ends early), so the closing line that pg_dump
writes has to be there. What would leave the new database (``\\connect``, ``DROP DATABASE``) or run a program (``\\!``) is refused.
"""

from __future__ import annotations

import os
import re
import stat
import zlib
from dataclasses import dataclass, field

from ansible_collections.dbops.postgres.plugins.module_utils.archive._dump_text import ALLOWED_META, Piece, Scanner, pieces
from ansible_collections.dbops.postgres.plugins.module_utils.archive._encoding import Utf8Proof, encoding_of, open_text
from ansible_collections.dbops.postgres.plugins.module_utils.archive._preamble import Preamble
from ansible_collections.dbops.postgres.plugins.module_utils.archive._role_statements import roles_of, without_roles
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

_CUSTOM_MAGIC = b"PGDMP"
_GZIP_MAGIC = b"\x1f\x8b"
_OPENING = re.compile(rb"^-- PostgreSQL database dump\s*$")
_CLOSING = re.compile(rb"^-- PostgreSQL database dump complete\s*$")
_VERSION = re.compile(rb"^-- Dumped from database version (\d+)")
_DUMPED_BY = re.compile(rb"^-- Dumped by pg_dump version (\S+)")
_UTF8 = {"UTF8", "UNICODE", "UTF-8"}


@dataclass(frozen=True)
class PlainFile:
    """A dump file. ``kind`` is ``custom``, ``sql`` or ``sql.gz``; ``server_major`` is zero where the file does not say.

    ``rows``: how many rows the file holds for each table (``schema.table``) that it fills with ``COPY``.
    ``roles``: in how many statements it names a role. ``settings``: what it sets before anything else.
    ``encoding``: the codec of a text that is to be converted to UTF-8.
    """

    path: str
    kind: str
    size: int
    modified: float
    server_major: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    roles: dict[str, int] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    encoding: str = ""
    beyond_ascii: bool = False
    restricted: bool = False
    dumped_by: str = ""


@dataclass(frozen=True)
class Changes:
    """What of a dump's text is not for this server: settings and the pair of commands that it does not know, roles that are not there."""

    settings: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    restrict: bool = False


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
    try:
        reading = _Reading(path, encoding_of(path, kind))
        with open_text(path, kind, reading.encoding) as stream:
            for piece in pieces(stream, reading.scanner):
                reading.read(piece)
    except (EOFError, zlib.error, OSError, UnicodeDecodeError) as error:
        raise DbopsError("The file '%s' is cut off or damaged (%s): use another one." % (path, error)) from None
    return reading.result(kind, status)


class _Reading:
    """What has been seen of a plain dump so far."""

    def __init__(self, path: str, encoding: str) -> None:
        self.encoding = encoding
        self.scanner = Scanner(path)
        self._path = path
        self._proof = Utf8Proof(path)
        self._preamble = Preamble()
        self._opened = self._closed = self._restricted = False
        self._major = 0
        self._dumped_by = ""
        self._settings: list[str] = []
        self._roles: dict[str, int] = {}

    def read(self, piece: Piece) -> None:
        self._proof.read(piece.text)
        name, value = self._preamble.setting(piece)
        self._settings += [name] if name else []
        if name == "client_encoding" and not self.encoding:
            self._proof.promised = value.upper() in _UTF8
        if piece.telling:
            self._restricted = self._restricted or piece.text.startswith(b"\\")
            for role in roles_of(piece.text.decode("utf-8", "replace")):
                self._roles[role] = self._roles.get(role, 0) + 1
        if piece.outside:
            self._read_heading(piece.text)

    def _read_heading(self, line: bytes) -> None:
        self._opened = self._opened or bool(_OPENING.match(line))
        version = _VERSION.match(line)
        self._major = int(version.group(1)) if version else self._major
        dumped_by = _DUMPED_BY.match(line)
        self._dumped_by = dumped_by.group(1).decode("ascii", "replace") if dumped_by else self._dumped_by
        self._closed = bool(_CLOSING.match(line)) or (self._closed and _says_nothing(line))

    def result(self, kind: str, status: os.stat_result) -> PlainFile:
        if not self._opened:
            raise DbopsError("The file '%s' is not a dump that pg_dump made (its heading is missing)." % self._path)
        if not self._closed or not self.scanner.at_top_level:
            raise DbopsError(
                "The file '%s' is cut off: the closing line '-- PostgreSQL database dump complete' is missing."
                " Restoring it would lose rows without any error. Use another one." % self._path
            )
        return PlainFile(
            self._path,
            kind,
            status.st_size,
            status.st_mtime,
            self._major,
            self.scanner.rows,
            self._roles,
            tuple(self._settings),
            self.encoding,
            self._proof.beyond_ascii,
            self._restricted,
            self._dumped_by,
        )


def needs_rewriting(source: PlainFile, changes: Changes) -> bool:
    """Whether psql cannot read the file as it lies there."""
    return source.kind == "sql.gz" or bool(source.encoding) or changes != Changes()


def rewrite(source: PlainFile, destination: str, changes: Changes) -> list[str]:
    """Write the text for psql to a new file, mode 0600, in constant memory; returns the statements that were left out or altered."""
    left_out = []
    preamble = Preamble()
    descriptor = os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as output, open_text(source.path, source.kind, source.encoding) as stream:
        for piece in pieces(stream, Scanner(source.path)):
            name, _value = preamble.setting(piece)
            text = _rewritten(piece, name, source, changes) if piece.telling else piece.text
            output.write(text)
            if piece.telling and not name and text != piece.text and not piece.text.startswith(b"\\"):
                left_out.append(" ".join(piece.text.decode("utf-8", "replace").split()))
    return left_out


def _rewritten(piece: Piece, name: str, source: PlainFile, changes: Changes) -> bytes:
    if name == "client_encoding" and source.encoding:
        return b"SET client_encoding = 'UTF8';\n"
    if name in changes.settings or (changes.restrict and piece.text.startswith(b"\\")):
        return b""
    if not changes.roles:
        return piece.text
    before = piece.text.decode("utf-8", "surrogateescape")
    return without_roles(before, changes.roles).encode("utf-8", "surrogateescape")


def _says_nothing(line: bytes) -> bool:
    """What may follow the closing line: blank lines, comments, and the command with which newer versions of pg_dump end."""
    return not line.strip() or line.startswith(b"--") or bool(ALLOWED_META.match(line))
