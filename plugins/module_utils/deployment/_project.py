# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Compose project: which one a container belongs to, what its files say of its services, and starting those anew.

Compose tells by labels of its containers how it was called: ``com.docker.compose.project``, ``.project.working_dir``,
``.project.config_files``, ``.project.environment_file`` and ``.service``.
"""

from __future__ import annotations

import json
import os
import re
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.dbops.postgres.plugins.module_utils.engine._docker import Docker, said_by
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

_LABEL = "com.docker.compose."

#: The Compose file of ours, in the project's folder.
FILE_NAME = "compose.dbops-image.yml"

#: As Compose looks for them (https://docs.docker.com/compose/intro/compose-application-model/#the-compose-file).
_DEFAULT_FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")

#: Seconds that reading the files may take, and starting containers.
_READING, _STARTING = 60, 900

#: ``${NAME}``, ``$NAME`` or ``${NAME:-default}``, after a text without variables.
IMAGE_VARIABLE = re.compile(r"^(?P<fixed>[^$]*)(?:\$(?P<plain>\w+)|\$\{(?P<name>\w+)(?::?[-?][^{}]*)?\})$")

_WARNING = re.compile(r'time="[^"]*" level=warning msg="(?:[^"\\]|\\.)*"')

_RECREATE = re.compile(r"Container (\S+)\s+Recreate\b")

_UNSET = re.compile(r'The \\?"([^"\\]+)\\?" variable is not set')


@dataclass(frozen=True)
class Project:
    """How Compose is called for it. Absolute paths; ``env_files``: what its own files take their variables from, without one the ``.env`` in
    ``folder``."""

    name: str
    folder: str
    files: tuple[str, ...]
    env_files: tuple[str, ...] = ()

    @property
    def flags(self) -> tuple[str, ...]:
        found = [*(["--project-name", self.name] if self.name else []), "--project-directory", self.folder]
        for path in self.files:
            found += ["--file", path]
        for path in self.env_files:
            found += ["--env-file", path]
        return tuple(found)

    def with_file(self, path: str) -> Project:
        """With a Compose file more, which counts last."""
        return self if path in self.files else replace(self, files=(*self.files, path))

    def without_file(self, path: str) -> Project:
        return replace(self, files=tuple(known for known in self.files if known != path))

    @property
    def variables_file(self) -> str:
        return self.env_files[-1] if self.env_files else os.path.join(self.folder, ".env")


@dataclass(frozen=True)
class Service:
    """What the files say of a service. ``image``: with all variables in their places; ``written``: as it stands there, empty where that cannot be
    read; ``digest``: of its configuration; ``platform``: that it asks for, or empty."""

    name: str
    image: str
    written: str
    digest: str
    platform: str = ""


@dataclass(frozen=True)
class Composition:
    """The project's files, read. ``unset``: variables that nothing gives a value."""

    services: dict[str, Service]
    unset: tuple[str, ...]


def project_of(container: Container, folder: str = "", files: t.Sequence[str] = (), env_files: t.Sequence[str] = ()) -> Project:
    """The project of a container, by its labels, as far as the inventory does not say otherwise.

    :raises DbopsError: where Compose has not made it, or its files are not on this host.
    """
    labels = container.labels
    name = labels.get(_LABEL + "project", "")
    if not name:
        raise DbopsError(
            "Container '%s' was not made by Docker Compose, so how to start it anew is not known here. Migrate with 'ansible-playbook migrate.yml -e"
            " dbops_image=...', and start it as you have started it." % container.name
        )
    folder = folder or labels.get(_LABEL + "project.working_dir", "")
    ours = [FILE_NAME] if files and os.path.isfile(os.path.join(folder, FILE_NAME)) and FILE_NAME not in files else []
    found = tuple(os.path.join(folder, path) for path in (*files, *ours)) or _split(labels.get(_LABEL + "project.config_files"))
    env = tuple(os.path.join(folder, path) for path in env_files) or _split(labels.get(_LABEL + "project.environment_file"))
    missing = [path for path in (*found, *env) if not os.path.isfile(path)]
    if missing or not found:
        raise DbopsError(
            "Compose project '%s' was started from '%s', which is not on this host, or not to be seen by this user: name its folder and its"
            " files with dbops_deploy_project_dir and dbops_deploy_compose_files. Nothing was touched."
            % (name, (missing or ["no file"])[0])
        )
    return Project(name, folder, found, env)


def new_project(docker: Docker, folder: str, files: t.Sequence[str], env_files: t.Sequence[str], image: str) -> Project:
    """One that has no container yet: its files as Compose itself finds them, and the name that Compose gives it.

    :raises DbopsError: where there is none, or Compose cannot read it.
    """
    folder = os.path.abspath(folder)
    found = [name for name in files or _DEFAULT_FILES if os.path.isfile(os.path.join(folder, name))]
    if not found:
        raise DbopsError(
            "There is no Compose file in '%s' (dbops_deploy_project_dir): put one there, or name it with dbops_deploy_compose_files. Nothing was touched."
            % folder
        )
    chosen = (
        found
        if files
        else [*found[:1], *(name for name in (found[0].replace(".y", ".override.y"),) if os.path.isfile(os.path.join(folder, name)))]
    )
    project = Project(
        "", folder, tuple(os.path.join(folder, name) for name in chosen), tuple(os.path.join(folder, name) for name in env_files)
    )
    read = _config(docker, project, {}, "--format", "json")
    if read.rc != 0:
        names = {name: image for name in map(variable_of, _written(docker, project).values()) if name}
        read = _config(docker, project, names, "--format", "json")
    if read.rc != 0:
        raise _unreadable(project, read)
    return replace(project, name=str(json.loads(read.stdout).get("name") or os.path.basename(folder)))


