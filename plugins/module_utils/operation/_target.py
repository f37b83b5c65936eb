# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The shared options of all modules, turned into what they stand for: container, image, address, credentials, backends."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.backend._branches import branches_of, choose
from ansible_collections.dbops.postgres.plugins.module_utils.engine._docker import Docker
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container, require_running
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Address
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.text._redaction import Redactor


@dataclass(frozen=True)
class TargetOptions:
    """The shared options as given; see the documentation fragment ``target`` for each."""

    database: str
    container: str = ""
    compose_project: str = ""
    compose_service: str = ""
    user: str = ""
    password: str = ""
    port: int = 5432
    maintenance_database: str = "postgres"
    backends: tuple[str, ...] = ()
    runner_container: str = ""
    branch: str = ""
    branch_label: str = ""


@dataclass(frozen=True)
class Target:
    """One database: where it runs and how it is reached. ``no_branch``: why there is no backend of the branch that was named."""

    database: str
    maintenance_database: str
    container: Container
    address: Address
    backends: tuple[Container, ...]
    runner_container: str = ""
    no_branch: str = ""

    def backend(self) -> Container:
        """The backend container whose image and environment the migration runner uses: the named one, else the newest.

        :raises DbopsError: where there is none.
        """
        if self.no_branch:
            raise DbopsError(self.no_branch)
        if self.runner_container:
            for container in self.backends:
                if container.name == self.runner_container:
                    return container
            raise DbopsError(
                "Backend container '%s' (dbops_runner_container) is not among the backends of this database: %s."
                % (self.runner_container, ", ".join(container.name for container in self.backends) or "none found")
            )
        if not self.backends:
            raise DbopsError(
                "No backend container of database '%s' was found: deploy the backend first, or check dbops_backends." % self.database
            )
        return self.backends[-1]


def resolve(docker: Docker, options: TargetOptions, redactor: Redactor) -> Target:
    """Find the containers and the credentials. Secrets that are seen on the way are told to ``redactor``."""
    redactor.add(options.password)
    container = require_running(_database_container(docker, options))
    redactor.add_environment(container.env)
    address = address_of(docker, options, container)
    redactor.add(address.password)
    redactor.ordinary(address.user, options.database, options.maintenance_database, container.name)
    backends = tuple(docker.matching(options.backends)) if options.backends else ()
    for backend in backends:
        redactor.add_environment(backend.env)
    runner_container, no_branch = options.runner_container, ""
    if options.branch:
        try:
            runner_container = choose(branches_of(backends, options.backends, options.branch_label), options.branch).container.name
        except DbopsError as error:  # only who needs a backend has to hear of it
            no_branch = error.message
    return Target(options.database, options.maintenance_database, container, address, backends, runner_container, no_branch)


def address_of(docker: Docker, options: TargetOptions, container: Container) -> Address:
    """Where the server in a container listens, and the credentials: the given ones, else the container's own."""
    return Address(
        host=host_of(container),
        port=options.port,
        user=options.user or _container_secret(docker, container, "POSTGRES_USER") or "postgres",
        password=options.password or _container_secret(docker, container, "POSTGRES_PASSWORD"),
    )


def _database_container(docker: Docker, options: TargetOptions) -> Container:
    if options.container:
        return docker.container(options.container)
    return docker.service(options.compose_project, options.compose_service)


def host_of(container: Container) -> str:
    """The address under which this host reaches a container."""
    for endpoint in container.endpoints:
        if endpoint.network == "host":
            return "127.0.0.1"
        if endpoint.address:
            return endpoint.address
    raise DbopsError("Container '%s' has no address: connect it to a Docker network." % container.name)


def _container_secret(docker: Docker, container: Container, name: str) -> str:
    """A variable of the official image, or the contents of the file that ``<name>_FILE`` names
    (https://hub.docker.com/_/postgres, "Docker Secrets")."""
    if name in container.env:
        return container.env[name]
    path = container.env.get(name + "_FILE")
    if not path:
        return ""
    outcome = docker.exec(container.id, ["cat", path])
    if outcome.rc != 0:
        raise DbopsError(
            "Container '%s' names the file '%s' for %s, which cannot be read there: %s"
            % (container.name, path, name, outcome.stderr.strip())
        )
    return outcome.stdout.rstrip("\r\n")
