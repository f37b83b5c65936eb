# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The restic repository in which the copies are (https://restic.readthedocs.io), and the only file that knows restic's command line.

restic runs as it is installed on the host, or from an image. Address, password and keys travel in its environment, never in arguments
(https://restic.readthedocs.io/en/stable/040_backup.html#environment-variables).
"""

from __future__ import annotations

import json
import os
import re
import typing as t
from dataclasses import dataclass, field
from urllib.parse import quote

from ansible_collections.dbops.postgres.plugins.module_utils.engine._docker import Docker
from ansible_collections.dbops.postgres.plugins.module_utils.engine._one_shot import OneShot
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome, run_process
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._redaction import masked_by_form

#: Seconds in which a repository has to answer at all: restic itself would try for a quarter of an hour.
_PATIENCE = 60

#: restic's exit statuses since 0.17 (https://restic.readthedocs.io/en/stable/075_scripting.html#exit-codes); before, they all were 1.
_NO_REPOSITORY, _LOCKED, _WRONG_PASSWORD = 10, 11, 12

_ABSENT = re.compile(r"repository does not exist|config file.*(?:no such file|does not exist|not ?found|\(404\))", re.IGNORECASE)


@dataclass(frozen=True)
class Repository:
    """Where the copies are kept, and how restic gets there.

    :param location: in restic's own words, such as ``s3:https://...``, ``rest:https://...``, ``sftp:user@host:/folder`` or a path.
    :param password: of the repository, unless ``password_file`` (a path on the host) has it.
    :param environment: what the storage wants to know, such as ``AWS_ACCESS_KEY_ID``.
    :param options: restic's extended options, each ``name=value``.
    :param upload_limit: KiB per second, as ``download_limit``; 0 is without limit.
    :param program: restic on the host; ``image``: that of a container which has it, used instead where it is given.
    :param host: under which name the copies of this database are filed.
    """

    location: str
    host: str
    password: str = ""
    password_file: str = ""
    environment: t.Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    upload_limit: int = 0
    download_limit: int = 0
    program: str = "restic"
    image: str = ""

    @property
    def folder(self) -> str:
        """On this host; empty where it is anywhere else."""
        path = self.location[len("local:") :] if self.location.startswith("local:") else self.location
        return path if path.startswith("/") else ""

    def __str__(self) -> str:
        return masked_by_form(self.location)


@dataclass(frozen=True)
class Snapshot:
    """What one run of restic has kept. ``time``: RFC 3339."""

    id: str
    time: str
    tags: tuple[str, ...]


class Restic:
    """restic, on one repository.

    :param labels: of its containers, where it runs in such.
    :param run_id: part of their names.
    """

    def __init__(
        self,
        repository: Repository,
        docker: Docker,
        run_id: str,
        labels: t.Mapping[str, str],
        execute: t.Callable[..., Outcome] = run_process,
    ) -> None:
        self.repository = repository
        self._docker = docker
        self._run_id = run_id
        self._labels = dict(labels)
        self._execute = execute

    # --- asking ---------------------------------------------------------------------------------------------------------

    def exists(self) -> bool:
        """Whether there is such a repository, and this is its password.

        :raises DbopsError: where it does not answer, or the password is wrong.
        """
        outcome = self._run(["cat", "config", "--no-lock"], timeout=_PATIENCE)
        if outcome.rc != 0 and _says_absent(outcome):
            return False
        self._require(outcome, "look into")
        return True

    def snapshots(self, tags: t.Sequence[str]) -> list[Snapshot]:
        """Those of this host that have all of these tags, as the repository has them."""
        argv = ["snapshots", "--json", "--no-lock", "--host", self.repository.host, "--tag", ",".join(tags)]
        outcome = self._run(argv, timeout=10 * _PATIENCE, kept=None)
        self._require(outcome, "list")
        try:
            return [Snapshot(found["id"], found["time"], tuple(found.get("tags") or ())) for found in json.loads(outcome.stdout) or ()]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DbopsError(
                "What restic lists of the offsite repository '%s' cannot be read: %s" % (self.repository, _said(outcome))
            ) from None

    def read_file(self, snapshot: str, path: str, to: str) -> None:
        """Write one file of a snapshot to the path ``to``."""
        outcome = self._run(["dump", "--no-lock", snapshot, "/" + path], stdout_path=to, timeout=10 * _PATIENCE)
        self._require(outcome, "read '%s' from" % path)

    # --- doing ----------------------------------------------------------------------------------------------------------

    def create(self) -> None:
        self._require(self._run(["init"], timeout=_PATIENCE), "make")

    def send(
        self, folder: str, name: str, tags: t.Sequence[str], time: str, without: str = "", done: t.Callable[[int], None] | None = None
    ) -> tuple[str, int]:
        """Keep ``folder/name``, and return the snapshot's id and the bytes that had to be added.

        :param time: of the snapshot, ``2026-11-27 03:00:00`` in UTC.
        :param without: the name of a file that stays here.
        :param done: told, while it works, how many bytes are done.
        """
        argv = ["backup", "--json", "--host", self.repository.host, "--time", time, "--tag", ",".join(tags)]
        argv += ["--exclude", "/**/" + without] if without else []
        outcome = self._run([*argv, "--", name], folder=folder, hear=lambda line: _is_more_than_status(line, done))
        self._require(outcome, "send '%s' to" % name)
        summary = _last_summary(outcome.stdout)
        if not summary.get("snapshot_id"):
            raise DbopsError("restic has not said that '%s' is in the repository '%s': run it again." % (name, self.repository))
        return str(summary["snapshot_id"]), int(summary.get("data_added", 0))

    def fetch(self, snapshot: str, folder: str) -> None:
        """Write everything that a snapshot has into ``folder``. Without a lock: at two in the morning a dead run's must not stand in the way."""
        outcome = self._run(["restore", "--no-lock", snapshot, "--target", self._inside(folder)], folder=folder, writable=True)
        self._require(outcome, "fetch a backup from")

    def unlock(self) -> None:
        """Remove the locks that restic takes for those of dead runs. It cannot see the processes of other users and machines, so a person decides."""
        self._require(self._run(["unlock"], timeout=_PATIENCE), "unlock")

    def check(self, share: str) -> None:
        """Check the repository's structure, and read a share of what it holds, such as ``5%``, ``2G`` or ``1/7``."""
        outcome = self._run(["check"] + (["--read-data-subset", share] if share else []))
        self._require(outcome, "check")

    # --- how ------------------------------------------------------------------------------------------------------------

    def _run(
        self, argv: t.Sequence[str], folder: str = "", writable: bool = False, timeout: float | None = None, **options: t.Any
    ) -> Outcome:
        command = [argv[0], *self._flags(), *argv[1:]]  # nothing after a "--" is an option
        if self.repository.image:
            return self._in_container(command, folder, writable, timeout, **options)
        if folder and not os.path.isdir(folder):
            raise DbopsError("The folder '%s' was removed while this ran: run this again." % folder)
        try:
            return self._execute(
                [self.repository.program, *command], env=self._environment(), folder=folder or None, timeout=timeout, **options
            )
        except (FileNotFoundError, PermissionError):
            raise DbopsError(
                "There is no program '%s' on this host: install restic (as root: apt-get install restic), or name an image that has it with"
                " dbops_offsite_image, such as restic/restic:0.18.0." % self.repository.program
            ) from None

    def _in_container(self, command: t.Sequence[str], folder: str, writable: bool, timeout: float | None, **options: t.Any) -> Outcome:
        repository = self.repository
        mounts = [(path, path, True) for path in (repository.folder,) if path]
        mounts += [(repository.password_file, repository.password_file, False)] if repository.password_file else []
        mounts += [(folder, _WORK, writable)] if folder else []
        job = OneShot(
            name="dbops-%s-restic" % self._run_id,
            image=repository.image,
            argv=("restic", *command),
            labels=self._labels,
            env=self._environment(),
            network="host",
            mounts=tuple(mounts),
            user="%d:%d" % (os.getuid(), os.getgid()),
            workdir=_WORK if folder else "",
        )
        return self._docker.run(job, timeout=timeout, **options)

    def _inside(self, folder: str) -> str:
        return _WORK if self.repository.image else folder

    def _flags(self) -> list[str]:
        """Without a cache: a container would lose it, and check mode writes nothing."""
        repository = self.repository
        flags = ["--no-cache"] + [word for option in repository.options for word in ("--option", option)]
        for name, limit in (("--limit-upload", repository.upload_limit), ("--limit-download", repository.download_limit)):
            flags += [name, str(limit)] if limit else []
        return flags

    def _environment(self) -> dict[str, str]:
        repository = self.repository
        known = {"RESTIC_PASSWORD_FILE": repository.password_file} if repository.password_file else {"RESTIC_PASSWORD": repository.password}
        inherited = dict.fromkeys(("RESTIC_PASSWORD", "RESTIC_PASSWORD_FILE", "RESTIC_PASSWORD_COMMAND", "RESTIC_REPOSITORY_FILE"), "")
        return {**inherited, **repository.environment, "RESTIC_REPOSITORY": self._address(), "TZ": "UTC", **known}

    def _address(self) -> str:
        """For restic before 0.17, which knows the user of a REST server from the address only."""
        location, environment = self.repository.location, self.repository.environment
        user, word = environment.get("RESTIC_REST_USERNAME", ""), environment.get("RESTIC_REST_PASSWORD", "")
        match = re.match(r"(rest:https?://)([^@/]*(?:/.*)?)$", location)
        if not match or not word:
            return location
        return "%s%s:%s@%s" % (match.group(1), quote(user, safe=""), quote(word, safe=""), match.group(2))

    def _require(self, outcome: Outcome, what: str) -> None:
        if outcome.rc != 0 or outcome.timed_out:
            raise DbopsError(_trouble(outcome, what, self.repository))


#: Where a folder of the host is in restic's own container.
_WORK = "/dbops"


def _trouble(outcome: Outcome, what: str, repository: Repository) -> str:
    if outcome.timed_out:
        return "The offsite repository '%s' has not answered in time: see that this host reaches it, then run this again." % repository
    if outcome.rc == _WRONG_PASSWORD or "wrong password" in outcome.stderr:
        return (
            "The password is not that of the offsite repository '%s': correct dbops_offsite_password or dbops_offsite_password_file."
            % repository
        )
    if _says_absent(outcome):
        return "There is no restic repository at '%s'." % repository
    if _says_locked(outcome):
        return (
            "The offsite repository '%s' is locked by another run of restic: wait for its end and run this again. If you are sure that it is dead,"
            " add once: -e dbops_copy_unlock=true (where it lives, what it does may damage the repository). restic says: %s"
            % (repository, _said(outcome))
        )
    return "restic could not %s the offsite repository '%s': %s" % (what, repository, _said(outcome))


def _says_absent(outcome: Outcome) -> bool:
    return outcome.rc == _NO_REPOSITORY or (outcome.rc == 1 and bool(_ABSENT.search(outcome.stderr)))


def _says_locked(outcome: Outcome) -> bool:
    return outcome.rc == _LOCKED or "already locked" in outcome.stderr


def _said(outcome: Outcome) -> str:
    """restic's own sentences in one line; newer versions write errors as JSON where the output is."""
    lines = []
    for line in outcome.stderr.splitlines():
        data = _as_json(line)
        said = (data.get("message") or data.get("error") or line) if data else line
        lines += [str(said).replace("Fatal: ", "").strip()] if said and str(said).strip() else []
    told = " ".join(dict.fromkeys(lines)) or "exit status %d" % outcome.rc
    told = masked_by_form(told)
    return (told if len(told) <= 600 else told[:600] + " ...").rstrip(".") + "."


def _is_more_than_status(line: str, done: t.Callable[[int], None] | None) -> bool:
    """Whether restic says more than how far it is, many times a second, which goes to ``done``."""
    data = _as_json(line)
    if data.get("message_type") != "status":
        return True
    if done and isinstance(data.get("bytes_done"), int):
        done(data["bytes_done"])
    return False


def _last_summary(output: str) -> dict[str, t.Any]:
    """What restic says at the end of a backup (https://restic.readthedocs.io/en/stable/075_scripting.html#backup)."""
    found = [data for data in map(_as_json, output.splitlines()) if data.get("message_type") == "summary"]
    return found[-1] if found else {}


def _as_json(line: str) -> dict[str, t.Any]:
    try:
        data = json.loads(line)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
