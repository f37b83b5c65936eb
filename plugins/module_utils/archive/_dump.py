# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PostgreSQL's own tools in one-shot containers of the database's own image, so versions always match.

The containers share the server's network and write to, or read from, a mounted folder as the SSH user: no data goes through
``docker exec``, which limits it to about 70 MB/s, or through this process.
"""

from __future__ import annotations

import os
import re
import typing as t
from dataclasses import dataclass, field

from ansible_collections.dbops.postgres.plugins.module_utils.archive._files import write_file
from ansible_collections.dbops.postgres.plugins.module_utils.archive._tool_output import ToolOutput
from ansible_collections.dbops.postgres.plugins.module_utils.engine._docker import LABEL_RUN, LABEL_TARGET, Docker
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container
from ansible_collections.dbops.postgres.plugins.module_utils.engine._one_shot import OneShot
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.progress._progress import Progress
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import (
    KEEPALIVES,
    NO_TIMEOUTS,
    SERVER_KEEPALIVES,
    Address,
    Server,
)
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

#: Where the work folder and the password file are seen inside a one-shot container.
MOUNT = "/dbops"

#: The name under which the service file keeps its settings.
_SERVICE = "dbops"

#: Milliseconds after which what was sent and not received ends a connection; a server on a stalling disk may let pg_restore wait.
_UNANSWERED = 300000

#: pg_dump waits at most five minutes for a table that somebody has locked, then fails and says which.
LOCK_WAIT = "--lock-wait-timeout=300000"

_ERROR = re.compile(r"\b(?:error|fatal):", re.IGNORECASE)

#: What comes below an error: the server's ``DETAIL:``, and the tools' own ``pg_dump: detail: Error message from server: ...``.
#: The tool's own queries of the catalogue tell nobody anything.
_ADDED = re.compile(r"^(?:\w+: )?(?:detail|hint): (?!Query was: )", re.IGNORECASE)


@dataclass(frozen=True)
class ToolBox:
    """Runs the tools of one server's image beside it; ``identity`` is what the server is.

    :param work: a folder of this run's own (mode 0700) that the containers see; it takes the password file.
    :param progress: told which table is begun, and which is done.
    """

    docker: Docker
    server: Container
    address: Address
    run_id: str
    target: str
    work: str
    identity: Server
    progress: Progress = field(default_factory=Progress)

    def run(
        self,
        purpose: str,
        argv: t.Sequence[str],
        mounts: tuple[tuple[str, str, bool], ...] = (),
        database: str = "",
        options: str = "",
        image: str = "",
    ) -> Outcome:
        """Run one of PostgreSQL's programs, of the server's own image unless another is named; the password travels in a file, the rest in
        the environment. ``options``: of its sessions."""
        return self.docker.run(
            OneShot(
                name="dbops-%s-%s" % (self.run_id, purpose),
                image=image or self.server.image_id,
                argv=tuple(argv),
                labels={LABEL_RUN: self.run_id, LABEL_TARGET: self.target},
                env={
                    "PGHOST": self.address.host,
                    "PGPORT": str(self.address.port),
                    "PGUSER": self.address.user,
                    "PGDATABASE": database,
                    "PGPASSFILE": MOUNT + "/pgpass",
                    "PGSERVICEFILE": MOUNT + "/pg_service.conf",
                    "PGSERVICE": _SERVICE,
                    "PGAPPNAME": "dbops %s %s" % (purpose, self.run_id),
                    "PGOPTIONS": " ".join(filter(None, (NO_TIMEOUTS, SERVER_KEEPALIVES, options))),
                    "PGTZ": "UTC",
                },
                network="container:" + self.server.id,
                mounts=(
                    (self._password_file(), MOUNT + "/pgpass", False),
                    (self._service_file(), MOUNT + "/pg_service.conf", False),
                    *mounts,
                ),
                user="%d:%d" % (os.getuid(), os.getgid()),
            ),
            keep=ToolOutput(self.progress).keep,
        )

    def _password_file(self) -> str:
        """https://www.postgresql.org/docs/current/libpq-pgpass.html"""
        path = os.path.join(self.work, "pgpass")
        if not os.path.exists(path):
            password = self.address.password.replace("\\", "\\\\").replace(":", "\\:")
            write_file(path, "*:*:*:*:%s\n" % password)
        return path

    def _service_file(self) -> str:
        """What has no variable of its own in the environment (https://www.postgresql.org/docs/current/libpq-pgservice.html)."""
        path = os.path.join(self.work, "pg_service.conf")
        if not os.path.exists(path):
            settings = dict(KEEPALIVES, tcp_user_timeout=_UNANSWERED)
            write_file(path, "[%s]\n" % _SERVICE + "".join("%s=%d\n" % item for item in settings.items()))
        return path


#: The value of ``--compress`` for a dump that is as large as what it holds, of which a deduplicating store keeps only what is new.
UNCOMPRESSED = "0"


def best_compression(version_number: int, configure: str) -> str:
    """The value of ``--compress``: zstd where the image's pg_dump has it (16 and later, built with it), else gzip's fastest."""
    if version_number >= 160000:
        return "zstd:1" if "--with-zstd" in configure else "gzip:1"
    return "1"


def table_option(schema: str, table: str) -> str:
    """pg_dump's option for one table, quoted so that nothing in a name is taken for a pattern
    (https://www.postgresql.org/docs/current/app-psql.html#APP-PSQL-PATTERNS)."""
    return '--table="%s"."%s"' % (schema.replace('"', '""'), table.replace('"', '""'))


def dump(tools: ToolBox, database: str, snapshot: str, folder: str, jobs: int, compression: str, options: t.Sequence[str] = ()) -> None:
    """Dump a database in directory format to ``folder/dump``, as the exported snapshot sees it; ``options`` may leave things out."""
    argv = [
        "pg_dump",
        "--format=directory",
        "--verbose",
        "--jobs=%d" % jobs,
        "--compress=" + compression,
        "--no-password",
        LOCK_WAIT,
        "--file=%s/backup/dump" % MOUNT,
    ]
    argv += ["--snapshot=" + snapshot] if snapshot else []
    outcome = tools.run("dump", [*argv, *options], ((folder, MOUNT + "/backup", True),), database)
    if outcome.rc != 0:
        raise DbopsError(tool_failure("pg_dump", outcome, "database '%s'" % database), output=outcome.output)


def read_in_full(tools: ToolBox, folder: str) -> None:
    """Have ``pg_restore`` read every byte of ``folder/dump``; its table of contents alone would prove nothing."""
    outcome = tools.run(
        "verify", ["pg_restore", "--verbose", "--file=/dev/null", MOUNT + "/backup/dump"], ((folder, MOUNT + "/backup", False),)
    )
    if outcome.rc != 0:
        raise DbopsError(tool_failure("pg_restore", outcome, "the new backup, while reading it back"), output=outcome.output)


def tool_failure(tool: str, outcome: Outcome, where: str) -> str:
    """PostgreSQL's own first sentence, and what it adds to it: the user needs both at night."""
    lines = [line.strip() for line in outcome.stderr.splitlines() if line.strip()] or ["no message"]
    first = next((number for number, line in enumerate(lines) if _ERROR.search(line)), 0)
    added = [line for line in lines[first + 1 :] if _ADDED.search(line)][:2]
    return "%s failed on %s (exit status %d): %s." % (tool, where, outcome.rc, " ".join([lines[first], *added]).rstrip("."))
