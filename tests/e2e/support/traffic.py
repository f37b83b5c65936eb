# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes on in a database while an operation runs: sessions that hold locks, readers, clients that write."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2

from stack import Container, Server

APPLICATION = "monthly report"


@contextlib.contextmanager
def holding(server: Server, statement: str, application: str = APPLICATION) -> Iterator[Callable[[], None]]:
    """An open transaction that has executed a statement and keeps its locks; call what is yielded to end it earlier."""
    connection = server.connect(autocommit=False)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET application_name = %s", (application,))
            cursor.execute(statement)
        yield connection.close
    finally:
        connection.close()


def waiting_for_locks(server: Server) -> list[str]:
    """The statements in the server that wait for a lock."""
    query = "SELECT a.query FROM pg_stat_activity a WHERE a.wait_event_type = 'Lock' AND a.datname = %s"
    return [text for (text,) in server.rows(query, server.database, database="postgres")]


class _Repeating(threading.Thread):
    """Does something again and again until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.is_set():
            self.once()

    def once(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Any:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stopping.set()
        self.join(timeout=30)


class Reader(_Repeating):
    """Somebody who just reads a table; `longest` is the longest that one read took, in seconds."""

    def __init__(self, server: Server, table: str) -> None:
        super().__init__()
        self._connection = server.connect()
        self._query = f"SELECT count(*) FROM {table}"
        self.longest = 0.0
        self.reads = 0

    def once(self) -> None:
        started = time.monotonic()
        with self._connection.cursor() as cursor, contextlib.suppress(psycopg2.Error):
            cursor.execute(self._query)
        self.longest = max(self.longest, time.monotonic() - started)
        self.reads += 1
        self._stopping.wait(0.02)

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self._connection.close()


class Writer(_Repeating):
    """A client of a backend that posts messages; it notes which were accepted."""

    def __init__(self, backend: Container, author: str = "Sato Yuki") -> None:
        super().__init__()
        self._url = f"http://{backend.address}:8080/messages"
        self._author = author
        self.accepted = 0
        self.refused = 0

    def once(self) -> None:
        if post(self._url, self._author):
            self.accepted += 1
        else:
            self.refused += 1
        self._stopping.wait(0.02)


def post(url: str, author: str = "Sato Yuki") -> bool:
    body = json.dumps({"room": "general", "author": author, "text": "written meanwhile"}).encode()
    request = urllib.request.Request(url, data=body, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
