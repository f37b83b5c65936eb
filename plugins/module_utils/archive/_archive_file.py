# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""pg_dump's own archive formats, custom and directory: who wrote one, and its contents as text, by a newer pg_restore if need be."""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.archive._dump import ToolBox, tool_failure
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome

_MAGIC = b"PGDMP"

#: Where the compression became one byte, which was a number before (src/bin/pg_dump/pg_backup_archiver.h).
_COMPRESSION_IS_A_BYTE = (1, 15)

#: Longer version texts are noise.
_MOST = 200


@dataclass(frozen=True)
class Heading:
    """``version`` of the format, such as ``1.16``; versions of the server and of the pg_dump that wrote it, empty where they do not show."""

    version: str
    server: str = ""
    pg_dump: str = ""


def read_heading(path: str) -> Heading | None:
    """What stands at the beginning of a custom-format file, or of ``toc.dat``; ``None`` where it is neither."""
    with open(path, "rb") as stream:
        data = stream.read(4096)
    if not data.startswith(_MAGIC) or len(data) < 11:
        return None
    version = "%d.%d" % (data[5], data[6])
    try:
        return Heading(version, *_versions(data))
    except (IndexError, ValueError):
        return Heading(version)


def _versions(data: bytes) -> tuple[str, str]:
    size, position = data[8], 11
    position += 1 if (data[5], data[6]) >= _COMPRESSION_IS_A_BYTE else 1 + size
    position += 7 * (1 + size)  # when it was made
    texts = []
    for _name in ("database", "server", "pg_dump"):
        length = int.from_bytes(data[position + 1 : position + 1 + size], "little")
        position += 1 + size
        if data[position - 1 - size] or not 0 < length <= _MOST or position + length > len(data):
            raise ValueError
        texts.append(data[position : position + length].decode("utf-8"))
        position += length
    return texts[1], texts[2]


def failure_of_reading(path: str, name: str, outcome: Outcome, image: str) -> DbopsError:
    """Why pg_restore could not read an archive: it is too old for it, or the archive is damaged."""
    heading = read_heading(path)
    if heading and "unsupported version" in outcome.stderr:
        return DbopsError(
            "'%s' was written by pg_dump %s (archive version %s), and the pg_restore of image '%s' is too old to read that. It is not damaged:"
            " name a newer image that is on that host, for example: -e dbops_restore_tools_image=postgres:%s"
            % (name, heading.pg_dump or "of a newer version", heading.version, image, heading.pg_dump.split(".", maxsplit=1)[0] or "18")
        )
    return DbopsError(
        tool_failure("pg_restore", outcome, "the file '%s'" % name) + " It is cut off or damaged: use another one.", output=outcome.output
    )


def as_text(tools: ToolBox, source: str, work: str, name: str, image: str = "", options: t.Sequence[str] = ()) -> str:
    """Have pg_restore write an archive as SQL into a file of the folder ``work``; returns its path."""
    argv = ["pg_restore", "--file=/dbops/text/" + name, *options, "/dbops/source"]
    outcome = tools.run("text", argv, ((source, "/dbops/source", False), (work, "/dbops/text", True)), image=image)
    path = os.path.join(work, name)
    if outcome.rc != 0:
        toc = os.path.join(source, "toc.dat") if os.path.isdir(source) else source
        raise failure_of_reading(toc, source, outcome, image or tools.server.image)
    os.chmod(path, 0o600)
    return path
