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
import typing as t
import zlib
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils._errors import DbopsError

_CUSTOM_MAGIC = b"PGDMP"
_GZIP_MAGIC = b"\x1f\x8b"
_OPENING = re.compile(rb"^-- PostgreSQL database (?:cluster )?dump\s*$")
_CLOSING = re.compile(rb"^-- PostgreSQL database dump complete\s*$")
_CLUSTER = re.compile(rb"^-- PostgreSQL database cluster dump")
_VERSION = re.compile(rb"^-- Dumped from database version (\d+)")
_COPY = re.compile(rb"^COPY .* FROM stdin;\s*$", re.IGNORECASE)
_ALLOWED_META = (b"\\restrict ", b"\\unrestrict ", b"\\.")
_FORBIDDEN = re.compile(rb"^\s*(?:DROP|CREATE|ALTER)\s+DATABASE\s", re.IGNORECASE)

#: Longer lines are read in pieces, so that a file of one line does not have to fit into memory.
_LINE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class PlainFile:
    """A dump file. ``kind`` is ``custom``, ``sql`` or ``sql.gz``; ``server_major`` is zero where the file does not say."""

    path: str
    kind: str
    size: int
    modified: float
    server_major: int = 0


def inspect_file(path: str) -> PlainFile:
    """Read a file in full and tell what it is.

    :raises DbopsError: where it cannot be read, is empty, cut off, no dump, or does what a restore must not.
    """
    try:
        status = os.stat(path)
        with open(path, "rb") as stream:
            magic = stream.read(5)
    except OSError as error:
        raise DbopsError("The file '%s' cannot be read: %s." % (path, error.strerror)) from None
    if not magic:
        raise DbopsError("The file '%s' is empty: a dump into it failed. Use another one." % path)
    if magic == _CUSTOM_MAGIC:
        return PlainFile(path, "custom", status.st_size, status.st_mtime)
    kind = "sql.gz" if magic.startswith(_GZIP_MAGIC) else "sql"
    return PlainFile(path, kind, status.st_size, status.st_mtime, _scan(path, kind))


def open_text(path: str, kind: str) -> t.BinaryIO:
    return t.cast(t.BinaryIO, gzip.open(path, "rb") if kind == "sql.gz" else open(path, "rb"))


def decompress(source: PlainFile, destination: str) -> None:
    """Write the plain text of a compressed file to a new file, mode 0600, in constant memory."""
    descriptor = os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as output, open_text(source.path, source.kind) as stream:
        for chunk in iter(lambda: stream.read(_LINE_BYTES), b""):
            output.write(chunk)


def _scan(path: str, kind: str) -> int:
    opened = closed = inside_copy = continued = False
    major = 0
    try:
        with open_text(path, kind) as stream:
            for line in iter(lambda: stream.readline(_LINE_BYTES), b""):
                start_of_line, continued = not continued, not line.endswith(b"\n")
                if not start_of_line:
                    continue
                if inside_copy:
                    inside_copy = line.rstrip(b"\r\n") != b"\\."
                    continue
                _require_harmless(path, line)
                opened = opened or bool(_OPENING.match(line))
                closed = closed or bool(_CLOSING.match(line))
                inside_copy = bool(_COPY.match(line))
                version = _VERSION.match(line)
                major = int(version.group(1)) if version else major
    except (EOFError, zlib.error, OSError) as error:
        raise DbopsError("The file '%s' is cut off or damaged (%s): use another one." % (path, error)) from None
    if not opened:
        raise DbopsError("The file '%s' is not a dump that pg_dump made (its heading is missing)." % path)
    if not closed or inside_copy:
        raise DbopsError(
            "The file '%s' is cut off: the closing line '-- PostgreSQL database dump complete' is missing."
            " Restoring it would lose rows without any error. Use another one." % path
        )
    return major


def _require_harmless(path: str, line: bytes) -> None:
    shown = line.decode("utf-8", "replace").strip()[:80]
    if _CLUSTER.match(line):
        raise DbopsError(
            "The file '%s' is a dump of a whole server (pg_dumpall), not of one database: restore it by hand on an empty server." % path
        )
    if line.startswith(b"\\") and not line.startswith(_ALLOWED_META):
        raise DbopsError(
            "The file '%s' holds the psql command '%s', which could leave the new database or run a program:"
            " make the dump without --create, or remove that line." % (path, shown)
        )
    if _FORBIDDEN.match(line):
        raise DbopsError(
            "The file '%s' holds '%s', which reaches beyond the new database: make the dump without --create, or remove that line."
            % (path, shown)
        )
