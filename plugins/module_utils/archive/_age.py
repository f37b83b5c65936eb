# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Encryption of a backup's dump with age (https://age-encryption.org), and the only file that knows its command line.

The host has public keys only: what it writes it cannot read again. The private key comes when something is restored.
age runs as it is installed on the host, or from an image; it reads and writes files, so no data goes through this process.
"""

from __future__ import annotations

import contextlib
import os
import re
import typing as t
from dataclasses import dataclass, field

from ansible_collections.dbops.postgres.plugins.module_utils.archive._files import remove_folder, write_file
from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import DUMP
from ansible_collections.dbops.postgres.plugins.module_utils.engine._docker import Docker
from ansible_collections.dbops.postgres.plugins.module_utils.engine._one_shot import OneShot
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome, run_process
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

#: The encrypted dump inside a backup's folder, and what is in it.
ENCRYPTED = "dump.tar.age"
_TAR = "dump.tar"

_IDENTITY = "identity"

#: Where a folder of the host is in age's own container.
_WORK = "/dbops"

_NOT_FOR_THIS_KEY = re.compile(r"no identity matched|incorrect|identity did not match", re.IGNORECASE)


@dataclass(frozen=True)
class Encryption:
    """For whom backups are encrypted, and what opens them.

    :param recipients: public keys, ``age1...`` or those of SSH; nothing is encrypted where there are none.
    :param identity: the private key's text, unless ``identity_file`` (a path on the host) has it.
    :param program: age on the host; ``image``: that of a container which has it, used instead where it is given.
    """

    recipients: tuple[str, ...] = ()
    identity: str = field(default="", repr=False)
    identity_file: str = ""
    program: str = "age"
    image: str = ""

    @property
    def opens(self) -> bool:
        """Whether there is a key to try."""
        return bool(self.identity or self.identity_file)


class Age:
    """age, on the folder of a backup.

    :param labels: of its containers, where it runs in such; ``run_id``: part of their names.
    """

    def __init__(
        self,
        encryption: Encryption,
        docker: Docker,
        run_id: str,
        labels: t.Mapping[str, str],
        execute: t.Callable[..., Outcome] = run_process,
    ) -> None:
        self._encryption = encryption
        self._docker = docker
        self._run_id = run_id
        self._labels = dict(labels)
        self._execute = execute

    def encrypt(self, folder: str) -> None:
        """Put the dump in ``folder`` into one encrypted file, in its place. For a while it takes twice its room."""
        self._tar(["--create", "--file", os.path.join(folder, _TAR), "--directory", folder, DUMP], "packed")
        remove_folder(os.path.join(folder, DUMP))
        recipients = [word for recipient in self._encryption.recipients for word in ("--recipient", recipient)]
        outcome = self._age(["--encrypt", *recipients, "--output", ENCRYPTED, "--", _TAR], folder)
        if outcome.rc != 0:
            raise DbopsError(
                "age could not encrypt the backup: %s See that each of dbops_encryption_recipients is a public key (age1...)."
                % _said(outcome)
            )
        os.unlink(os.path.join(folder, _TAR))

    def decrypt(self, folder: str, to: str) -> None:
        """Put what is in ``folder`` into ``to``, an empty private folder on the same volume, as a dump that can be read.

        :raises DbopsError: where this key does not open it, or it was changed.
        """
        os.link(os.path.join(folder, ENCRYPTED), os.path.join(to, ENCRYPTED))  # one folder is all that the container sees
        try:
            self._identity_in(to)
            outcome = self._age(["--decrypt", "--identity", _IDENTITY, "--output", _TAR, "--", ENCRYPTED], to)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(to, _IDENTITY))
        if outcome.rc != 0:
            raise DbopsError(_trouble(outcome, os.path.basename(folder)))
        os.unlink(os.path.join(to, ENCRYPTED))
        self._tar(["--extract", "--file", os.path.join(to, _TAR), "--directory", to], "unpacked")
        os.unlink(os.path.join(to, _TAR))

    def _identity_in(self, folder: str) -> None:
        """A copy of the key, where age sees it."""
        text = self._encryption.identity
        if not text:
            try:
                with open(self._encryption.identity_file, encoding="utf-8") as stream:
                    text = stream.read()
            except (OSError, ValueError) as error:
                raise DbopsError(
                    "The key '%s' cannot be read on this host (%s): correct dbops_encryption_identity_file."
                    % (self._encryption.identity_file, getattr(error, "strerror", "") or "it is no text")
                ) from None
        write_file(os.path.join(folder, _IDENTITY), text.rstrip() + "\n")

    def _tar(self, argv: t.Sequence[str], what: str) -> None:
        try:
            outcome = self._execute(["tar", *argv])
        except FileNotFoundError:
            raise DbopsError("There is no program 'tar' on this host, which an encrypted backup needs: install it.") from None
        if outcome.rc != 0:
            raise DbopsError("The dump could not be %s: %s" % (what, _said(outcome)))

    def _age(self, argv: t.Sequence[str], folder: str) -> Outcome:
        encryption = self._encryption
        if encryption.image:
            return self._docker.run(
                OneShot(
                    name="dbops-%s-age" % self._run_id,
                    image=encryption.image,
                    argv=("age", *argv),
                    labels=self._labels,
                    mounts=((folder, _WORK, True),),
                    user="%d:%d" % (os.getuid(), os.getgid()),
                    workdir=_WORK,
                )
            )
        try:
            return self._execute([encryption.program, *argv], folder=folder)
        except (FileNotFoundError, PermissionError):
            raise DbopsError(
                "There is no program '%s' on this host: install age (as root: apt-get install age), or name an image that has it with"
                " dbops_encryption_image." % encryption.program
            ) from None


def _trouble(outcome: Outcome, backup: str) -> str:
    if _NOT_FOR_THIS_KEY.search(outcome.stderr):
        return (
            "This key does not open backup '%s': give the private key of one of its recipients with dbops_encryption_identity_file (a path on the"
            " host) or dbops_encryption_identity (from a vault)." % backup
        )
    return "age could not open backup '%s': %s" % (backup, _said(outcome))


def _said(outcome: Outcome) -> str:
    lines = [line.strip() for line in outcome.stderr.splitlines() if line.strip() and "report unexpected" not in line]
    return ((lines[0] if lines else "exit status %d" % outcome.rc)[:300]).rstrip(".") + "."
