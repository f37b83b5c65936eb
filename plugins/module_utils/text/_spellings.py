# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ways in which programs write a value: as it is, quoted for a language, or encoded, also inside a longer encoded text."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import typing as t
from urllib.parse import quote, quote_plus

#: Fewer characters of an encoded text could stand there by chance.
_LEAST_ENCODED = 6


def spellings(value: str) -> set[str]:
    """Every way of writing a value that is known here, without surrounding quotes."""
    plain = _readable(value)
    found = set(plain)
    for text in {value, *_percent(value)}:  # an address that is encoded as a whole holds the password percent-encoded
        data = text.encode("utf-8", "surrogatepass")
        found.update(word for word in _base64(data) if len(word) >= _LEAST_ENCODED)
        found.update((data.hex(), data.hex().upper()))
    return {text for text in found if text}


def _readable(value: str) -> t.Iterator[str]:
    yield value
    yield from _percent(value)
    yield from _json(value)
    yield from _quoted(value)
    yield from _html(value)


def _percent(value: str) -> set[str]:
    """In an address, with the digits of either case."""
    encoded = {
        quote(value, safe="", errors="surrogatepass"),
        quote(value, errors="surrogatepass"),
        quote_plus(value, errors="surrogatepass"),
        "".join("%%%02X" % byte for byte in value.encode("utf-8", "surrogatepass")),  # some programs encode every byte
    }
    return encoded | {re.sub("%[0-9A-F]{2}", lambda match: match.group().lower(), text) for text in encoded}


def _json(value: str) -> t.Iterator[str]:
    """Python's and Go's."""
    raw = json.dumps(value, ensure_ascii=False)[1:-1]
    yield json.dumps(value)[1:-1]
    yield raw
    yield raw.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _quoted(value: str) -> t.Iterator[str]:
    """SQL and YAML; libpq, and Python's and Go's literals; a shell's."""
    backslashes = value.replace("\\", "\\\\")
    yield value.replace("'", "''")
    yield backslashes
    yield backslashes.replace("'", "\\'")
    yield backslashes.replace('"', '\\"')
    yield repr(value)[1:-1]
    yield ascii(value)[1:-1]
    yield repr(value)[1:-1].replace('"', '\\"')
    yield shlex.quote(value).strip("'") if "'" not in value else shlex.quote(value)[1:-1]
    yield value.replace("'", "'\\''")
    yield re.sub(r"([^\w@%+=:,./-])", r"\\\1", value)


def _html(value: str) -> t.Iterator[str]:
    """Python's, Go's and XML's."""
    yield html.escape(value, quote=False)
    yield html.escape(value)
    yield html.escape(value).replace("&#x27;", "&#39;")
    yield html.escape(value).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")
    yield html.escape(value).replace("&#x27;", "&apos;")
    yield "".join(text if text.isalnum() else "&#%d;" % ord(text) for text in value)


def _base64(data: bytes) -> t.Iterator[str]:
    """The characters that are the same whatever stands before and behind, at each of the three places where the value may begin."""
    for shift, first in ((0, 0), (1, 2), (2, 3)):
        encoded = base64.b64encode(b"\0" * shift + data).decode()
        whole = encoded[first : (shift + len(data)) * 8 // 6]
        yield whole
        yield whole.replace("+", "-").replace("/", "_")
