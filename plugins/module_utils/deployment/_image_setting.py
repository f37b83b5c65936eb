# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a Compose project says which image a service has, and how that is changed: a variable of its own, else a Compose file beside its own.

``image: ${BACKEND_IMAGE}`` and ``image: registry/app:${TAG:-latest}`` name a variable, which is written into the project's file of variables; so
whoever types ``docker compose up`` afterwards starts the same. An image that is written out stays as it is, and a further Compose file, which
counts last, names the other one (https://docs.docker.com/compose/how-tos/multiple-compose-files/merge/).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.deployment._project import IMAGE_VARIABLE, Project, Service, variable_of
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Image
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

#: The Compose file of ours, in the project's folder.
FILE_NAME = "compose.dbops-image.yml"

_HEADING = "# The image that deploy.yml has deployed last. Docker Compose has to be given this file after the project's own.\n"


@dataclass(frozen=True)
class Setting:
    """A file that says which image it is. ``before``: its text, ``None`` where it is not there; ``name``: of the variable, empty for a Compose
    file; ``was``, ``will``: the lines, for showing."""

    path: str
    before: str | None
    after: str
    name: str
    was: str
    will: str

    def diff(self) -> str:
        """The lines that change, and nothing else of a file that holds passwords."""
        if self.before == self.after:
            return ""
        return "--- %s\n+++ %s\n%s+%s\n" % (self.path, self.path, "-%s\n" % self.was if self.was else "", self.will)

    def write(self) -> None:
        _write(self.path, self.after)

    def take_back(self) -> None:
        if self.before is None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
        else:
            _write(self.path, self.before)


def pinned(image: Image, reference: str) -> str:
    """The image by its digest, so that nobody who moves the tag moves what was planned and tried; by its tag where no registry knows it."""
    if "@" in reference:
        return reference
    repository = repository_of(reference)
    known = {repository, "docker.io/" + repository, "docker.io/library/" + repository}
    for digest in image.digests:
        name, _at, hashed = digest.partition("@")
        if name in known or "docker.io/" + name in known or "docker.io/library/" + name in known:
            return "%s@%s" % (reference, hashed)
    return reference


def repository_of(reference: str) -> str:
    """An image's name without tag and digest; a registry's port is no tag."""
    head, _slash, last = reference.rpartition("/")
    return (head + "/" if head else "") + last.partition("@")[0].partition(":")[0]


def setting_of(project: Project, services: t.Sequence[Service], image: str, variable: str = "") -> Setting:
    """Where these services' image is to be changed, and how.

    :param variable: the name of the variable, where the inventory says it.
    :raises DbopsError: where the file cannot be read, or may not be written.
    """
    name, value = variable, image
    if not name:
        found = {_variable(service.written, image) for service in services}
        name, value = found.pop() if len(found) == 1 else ("", "")
    setting = _in_variables(project, name, value) if name else _in_compose_file(project, services, image)
    _require_writable(setting.path)
    return setting


def _variable(written: str, image: str) -> tuple[str, str]:
    """The variable that makes the whole image, or what comes after its name, and the value for it; both empty where there is none."""
    match, name = IMAGE_VARIABLE.match(written), variable_of(written)
    fixed = match.group("fixed") if match else ""
    if not name:
        return "", ""
    if not fixed:
        return name, image
    if fixed[-1:] in (":", "@") and image.startswith(fixed):
        return name, image[len(fixed) :]
    return "", ""


def _in_variables(project: Project, name: str, value: str) -> Setting:
    path = project.variables_file
    before = _read(path)
    line = re.compile(r"^(?P<head>[ \t]*(?:export[ \t]+)?%s[ \t]*=[ \t]*)(?P<value>[^\r\n]*)" % re.escape(name), re.MULTILINE)
    found = list(line.finditer(before or ""))
    if not found or before is None:
        text = before or ""
        new = "%s=%s" % (name, value)
        return Setting(path, before, text + ("\n" if text and not text.endswith("\n") else "") + new + "\n", name, "", new)
    last = found[-1]
    quote = last.group("value")[:1] if last.group("value")[:1] in ("'", '"') else ""
    new = "%s%s%s%s" % (last.group("head"), quote, value, quote)
    same = last.group("value") in (value, "%s%s%s" % (quote, value, quote))
    after = before if same else before[: last.start()] + new + before[last.end() :]
    return Setting(path, before, after, name, last.group(0), last.group(0) if same else new)


def _in_compose_file(project: Project, services: t.Sequence[Service], image: str) -> Setting:
    path = os.path.join(project.folder, FILE_NAME)
    before = _read(path)
    known = dict(re.findall(r"^  (\S+):\n    image: (\S+)$", before or "", re.MULTILINE))
    known.update({service.name: json.dumps(image) for service in services})
    after = _HEADING + "---\nservices:\n" + "".join("  %s:\n    image: %s\n" % pair for pair in sorted(known.items()))
    was = "" if before is None else ", ".join(re.findall(r"image: .*", before))
    return Setting(path, before, after, "", was, "image: %s" % json.dumps(image))


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            return stream.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise DbopsError(
            "File '%s', which says which image is deployed, cannot be read (%s): let this user read and write it, or name another one with"
            " dbops_deploy_env_files. Nothing was touched." % (path, why)
        ) from None


def _require_writable(path: str) -> None:
    path = os.path.realpath(path)
    where = path if os.path.exists(path) else os.path.dirname(path)
    if not os.access(where, os.W_OK):
        raise DbopsError(
            "This user may not write '%s', which says which image is deployed: let it ('sudo chown %s %s'), or name another file with"
            " dbops_deploy_env_files. Nothing was touched." % (where, "$USER", where)
        )


def _write(path: str, text: str) -> None:
    """In one piece, with the rights that the file has; a file that belongs to somebody else is written where it lies."""
    path = os.path.realpath(path)
    folder = os.path.dirname(path)
    there = os.stat(path) if os.path.exists(path) else None
    if (there and there.st_uid != os.geteuid()) or not os.access(folder, os.W_OK):
        with open(path, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
        return
    descriptor, temporary = tempfile.mkstemp(prefix=".dbops-", dir=folder)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, there.st_mode & 0o7777 if there else 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
