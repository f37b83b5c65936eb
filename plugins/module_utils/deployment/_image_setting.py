# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a Compose project says which image a service has, and how that is changed: a variable of its own, else a Compose file beside its own.

``image: ${BACKEND_IMAGE}`` and ``image: registry/app:${TAG:-latest}`` name a variable, which is written into the project's file of variables; so
whoever types ``docker compose up`` afterwards starts the same. An image that is written out stays as it is, and a further Compose file, which
counts last, names the other one (https://docs.docker.com/compose/how-tos/multiple-compose-files/merge/).

Files are read anew at each change, and only the own line is changed: others may have written them while a migration was under way.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.deployment._project import (
    FILE_NAME,
    IMAGE_VARIABLE,
    Project,
    Service,
    variable_of,
)
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Image
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

_HEADING = "# The image that deploy.yml has deployed last. Docker Compose has to be given this file after the project's own.\n"

_ENTRY = re.compile(r"^  (?P<service>\S+):\n    image: (?P<image>.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Setting:
    """What says which image it is. ``values``: by the variable, or by service; ``before``: the same as the file has it now, without those that it
    does not have; ``variable``: whether it is one."""

    path: str
    values: dict[str, str]
    before: dict[str, str]
    variable: bool

    @property
    def name(self) -> str:
        """Of the variable; empty where it is a Compose file."""
        return next(iter(self.values)) if self.variable else ""

    def diff(self) -> str:
        """The lines that change, and nothing else of a file that holds passwords."""
        lines = []
        for name, value in self.values.items():
            was, shown = self.before.get(name), "%s=%s" if self.variable else "%s: image: %s"
            if was != value:
                lines += ["-" + shown % (name, was)] if was is not None else []
                lines += ["+" + shown % (name, value)]
        return "\n".join(["--- " + self.path, "+++ " + self.path, *lines, ""]) if lines else ""

    def write(self) -> None:
        self._change(dict(self.values))

    def take_back(self) -> None:
        self._change({name: self.before.get(name) for name in self.values})

    def _change(self, values: t.Mapping[str, str | None]) -> None:
        now = _read(self.path)
        changed = (_with_variables if self.variable else _with_services)(now or "", values)
        if not changed and not self.before and now is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
        elif changed != now:
            _write(self.path, changed)


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

    :param variable: the name of the variable that is the image, where the inventory says it.
    :raises DbopsError: where the file cannot be read, or may not be written.
    """
    found = {(variable, image)} if variable else {_variable(service.written, image) for service in services}
    name, value = found.pop() if len(found) == 1 else ("", "")
    if not name:
        return in_compose_file(project, {service.name: image for service in services})
    path = project.variables_file
    before = dict(_lines_of(_read(path) or "", name))
    _require_writable(path)
    return Setting(path, {name: value}, before, True)


def in_compose_file(project: Project, images: t.Mapping[str, str]) -> Setting:
    """A Compose file of ours that names them. ``images``: by service."""
    path = os.path.join(project.folder, FILE_NAME)
    known = _entries(_read(path) or "")
    _require_writable(path)
    return Setting(path, dict(images), {name: known[name] for name in images if name in known}, False)


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


def _line_of(name: str) -> re.Pattern[str]:
    return re.compile(
        r"^(?P<head>[ \t]*(?:export[ \t]+)?%s[ \t]*=[ \t]*)(?P<value>[^\r\n]*)(?P<end>\r?\n?)" % re.escape(name), re.MULTILINE
    )


def _lines_of(text: str, name: str) -> list[tuple[str, str]]:
    return [(name, _bare(found.group("value"))) for found in _line_of(name).finditer(text)]


def _bare(value: str) -> str:
    quote = value[:1] if value[:1] in ("'", '"') else ""
    return value[1:].partition(quote)[0] if quote else value.strip()


def _with_variables(text: str, values: t.Mapping[str, str | None]) -> str:
    """Each variable's last line, which counts, gets the value; ``None`` takes the line away."""
    for name, value in values.items():
        found = list(_line_of(name).finditer(text))
        if value is None:
            text = text[: found[-1].start()] + text[found[-1].end() :] if found else text
        elif not found:
            text += ("\n" if text and not text.endswith("\n") else "") + "%s=%s\n" % (name, value)
        elif _bare(found[-1].group("value")) != value:
            last = found[-1]
            quote = last.group("value")[:1] if last.group("value")[:1] in ("'", '"') else ""
            text = text[: last.start()] + last.group("head") + quote + value + quote + last.group("end") + text[last.end() :]
    return text


def _entries(text: str) -> dict[str, str]:
    found = {}
    for entry in _ENTRY.finditer(text):
        with contextlib.suppress(ValueError):
            found[entry.group("service")] = str(json.loads(entry.group("image")))
    return found


def _with_services(text: str, values: t.Mapping[str, str | None]) -> str:
    merged = {**_entries(text), **values}
    entries = ["  %s:\n    image: %s\n" % (name, json.dumps(image)) for name, image in sorted(merged.items()) if image is not None]
    return _HEADING + "---\nservices:\n" + "".join(entries) if entries else ""


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
            " dbops_deploy_env_files." % (path, why)
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
    """In one piece, with the owner and the rights that the file has. Where that cannot be, over what is there, which is not emptied before.

    :raises DbopsError: where the host's file system refuses.
    """
    path = os.path.realpath(path)
    try:
        there = os.stat(path) if os.path.exists(path) else None
        if not _replace(path, text, there):
            with open(path, "r+b") as stream:
                stream.write(text.encode())
                stream.truncate()
                stream.flush()
                os.fsync(stream.fileno())
    except OSError as error:
        raise DbopsError("File '%s', which says which image is deployed, could not be written: %s." % (path, error.strerror)) from None


def _replace(path: str, text: str, there: os.stat_result | None) -> bool:
    """Whether another file could take its place: not where its owner or group cannot be given to one."""
    folder = os.path.dirname(path)
    if there and not os.access(folder, os.W_OK):
        return False
    descriptor, temporary = tempfile.mkstemp(prefix=".dbops-", dir=folder)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        if there:
            os.chown(temporary, there.st_uid, there.st_gid)
        os.chmod(temporary, there.st_mode & 0o7777 if there else 0o644)
        os.replace(temporary, path)
    except PermissionError:
        os.unlink(temporary)
        if there is None:
            raise
        return False
    except BaseException:
        os.unlink(temporary)
        raise
    return True