def _unreadable(project: Project, read: Outcome) -> DbopsError:
    return DbopsError(
        "Docker Compose cannot read the files of project '%s' (%s): %s Mend that, then run this again. Nothing was touched."
        % (project.name or os.path.basename(project.folder), ", ".join(project.files), " ".join(_WARNING.sub("", said_by(read)).split()))
    )


def create_containers(docker: Docker, project: Project, services: t.Sequence[str]) -> str:
    """Make containers without starting them. Returns why they could not be made, or nothing."""
    outcome = docker.compose([*project.flags, "--profile", "*", "create", "--no-build", "--pull", "never", *services], _STARTING)
    return " ".join(_WARNING.sub("", outcome.stderr).split("\n")[-3:]).strip() or said_by(outcome) if outcome.rc else ""


def _split(paths: str | None) -> tuple[str, ...]:
    return tuple(path for path in (paths or "").split(",") if path)


def service_of(container: Container) -> str:
    return container.labels.get(_LABEL + "service", "")


def read_project(docker: Docker, project: Project, image: str = "", given: t.Mapping[str, str] | None = None) -> Composition:
    """What the files say, those services included that a profile keeps back.

    :param image: for variables that stand for one and have no value yet, since they are exported by whoever deploys by hand; else Compose reads
        nothing at all.
    :param given: variables that count more than those of the files.
    :raises DbopsError: with Compose's own sentence, where it cannot read them.
    """
    given = dict(given or {})
    read = _config(docker, project, given, "--format", "json")
    written = _written(docker, project)
    if read.rc != 0 and image:
        names = [variable_of(text) for text in written.values()]
        given.update({name: image for name in names if name in _UNSET.findall(read.stderr)})
        read = _config(docker, project, given, "--format", "json") if given else read
    if read.rc != 0:
        raise _unreadable(project, read)
    services = json.loads(read.stdout).get("services") or {}
    hashes = _config(docker, project, given, "--hash", "*").stdout
    digests = dict(line.split()[:2] for line in hashes.splitlines() if len(line.split()) == 2)
    return Composition(
        {
            name: Service(name, said.get("image") or "", written.get(name, ""), digests.get(name, ""), said.get("platform") or "")
            for name, said in services.items()
        },
        tuple(dict.fromkeys(_UNSET.findall(read.stderr))),
    )


def _written(docker: Docker, project: Project) -> dict[str, str]:
    """Images with their variables; Compose cannot read every file like that, such as one with a variable for a number."""
    read = _config(docker, project, {}, "--no-interpolate", "--format", "json")
    if read.rc != 0:
        return {}
    return {name: str(said.get("image") or "") for name, said in (json.loads(read.stdout).get("services") or {}).items()}


def _config(docker: Docker, project: Project, env: t.Mapping[str, str], *flags: str) -> Outcome:
    return docker.compose([*project.flags, "--profile", "*", "config", *flags], _READING, env)


def variable_of(written: str) -> str:
    """The variable that an image's text ends with, empty where there is none."""
    match = IMAGE_VARIABLE.match(written)
    return (match.group("name") or match.group("plain")) if match else ""


def start_anew(docker: Docker, project: Project, services: t.Mapping[str, int], alone: bool = True) -> str:
    """Let Compose replace the containers of these services by what the files say now, and nothing else. Returns why it could not, or nothing.

    :param services: how many containers each has had; more than one may have been asked for by hand (``--scale``).
    :param alone: without the services that they depend on.
    """
    flags = ["up", "--detach", *(["--no-deps"] if alone else []), "--no-build", "--pull", "never", "--quiet-pull"]
    for name, number in services.items():
        flags += ["--scale", "%s=%d" % (name, number)] if number > 1 else []
    outcome = docker.compose([*project.flags, "--profile", "*", *flags, *services], _STARTING)
    return " ".join(_WARNING.sub("", outcome.stderr).split("\n")[-3:]).strip() or said_by(outcome) if outcome.rc else ""


def outdated(docker: Docker, project: Project, containers: t.Sequence[Container]) -> list[Container]:
    """Those that Compose would replace because their files have changed since, whatever image they have. Where it cannot tell, none.

    Its label with the digest of the configuration does not tell it: ``config --hash`` leaves out what ``env_file`` brings
    (https://docs.docker.com/reference/cli/docker/compose/#use-dry-run-mode-to-test-your-command).
    """
    services = list(dict.fromkeys(map(service_of, containers)))
    if not services:
        return []
    given = {variable_of(text): "" for name, text in _written(docker, project).items() if name in services}
    given = {name: containers[-1].image for name in given if name and name in _unset(docker, project)}
    flags = ["--dry-run", *project.flags, "--profile", "*", "up", "--detach", "--no-deps", "--no-build", "--pull", "never", *services]
    said = docker.compose(flags, _READING, given)
    names = set(_RECREATE.findall(said.stdout + said.stderr)) if said.rc == 0 else set()
    return [container for container in containers if container.name in names]


def _unset(docker: Docker, project: Project) -> list[str]:
    return _UNSET.findall(_config(docker, project, {}, "--quiet").stderr)


def line_to_start(project: Project, services: t.Iterable[str]) -> str:
    """For a person to type."""
    return " ".join(["docker", "compose", *project.flags, "up", "--detach", "--no-deps", *services])
