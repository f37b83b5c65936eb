# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A tar file to attach to a ticket, from which all secrets are gone."""

from __future__ import annotations

import io
import os
import tarfile
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._redaction import Redactor, masked_by_form

#: The one folder inside, so that unpacking does not scatter files.
FOLDER = "diagnosis"


def write_bundle(path: str, files: t.Mapping[str, str], redactor: Redactor, at: float) -> int:
    """Write a compressed tar file of mode 0600 and return its size in bytes. Every text is masked by value and by form.

    It is made under another name beside it and renamed, so that a bundle is whole or not there.

    :param files: ``{name inside: text}``.
    :param at: the time of all its members, seconds since the epoch.
    """
    partial = "%s.%d.partial" % (path, os.getpid())
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        with os.fdopen(descriptor, "wb") as stream, tarfile.open(fileobj=stream, mode="w:gz") as archive:
            for name, text in sorted(files.items()):
                data = clean(text, redactor).encode("utf-8", "replace")
                member = tarfile.TarInfo("%s/%s" % (FOLDER, clean(name, redactor)))
                member.size, member.mode, member.mtime = len(data), 0o600, int(at)
                archive.addfile(member, io.BytesIO(data))
        os.replace(partial, path)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        if os.path.lexists(partial):
            os.unlink(partial)
    return os.path.getsize(path)


def clean(text: str, redactor: Redactor) -> str:
    """Without the secrets that are known, and without what stands where passwords stand."""
    return masked_by_form(redactor.text(text))


def _unwritable(path: str, error: OSError) -> DbopsError:
    return DbopsError("The bundle '%s' cannot be written: %s. Give another path with dbops_diagnose_bundle." % (path, error.strerror))
