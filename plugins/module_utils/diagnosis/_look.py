# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a diagnosis sees of the host: containers, their logs, disks, environment files, and which of the addresses in them work.

Everything here reads: containers are inspected, their logs read, and harmless readers run inside them.
"""

from __future__ import annotations

import os
import re
import typing as t
from fnmatch import fnmatchcase

from ansible_collections.dbops.postgres.plugins.module_utils.backend._connection_url import (
    ConnectionAddress,
    UnreadableAddress,
    address_of_variables,
    looks_like_address,
    parse_address,
    secrets_in,
)
from ansible_collections.dbops.postgres.plugins.module_utils.backend._env_file import EnvFile
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._bundle import clean
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._facts import (
    Branch,
    Claim,
    Disk,
    Expected,
    Facts,
    Tried,
    named,
    neighbours,
)
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._queries import try_address
from ansible_collections.dbops.postgres.plugins.module_utils.engine._docker import LABEL_RUN, Docker
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container
from ansible_collections.dbops.postgres.plugins.module_utils.operation._target import host_of
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Address
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, EngineError, Interrupted
from ansible_collections.dbops.postgres.plugins.module_utils.text._log_summary import summarise

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.text._redaction import Redactor

#: The newest so many lines of each log, and at most twice so many bytes of each stream: a log of a gigabyte is no more to us.
_LOG_LINES = 20000
_LOG_BYTES = 1024 * 1024

#: Seconds that a reader inside a container may take.
_READER_SECONDS = 15

#: A server that has not answered once is not asked again; and whatever the files say, so many attempts are enough.
_MOST_ATTEMPTS = 30

_DURATION = re.compile(r"^(?:\d+(?:\.\d+)?(?:ms|s|m|h))+$")
_DAYS = re.compile(r"^(\d+)d$")
_MOMENT = re.compile(r"^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:\d{2})?)?$")


def since_option(text: str) -> str:
    """A time as ``docker logs --since`` takes it (https://docs.docker.com/reference/cli/docker/container/logs/)."""
    text = text.strip()
    days = _DAYS.match(text)
    if days:
        return "%dh" % (int(days.group(1)) * 24)
    if _DURATION.match(text) or _MOMENT.match(text):
        return text.replace(" ", "T")
    raise DbopsError(
        "dbops_diagnose_since is '%s', which is no time: give how long ago (30m, 2h, 3d) or when (2026-11-24T03:00:00Z)." % text[:40]
    )


# --- containers -----------------------------------------------------------------------------------------------------------


def find_containers(facts: Facts, redactor: Redactor) -> None:
    """Which of the host's containers are the database's and the backends'; secrets in their environments become known."""
    expected = facts.expected
    for item in facts.containers:
        learn_secrets(item.env, redactor)
    facts.candidates = tuple(item for item in facts.containers if _is_candidate(item, expected))
    facts.container = facts.candidates[0] if len(facts.candidates) == 1 else None
    chosen = [item for item in facts.containers if _matches(item.name, expected.backends) and LABEL_RUN not in item.labels]
    facts.backends = tuple(sorted(chosen, key=lambda item: item.created))


def _is_candidate(item: Container, expected: Expected) -> bool:
    if expected.container:
        return item.name == expected.container or item.id.startswith(expected.container)
    labels = item.labels
    project, service = labels.get("com.docker.compose.project"), labels.get("com.docker.compose.service")
    return (project, service) == (expected.compose_project, expected.compose_service)


def _matches(name: str, patterns: t.Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def learn_secrets(env: t.Mapping[str, str], redactor: Redactor) -> None:
    """Secrets by a variable's name, and passwords in addresses, also in those that cannot be read."""
    redactor.add_environment(env)
    for text in env.values():
        for secret in secrets_in(text):
            redactor.add(secret)


def learn_secrets_of_files(files: t.Iterable[EnvFile], redactor: Redactor) -> None:
    """Of every line, also of those that a later line makes void."""
    for item in files:
        for name, text in item.pairs:
            learn_secrets({name: text}, redactor)


def read_logs(docker: Docker, facts: Facts, since: str, redactor: Redactor) -> dict[str, str]:
    """The logs of the database and of every backend since a time: summaries into the facts, texts (bounded) for the bundle.

    Of a container that does not run the last lines count, however old they are. Secrets are taken out first of all: in a line that
    is cut to its first characters half of one would not be recognised.
    """
    texts = {}
    for item in ([facts.container] if facts.container else []) + list(facts.backends):
        try:
            outcome = docker.read_log(item.id, since if item.in_service else "", _LOG_LINES if item.in_service else 200, _LOG_BYTES)
        except EngineError as error:
            facts.unseen.append("the log of '%s': %s" % (item.name, error.message))
            continue
        if outcome.rc != 0:
            facts.unseen.append("the log of '%s': %s" % (item.name, " ".join(outcome.stderr.split())[-200:]))
            continue
        texts[item.name] = clean("\n".join(part for part in (outcome.stdout, outcome.stderr) if part), redactor)
        facts.logs[item.name] = summarise(texts[item.name])
    return texts


# --- disks and ports ------------------------------------------------------------------------------------------------------


def read_disks(docker: Docker, facts: Facts, data_folder: str, backup_folder: str) -> None:
    """The file systems of the server's data and of the backups."""
    found = []
    item = facts.container
    if item and item.running:
        folder = data_folder or item.env.get("PGDATA", "/var/lib/postgresql/data")
        outcome = docker.exec(item.id, ["df", "-P", "-k", "--", folder], timeout=_READER_SECONDS)
        disk = parse_df(outcome.stdout, folder) if outcome.rc == 0 else None
        if disk:
            found.append(disk)
        else:
            facts.unseen.append(
                "the disk of container '%s': %s" % (item.name, " ".join(outcome.output.split())[-200:] or "df says nothing")
            )
    parent = next((path for path in _upwards(backup_folder) if os.path.isdir(path)), "/")
    space = os.statvfs(parent)
    found.append(Disk("the backups", parent, space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize))
    facts.disks = tuple(found)


def _upwards(path: str) -> t.Iterator[str]:
    while True:
        yield path
        if path == os.path.dirname(path):
            return
        path = os.path.dirname(path)


def parse_df(text: str, folder: str) -> Disk | None:
    """The second line of ``df -P -k``: device, kilobytes, used, available, percent, mount point."""
    lines = text.splitlines()
    columns = lines[-1].split() if len(lines) > 1 else []
    if len(columns) < 6 or not (columns[1].isdigit() and columns[3].isdigit()):
        return None
    return Disk("the server's data", folder, int(columns[1]) * 1024, int(columns[3]) * 1024)


def read_listening(docker: Docker, container: Container) -> tuple[int, ...] | None:
    """The TCP ports on which something listens inside a container, other than on its loopback; ``None`` where it cannot be seen."""
    outcome = docker.exec(container.id, ["cat", "/proc/net/tcp", "/proc/net/tcp6"], timeout=_READER_SECONDS)
    return parse_listening(outcome.stdout) if outcome.stdout else None


def parse_listening(text: str) -> tuple[int, ...]:
    """``/proc/net/tcp``: state 0A is LISTEN, addresses are in hexadecimal digits of little-endian words."""
    ports = set()
    for line in text.splitlines():
        columns = line.split()
        if len(columns) > 3 and columns[3] == "0A":
            address, _colon, port = columns[1].rpartition(":")
            if not address.endswith("7F") or len(address) != 8:
                ports.add(int(port, 16))
    return tuple(sorted(ports))


# --- who was told what ----------------------------------------------------------------------------------------------------


def find_branches(facts: Facts, files: t.Sequence[EnvFile], variables: t.Sequence[str]) -> None:
    """Bring together each backend's container and its environment file, and read the addresses in both."""
    left = list(files)
    branches = []
    for container in facts.backends:
        own = next((item for item in left if _belongs(item, container)), None)
        if own:
            left.remove(own)
        branches.append(_branch(container.name, container, own, variables, facts))
    others = [item for item in facts.containers if item not in facts.backends]
    strangers: list[Branch] = []
    for item in left:
        branch = _branch(os.path.basename(item.folder) or item.path, None, item, variables, facts)
        foreign = facts.expected.is_production or any(_belongs(item, other) for other in others)
        (strangers if foreign else branches).append(branch)
    facts.branches, facts.strangers = tuple(branches), tuple(strangers)


def _belongs(item: EnvFile, container: Container) -> bool:
    """By the folder that Compose noted, else by the folder's name at the end of the container's."""
    folder = container.labels.get("com.docker.compose.project.working_dir")
    if folder:
        return os.path.realpath(folder) == os.path.realpath(item.folder)
    name = os.path.basename(item.folder)
    return bool(name) and container.name.endswith("-" + name)


def _branch(name: str, container: Container | None, item: EnvFile | None, variables: t.Sequence[str], facts: Facts) -> Branch:
    has = reads = None
    several: tuple[str, ...] = ()
    if container:
        has = _located(_claim_of_container(container, variables), container, facts)
    if item and not item.trouble:
        reads, several = _claim_of_file(item, variables)
        reads = _located(reads, container or facts.container, facts)
    return Branch(name, container, item, has, reads, several)


def _claim_of_container(container: Container, variables: t.Sequence[str]) -> Claim:
    env = container.env
    chosen = next((name for name in variables if env.get(name)), "") or next(
        (name for name in sorted(env) if looks_like_address(env[name])), ""
    )
    if chosen:
        return _claim("container", container.name, chosen, env[chosen])
    address = address_of_variables(env)
    if address:
        return Claim("container", container.name, "PGHOST", address)
    return Claim("container", container.name, "", trouble="it has no variable %s" % " or ".join(variables))


def _claim_of_file(item: EnvFile, variables: t.Sequence[str]) -> tuple[Claim, tuple[str, ...]]:
    for name in variables:
        values = item.values(name)
        if values:
            different = tuple(dict.fromkeys(values))
            return _claim("file", item.path, name, values[-1]), different if len(different) > 1 else ()
    return Claim("file", item.path, "", trouble="it has no variable %s" % " or ".join(variables)), ()


def _claim(source: str, owner: str, variable: str, text: str) -> Claim:
    try:
        return Claim(source, owner, variable, parse_address(text))
    except UnreadableAddress as error:
        return Claim(source, owner, variable, trouble=str(error))


def _located(claim: Claim, user: Container | None, facts: Facts) -> Claim:
    """Which container the address means for the one who uses it."""
    address = claim.address
    if address is None or user is None or address.places[0].is_socket:
        return claim
    host = address.places[0].host
    near = neighbours(user, facts.containers).get(host, [])
    meant = facts.container if facts.container in near else near[0] if near else named(host, facts.containers)
    return Claim(claim.source, claim.owner, claim.variable, address, "", meant, bool(near))


def try_claims(facts: Facts, application: str) -> None:
    """Connect once with each different address, as far as its container runs: that is how a wrong password shows."""
    known: dict[t.Any, Tried] = {}
    silent: set[str] = set()

    def tried(claim: Claim | None) -> Claim | None:
        if not claim or not claim.address or not claim.meant or not claim.meant.running or claim.meant.id in silent:
            return claim
        key = _key(claim.address, claim.meant)
        if key not in known and len(known) < _MOST_ATTEMPTS:
            known[key] = _try(claim.address, claim.meant, application)
            if known[key].kind == "silent":
                silent.add(claim.meant.id)
        return Claim(**dict(vars(claim), tried=known.get(key)))

    def both(branches: tuple[Branch, ...]) -> tuple[Branch, ...]:
        return tuple(Branch(**dict(vars(branch), has=tried(branch.has), reads=tried(branch.reads))) for branch in branches)

    facts.branches, facts.strangers = both(facts.branches), both(facts.strangers)


def _key(address: ConnectionAddress, container: Container) -> tuple[t.Any, ...]:
    return container.id, address.places[0].port, address.user, address.password, address.database_name


def _try(address: ConnectionAddress, container: Container, application: str) -> Tried:
    try:
        host = host_of(container)
    except Interrupted:
        raise
    except DbopsError as error:
        return Tried(error.message)
    return try_address(Address(host, address.places[0].port, address.user, address.password), address.database_name, application)
