# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""In which encoding the text of a dump is: what Windows' shells and editors make of it is read as what pg_dump had written."""

from __future__ import annotations

import codecs
import gzip
import io
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

#: How a text begins that is not made of single bytes; a dump begins with two hyphens, so it is known also without a mark.
_BEGINNINGS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    ("-".encode("utf-32-le"), "utf-32-le"),
    ("-".encode("utf-32-be"), "utf-32-be"),
    ("--".encode("utf-16-le"), "utf-16-le"),
    ("--".encode("utf-16-be"), "utf-16-be"),
)

_CHUNK = 64 * 1024


def encoding_of(path: str, kind: str) -> str:
    """The codec of a UTF-16 or UTF-32 file; empty for every other."""
    with _open_bytes(path, kind) as stream:
        beginning = stream.read(4)
    return next((name for sign, name in _BEGINNINGS if beginning.startswith(sign)), "")


def open_text(path: str, kind: str, encoding: str = "") -> t.BinaryIO:
    """The text of a dump, in UTF-8 where it is in a wider encoding."""
    stream = _open_bytes(path, kind)
    return t.cast(t.BinaryIO, io.BufferedReader(_AsUtf8(stream, encoding), _CHUNK)) if encoding else stream


def _open_bytes(path: str, kind: str) -> t.BinaryIO:
    return t.cast(t.BinaryIO, gzip.open(path, "rb") if kind == "sql.gz" else open(path, "rb"))


class _AsUtf8(io.RawIOBase):
    """A file in another encoding, read as UTF-8 in constant memory."""

    def __init__(self, stream: t.BinaryIO, encoding: str) -> None:
        super().__init__()
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)("strict")
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: t.Any) -> int:
        while not self._ready:
            chunk = self._stream.read(_CHUNK)
            self._ready = self._decoder.decode(chunk, final=not chunk).encode("utf-8")
            if not chunk:
                break
        number = min(len(buffer), len(self._ready))
        buffer[:number] = self._ready[:number]
        self._ready = self._ready[number:]
        return number

    def close(self) -> None:
        self._stream.close()
        super().close()


class Utf8Proof:
    """Reads along, and refuses what says that it is UTF-8 and is not: PostgreSQL would stop in the middle, at a byte."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._line = 1
        self.promised = False
        self.beyond_ascii = False

    def read(self, text: bytes) -> None:
        if not text.isascii() or self._decoder.getstate()[0]:
            self.beyond_ascii = True
            if self.promised:
                self._require_valid(text)
        self._line += text.count(b"\n")

    def _require_valid(self, text: bytes) -> None:
        try:
            self._decoder.decode(text)
        except UnicodeDecodeError as error:
            raise DbopsError(
                "The file '%s' says that its text is UTF-8, but it is not: near line %d is the byte 0x%02x. An editor or a shell has saved it"
                " anew, most likely in Latin-1 or Windows-1252. Dump it again, with pg_dump's own --file=, or convert it, for example: iconv -f"
                " WINDOWS-1252 -t UTF-8" % (self._path, self._line + error.object.count(b"\n", 0, error.start), error.object[error.start])
            ) from None
