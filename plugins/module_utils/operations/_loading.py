# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far the loading of a backup is: the new database grows to about what the backed up one was."""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import Manifest
from ansible_collections.dbops.postgres.plugins.module_utils.progress._progress import Progress
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

if t.TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection


@contextlib.contextmanager
def measured_loading(
    progress: Progress, manifest: Manifest, name: str, open_session: t.Callable[[], AbstractContextManager[Connection]]
) -> t.Iterator[None]:
    """:param open_session: in a database that is not the new one, where it would stand in the way of its being made anew."""
    progress.expect(len(manifest.tables), manifest.database_size)
    with contextlib.ExitStack() as opened:
        try:
            connection = opened.enter_context(open_session())
        except DbopsError:  # no session to spare: then it is not measured
            yield
            return
        with progress.measuring(lambda: _database.size(connection, name)):
            yield
