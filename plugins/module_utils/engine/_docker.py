# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Containers: the only file that knows the ``docker`` command line.

Values of environment variables never reach an argument list: ``--env NAME`` makes the client take the value from its own
environment (https://docs.docker.com/reference/cli/docker/container/run/#env).
"""

from __future__ import annotations

import fnmatch
import json
import re
import time
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container, Image, parse_container, parse_image
from ansible_collections.dbops.postgres.plugins.module_utils.engine._one_shot import OneShot, environment_flags, label_flags, one_shot_flags
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import KEPT, Outcome, run_process
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import EngineError

#: Everything this collection makes in the engine carries these labels: the run that made it, and the database it was made for.
LABEL_RUN = "dbops.run"
LABEL_TARGET = "dbops.target"

#: An image that this collection made carries the id of the one that it was made of.
LABEL_SOURCE = "dbops.source-image"

#: Seconds that the engine may take to let a removed container leave its network.
_LEAVING_SECONDS = 10.0

#: Seconds that a busy engine may take for anything but running a program.
_PATIENCE = 120.0

_ENGINE_TROUBLE = (
    (
        "permission denied while trying to connect",
        "User may not use the Docker engine: add the SSH user to the group 'docker' and log in again.",
    ),
    (
        "cannot connect to the docker daemon",
        "The Docker engine does not answer: start it with 'systemctl start docker', then run this again.",
    ),
    ("error during connect", "The Docker engine does not answer at the configured address: check dbops_docker_host."),
    (
        "no space left on device",
        "The Docker engine has no disk space left: free some, for example with 'docker system df' and 'docker image prune'.",
    ),
)


class Docker:
    """The engine, through its command line client.

    :param host: the engine's address, such as ``unix:///run/user/1000/docker.sock``; empty for the client's own default.
    """

    def __init__(self, host: str = "", execute: t.Callable[..., Outcome] = run_process) -> None:
        self._base = ["docker"] + (["--host", host] if host else [])
        self._execute = execute

    # --- asking ---------------------------------------------------------------------------------------------------------

    def container(self, name: str) -> Container:
        """The container of that name or id.

        :raises EngineError: where there is none.
        """
        outcome = self._call(["container", "inspect", "--", name], kept=None, check=False)
        if outcome.rc != 0:
            _raise_engine_trouble(outcome)
            raise EngineError(
                "There is no container '%s' on this host. Containers here: %s. Check dbops_container, or the Compose project and service."
                % (name, ", ".join(self.names()) or "none")
            )
        return parse_container(json.loads(outcome.stdout)[0])

    def service(self, project: str, service: str) -> Container:
        """The one container of a Compose service."""
        found = self._list("label=com.docker.compose.project=" + project, "label=com.docker.compose.service=" + service)
        if len(found) == 1:
            return self.container(found[0])
        if not found:
            raise EngineError(
                "Compose project '%s' has no container for service '%s' on this host: start it with 'docker compose up -d'."
                % (project, service)
            )
        raise EngineError(
            "Compose project '%s' has %d containers for service '%s' (%s): name one with dbops_container."
            % (project, len(found), service, ", ".join(found))
        )

    def of_project(self, project: str, services: t.Iterable[str]) -> list[Container]:
        """All containers of some services of a Compose project, oldest first, without those that ``docker compose run`` has made."""
        names: list[str] = []
        for service in services:
            names += self._list(
                "label=com.docker.compose.project=" + project,
                "label=com.docker.compose.service=" + service,
                "label=com.docker.compose.oneoff=False",
            )
        return sorted(self._inspect(names), key=lambda container: container.created)

    def matching(self, patterns: t.Iterable[str]) -> list[Container]:
        """The containers whose name fits one of the patterns (``chat-backend-preview-*``), oldest first, stopped ones too."""
        wanted = [name for name in self.names() if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
        return sorted(self._inspect(wanted), key=lambda container: container.created)

    def names(self) -> list[str]:
        return self._list()

    def every(self) -> list[Container]:
        """Every container of this host, by name; one that goes away during the look is left out."""
        ids = self._call(["container", "ls", "--all", "--quiet", "--no-trunc"], kept=None).stdout.split()
        return sorted(self._inspect(ids), key=lambda container: container.name)

    def present(self, containers: t.Iterable[Container]) -> list[Container]:
        """What has become of these containers, those left out that are gone."""
        return self._inspect([container.id for container in containers])

    def _inspect(self, names: t.Sequence[str]) -> list[Container]:
        """The containers of these names or ids, but those that have gone away meanwhile."""
        if not names:
            return []
        argv = ["container", "inspect", *names]
        outcome = self._call(argv, kept=None, check=False)
        if outcome.rc != 0 and "no such" not in outcome.stderr.lower():
            _raise_failure(argv, outcome)
        return [parse_container(found) for found in json.loads(outcome.stdout or "[]")]

    def time(self, seconds: float) -> str:
        """The engine's clock, RFC 3339.

        :raises EngineError: where the engine does not answer within so many seconds.
        """
        outcome = self._call(["info", "--format", "{{.SystemTime}}"], check=False, patience=seconds)
        if outcome.rc != 0:
            _raise_engine_trouble(outcome)
            raise EngineError("docker info failed: %s" % said_by(outcome))
        return outcome.stdout.strip()

    def root(self) -> str:
        """Where the engine keeps what it has, on its own host."""
        return self._call(["info", "--format", "{{.DockerRootDir}}"]).stdout.strip()

    def image(self, name: str) -> Image:
        outcome = self._call(["image", "inspect", "--", name], kept=None, check=False)
        if outcome.rc != 0:
            _raise_engine_trouble(outcome)
            raise EngineError("Image '%s' is not on this host: pull it first with 'docker pull %s'." % (name, name))
        return parse_image(json.loads(outcome.stdout)[0])

    def has_image(self, name: str) -> bool:
        return self._call(["image", "inspect", "--", name], check=False).rc == 0

    def logs(self, container: str, since: str = "", tail: int = 2000, kept: int | None = 512 * 1024) -> str:
        """A container's log, its output before its errors: at most ``tail`` lines (-1 for all), at most twice ``kept`` bytes of each."""
        outcome = self.read_log(container, since, tail, kept)
        return outcome.stdout + outcome.stderr

    def read_log(self, container: str, since: str, tail: int, kept: int | None) -> Outcome:
        """The same as the engine gives it: with an exit status, where it has no such log or cannot read the time."""
        argv = ["container", "logs", "--tail", str(tail)] + (["--since", since] if since else []) + [container]
        return self._call(argv, check=False, kept=kept)

    def labelled(self, label: str, value: str) -> list[tuple[str, str, str]]:
        """What carries a label: ``(kind, id, run)`` with kind ``container`` or ``network``."""
        found = []
        for kind, listing in (("container", ["container", "ls", "--all"]), ("network", ["network", "ls"])):
            template = '{{.ID}} {{.Label "%s"}}' % LABEL_RUN
            lines = self._call(listing + ["--no-trunc", "--filter", "label=%s=%s" % (label, value), "--format", template], kept=None).stdout
            for line in lines.splitlines():
                identifier, _space, run = line.partition(" ")
                found.append((kind, identifier, run))
        return found

    def made_images(self) -> list[Image]:
        """The images that ``make_image`` made on this host."""
        ids = self._call(["image", "ls", "--quiet", "--no-trunc", "--filter", "label=" + LABEL_SOURCE], kept=None).stdout.split()
        outcome = self._call(["image", "inspect", *dict.fromkeys(ids)], kept=None, check=False) if ids else Outcome(0, "", "")
        return [parse_image(found) for found in json.loads(outcome.stdout or "[]")]

    def _list(self, *filters: str) -> list[str]:
        argv = ["container", "ls", "--all", "--format", "{{.Names}}"]
        for item in filters:
            argv += ["--filter", item]
        return sorted(self._call(argv, kept=None).stdout.split())

    # --- doing ----------------------------------------------------------------------------------------------------------

    def exec(
        self,
        container: str,
        argv: t.Sequence[str],
        env: t.Mapping[str, str] | None = None,
        stdin_path: str | None = None,
        stdout_path: str | None = None,
        timeout: float | None = None,
        user: str = "",
    ) -> Outcome:
        """Run a program inside a running container and return what came of it, whatever its exit status.

        A program that outlives ``timeout`` goes on inside the container: the engine has no way to end it.
        """
        command = ["container", "exec"] + (["--interactive"] if stdin_path else []) + (["--user", user] if user else [])
        with environment_flags(env or {}) as (flags, client_env):
            command += flags + [container, *argv]
            return self._call(
                command, env=client_env, check=False, patience=None, stdin_path=stdin_path, stdout_path=stdout_path, timeout=timeout
            )

    def run(self, job: OneShot, timeout: float | None = None, **options: t.Any) -> Outcome:
        """Run a one-shot container to its end and remove it, also when it took too long or this side was interrupted.

        ``options``: what ``run_process`` knows of its output.
        """
        try:
            if job.further_networks:
                self._launch(["container", "create"], job)
                for network in job.further_networks:
                    self._call(["network", "connect", network, job.name])
                return self._call(["container", "start", "--attach", job.name], check=False, patience=None, timeout=timeout, **options)
            outcome = self._launch(["container", "run"], job, check=False, patience=None, timeout=timeout, **options)
            if outcome.rc == 125:
                _raise_engine_trouble(outcome)
                raise EngineError("The engine could not start a container of image '%s': %s" % (job.image, said_by(outcome)))
            return outcome
        finally:
            self.remove("container", job.name)

    def start(self, job: OneShot) -> Container:
        """Start a container that stays until ``remove``; one that does not start is gone again."""
        try:
            self._launch(["container", "run", "--detach", "--log-driver", "json-file"], job)
            return self.container(job.name)
        except BaseException:
            self.remove("container", job.name)
            raise

    def make_image(self, job: OneShot, name: str, files: t.Mapping[str, str]) -> None:
        """Keep as an image what a one-shot container wrote outside its volumes.

        :param files: ``{path in it: path on this host}`` of what is added once the program has ended.
        :raises EngineError: where the program failed, or the engine cannot keep it.
        """
        try:
            self._launch(["container", "create"], job)
            self._call(["container", "start", "--attach", job.name], patience=None)
            for inside, outside in files.items():
                self._call(["container", "cp", outside, "%s:%s" % (job.name, inside)])
            self._call(["container", "commit", "--change", "LABEL %s=%s" % (LABEL_SOURCE, job.image), job.name, name])
        finally:
            self.remove("container", job.name)

    def _launch(self, command: list[str], job: OneShot, **options: t.Any) -> Outcome:
        with environment_flags(job.env) as (flags, client_env):
            return self._call(command + flags + one_shot_flags(job), env=client_env, **options)

    def create_internal_network(self, name: str, labels: t.Mapping[str, str]) -> None:
        """A bridge network without a route to anywhere (https://docs.docker.com/reference/cli/docker/network/create/#internal)."""
        self._call(["network", "create", "--internal"] + label_flags(labels) + [name])

    def remove(self, kind: str, name: str) -> None:
        """Remove a container (with its anonymous volumes), a network or an image; silent where it is gone already.

        A network is waited for that a container is just leaving.
        """
        argv = ["container", "rm", "--force", "--volumes", name] if kind == "container" else [kind, "rm", name]
        deadline = time.monotonic() + _LEAVING_SECONDS
        while True:
            outcome = self._call(argv, check=False)
            said = outcome.stderr.lower()
            if outcome.rc == 0 or any(word in said for word in ("no such", "not found", "already in progress")):
                return
            if "active endpoints" not in said or time.monotonic() > deadline:
                _raise_engine_trouble(outcome)
                raise EngineError("The %s '%s' could not be removed: %s" % (kind, name, said_by(outcome)))
            time.sleep(0.2)

    def pull(self, name: str, seconds: float) -> str:
        """Have an image come from its registry, with whatever this user has logged in with; returns why it does not, or nothing."""
        outcome = self._call(["image", "pull", "--quiet", "--", name], check=False, patience=None, timeout=seconds)
        if outcome.timed_out:
            return "it did not come within %d s" % seconds
        if outcome.rc != 0:
            _raise_engine_trouble(outcome)
        return said_by(outcome) if outcome.rc else ""

    def tag(self, image_id: str, name: str) -> None:
        self._call(["image", "tag", image_id, name])

    def platform(self) -> str:
        """What programs this engine runs, such as ``linux/amd64``."""
        return self._call(["version", "--format", "{{.Server.Os}}/{{.Server.Arch}}"]).stdout.strip()

    def compose(self, argv: t.Sequence[str], seconds: float, env: t.Mapping[str, str] | None = None) -> Outcome:
        """``docker compose``, whatever its exit status.

        :raises EngineError: where it is not installed, or the engine fails.
        """
        outcome = self._call(["compose", *argv], env=env, check=False, kept=None, patience=None, timeout=seconds)
        if outcome.rc:
            _raise_engine_trouble(outcome)
        if outcome.rc and any(word in outcome.stderr for word in ("is not a docker command", "unknown flag: --project-name")):
            raise EngineError("Docker Compose is not installed on this host: install the package 'docker-compose-plugin' (version 2).")
        if outcome.timed_out:
            raise EngineError("'docker compose %s' did not end within %d s." % (" ".join(argv[-2:]), seconds))
        return outcome

    def restart(self, container: str, timeout: float = 120) -> None:
        outcome = self._call(["container", "restart", container], check=False, patience=timeout)
        if outcome.rc != 0:
            raise EngineError("Container '%s' did not restart: %s" % (container, said_by(outcome)))

    def _call(
        self,
        argv: t.Sequence[str],
        env: t.Mapping[str, str] | None = None,
        check: bool = True,
        kept: int | None = KEPT,
        patience: float | None = _PATIENCE,
        **options: t.Any,
    ) -> Outcome:
        """``patience``: how long the engine may take to answer; ``None`` for what lasts as long as a program does."""
        if patience is not None:
            options["timeout"] = patience
        try:
            outcome = self._execute([*self._base, *argv], env=env, kept=kept, **options)
        except FileNotFoundError:
            raise EngineError("The program 'docker' is not installed on this host, or not on the PATH of the SSH user.") from None
        if outcome.timed_out and patience is not None:
            raise EngineError(
                "The Docker engine has not answered for %d s: look at 'systemctl status docker' and the host's load." % patience
            )
        if check and outcome.rc != 0:
            _raise_failure(argv, outcome)
        return outcome


def _raise_engine_trouble(outcome: Outcome) -> None:
    text = outcome.stderr.lower()
    for sign, sentence in _ENGINE_TROUBLE:
        if sign in text:
            raise EngineError(sentence)


def _raise_failure(argv: t.Sequence[str], outcome: Outcome) -> t.NoReturn:
    _raise_engine_trouble(outcome)
    raise EngineError("docker %s %s failed: %s" % (argv[0], argv[1], said_by(outcome)))


#: What the client adds to the engine's sentence.
_CLIENT_WORDS = re.compile(r"^docker: (?=Error )|(?:Run|See) 'docker [^']* --help'[^.\n]*\.?|^Usage: .*", re.MULTILINE)


def said_by(outcome: Outcome) -> str:
    """The engine's own sentence, in one line."""
    return " ".join(_CLIENT_WORDS.sub("", outcome.stderr).split()) or "exit status %d" % outcome.rc
