# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The session settings with which a dump begins. A newer pg_dump sets what an older server does not know; none of it changes what is restored."""

from __future__ import annotations

import codecs
import re

from ansible_collections.dbops.postgres.plugins.module_utils.archive._dump_text import Piece

_SETTING = re.compile(rb"SET ([A-Za-z_]\w*) (?:=|TO) ([^;]*);\s*$", re.IGNORECASE)
_BELONGS = re.compile(rb"SET |SELECT pg_catalog\.set_config\('search_path'|\\restrict ", re.IGNORECASE)


class Preamble:
    """Follows a dump to its first statement of another kind."""

    def __init__(self) -> None:
        self._over = False

    def setting(self, piece: Piece) -> tuple[str, str]:
        """Name and value that a piece sets; empty where it sets nothing, or the preamble is over."""
        if self._over or not piece.telling:
            self._over = self._over or not _says_nothing(piece.text)
            return "", ""
        self._over = not _BELONGS.match(piece.text)
        found = _SETTING.match(piece.text)
        return (found.group(1).decode().lower(), found.group(2).decode("utf-8", "replace").strip("' ")) if found else ("", "")


def _says_nothing(text: bytes) -> bool:
    text = text.lstrip(codecs.BOM_UTF8)
    return not text.strip() or text.startswith(b"--")
