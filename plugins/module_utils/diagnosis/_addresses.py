# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks of the addresses that backends have for the database: what each says, and what it should say."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.backend._connection_url import SSLMODES, ConnectionAddress
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._facts import (
    Branch,
    Claim,
    Facts,
    Finding,
    up_line,
)
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import count_text

WHY = {
    "url_production": "Whatever a preview branch does, its migrations and seeds too, it does to production.",
    "url_unreadable": "The backend cannot make sense of it, or connects to something else than is meant.",
    "url_missing": "The backend does not know which database to use.",
    "url_wrong_host": "The backend reaches nothing, or another server's data.",
    "url_wrong_port": "The backend reaches nothing on that port.",
    "url_wrong_database": "The backend shows another database's data, or is refused.",
    "url_wrong_user": "The server refuses the backend.",
    "url_wrong_password": "The server refuses the backend.",
    "url_wrong_sslmode": "The backend and the server do not agree on encryption, so no connection is made.",
    "network_apart": "Names and addresses only work between containers of one network: the backend cannot find the database.",
    "address_elsewhere": "It leads out of Docker, where this cannot look.",
}


#: Where one address has several faults, the one to put right first.
_ADDRESS_KINDS = tuple(WHY)


#: SSL modes with which nothing is sent in the clear.
_NEEDS_SSL = ("require", "verify-ca", "verify-full")


@dataclass(frozen=True)
class Fault:
    """What is wrong with one address; ``words`` follow the address's owner in a sentence."""

    kind: str
    words: str


def fault_of(claim: Claim, facts: Facts) -> Fault | None:
    """The first thing that is wrong with an address, ``None`` where nothing is known to be."""
    address = claim.address
    if address is None:
        kind = "url_unreadable" if claim.variable else "url_missing"
        return Fault(kind, "cannot be read: %s" % claim.trouble if claim.variable else "is missing: %s" % claim.trouble)
    checks = (_production, _host, _port, _database, _user, _password, _sslmode)
    return next((fault for fault in (check(claim, address, facts) for check in checks) if fault), None)


def same_container(one: Container | None, other: Container | None) -> bool:
    return one is not None and other is not None and one.id == other.id


def _production(claim: Claim, address: ConnectionAddress, facts: Facts) -> Fault | None:
    if facts.expected.is_production:
        return None
    name, database = claim.meant.name if claim.meant else address.places[0].host, address.database_name
    marked = (
        claim.tried is not None
        and not claim.tried.refusal
        and claim.tried.marker == "production"
        and not same_container(claim.meant, facts.container)
    )
    for known in facts.expected.productions:
        if name == known.container and (known.database == database or not same_container(claim.meant, facts.container)):
            return Fault(
                "url_production",
                "points at production: container '%s', database '%s' (host '%s' of the inventory)" % (name, database, known.host),
            )
    if marked:
        return Fault("url_production", "points at production: database '%s' in container '%s' is marked so" % (database, name))
    return None


def _host(claim: Claim, address: ConnectionAddress, facts: Facts) -> Fault | None:
    wanted, place = facts.container, address.places[0]
    if wanted is None or (same_container(claim.meant, wanted) and claim.reachable):
        return None
    if place.is_socket or place.host in ("localhost", "127.0.0.1", "::1"):
        return Fault(
            "url_wrong_host",
            "has the host '%s', which inside a container means that container itself, not '%s'"
            % (place.host or "a local socket", wanted.name),
        )
    if same_container(claim.meant, wanted):
        return Fault("network_apart", "names '%s', which is on no network that it is on" % place.host)
    if claim.meant is not None and claim.reachable:
        return Fault("url_wrong_host", "has the host '%s', which is container '%s', not '%s'" % (place.host, claim.meant.name, wanted.name))
    if "." in place.host and not place.host.replace(".", "").isdigit():
        return Fault("address_elsewhere", "has the host '%s', which is no container of this host" % place.host)
    return Fault("url_wrong_host", "has the host '%s', a name that no container on its networks has: it does not resolve" % place.host)


def _port(_claim: Claim, address: ConnectionAddress, facts: Facts) -> Fault | None:
    port = address.places[0].port
    listening = facts.listening if facts.listening is not None else (facts.expected.port,)
    if port == facts.expected.port or port in listening:
        return None
    return Fault("url_wrong_port", "has the port %d, not %d" % (port, facts.expected.port))


def _database(_claim: Claim, address: ConnectionAddress, facts: Facts) -> Fault | None:
    name = address.database_name
    if name == facts.database_name:
        return None
    known = facts.server.database(name) if facts.server else None
    there = "" if not facts.server else ", which exists as well" if known else ", which does not exist"
    return Fault("url_wrong_database", "has the database '%s'%s, not '%s'" % (name, there, facts.database_name))


def _user(claim: Claim, address: ConnectionAddress, facts: Facts) -> Fault | None:
    refused = claim.tried.kind if claim.tried else ""
    if facts.server and facts.server.roles and address.user not in facts.server.roles:
        return Fault("url_wrong_user", "has the user '%s', and the server has no such role" % address.user)
    if facts.server and facts.server.roles.get(address.user) is False:
        return Fault("url_wrong_user", "has the user '%s', a role that may not log in" % address.user)
    return (
        Fault(
            "url_wrong_user", "has the user '%s', whom the server refuses: %s" % (address.user, claim.tried.refusal if claim.tried else "")
        )
        if refused in ("role", "right")
        else None
    )


def _password(claim: Claim, address: ConnectionAddress, _facts: Facts) -> Fault | None:
    if claim.tried and claim.tried.kind == "password":
        return Fault(
            "url_wrong_password",
            "has a password of user '%s' that is not the server's" % address.user
            if address.password
            else "has no password, and the server asks for one",
        )
    return None


def _sslmode(claim: Claim, address: ConnectionAddress, facts: Facts) -> Fault | None:
    mode = address.sslmode
    if mode and mode not in SSLMODES:
        return Fault("url_wrong_sslmode", "has the sslmode '%s', which there is not (%s)" % (mode, ", ".join(SSLMODES)))
    if facts.server and not facts.server.ssl and mode in _NEEDS_SSL:
        return Fault("url_wrong_sslmode", "has sslmode=%s, and the server has no SSL" % mode)
    if facts.server and not facts.server.ssl and not mode and facts.log(claim.owner).mentions("SSL is not enabled"):
        return Fault("url_wrong_sslmode", "has no sslmode, which the backend's driver takes for 'require', and the server has no SSL")
    return None


def check_addresses(facts: Facts) -> list[Finding]:
    """Every backend's address, as its container has it and as its file has it; the same fault of several is one finding."""
    if facts.container is None:
        return []
    found: dict[str, list[tuple[Branch, Fault, str]]] = {}
    for branch in facts.branches:
        has = fault_of(branch.has, facts) if branch.has else None
        reads = fault_of(branch.reads, facts) if branch.reads else None
        if has and reads and has == reads:
            found.setdefault(has.kind, []).append((branch, has, "both"))
            continue
        if has:
            found.setdefault(has.kind, []).append((branch, has, "container"))
        if reads and (branch.container is None or has):
            found.setdefault(reads.kind, []).append((branch, reads, "file"))
        elif reads:
            found.setdefault("env_file_differs", []).append((branch, reads, "file"))
    return [_address_finding(kind, found[kind], facts) for kind in (*_ADDRESS_KINDS, "env_file_differs") if kind in found]


def _address_finding(kind: str, those: list[tuple[Branch, Fault, str]], facts: Facts) -> Finding:
    sentences, do = [], []
    for branch, fault, where in those:
        sentences.append("%s %s%s." % (_owner(branch, where), fault.words, _in_file_too(branch, where)))
    if kind == "network_apart":
        do += [_network_line(branch.container, facts) for branch, _fault, _where in those[:3] if branch.container]
    else:
        for branch, _fault, where in those[:3]:
            do += _mending(branch, where, facts)
    why = "It runs on its old environment: after the next start it fails." if kind == "env_file_differs" else WHY[kind]
    looked = "the address that every backend has (docker inspect) and every environment file, against the inventory"
    return Finding(
        kind,
        looked,
        " ".join(sentences[:4]) + (" And %s more." % count_text(len(sentences) - 4, "backend") if len(sentences) > 4 else ""),
        why,
        tuple(dict.fromkeys(do)),
    )


def _owner(branch: Branch, where: str) -> str:
    in_file = where == "file" or branch.container is None
    claim = branch.reads if in_file else branch.has
    variable = claim.variable if claim and claim.variable else "The database's address"
    if in_file and branch.file:
        return "%s in '%s'" % (variable, branch.file.path)
    return "%s of backend '%s'" % (variable, branch.name)


def _in_file_too(branch: Branch, where: str) -> str:
    if where == "both" and branch.file:
        return " (and so in '%s')" % branch.file.path
    if where == "container" and branch.file and not branch.file.trouble:
        return "; '%s' says otherwise: it was edited, and the container was not made anew" % branch.file.path
    return ""


def right_address(branch: Branch, facts: Facts) -> str:
    """What ought to stand there, without the password."""
    given = (branch.has and branch.has.address) or (branch.reads and branch.reads.address)
    roles = facts.server.roles if facts.server else {}
    user = given.user if given and given.user and (not roles or given.user in roles) else facts.user
    mode = "?sslmode=disable" if facts.server is None or not facts.server.ssl else "?sslmode=require"
    name = facts.container.name if facts.container else facts.expected.named
    return "postgresql://%s:<password>@%s:%d/%s%s" % (user, name, facts.expected.port, facts.database_name, mode)


def _mending(branch: Branch, where: str, facts: Facts) -> list[str]:
    """Put the file right (where it is wrong), then make the container anew: a restart keeps the old environment."""
    variable = next((claim.variable for claim in (branch.has, branch.reads) if claim and claim.variable), "PREVIEW_DATABASE_URL")
    lines = []
    if where != "container" or not branch.file:
        place = "'%s'" % branch.file.path if branch.file else "the backend's environment (its Compose file)"
        lines.append("# in %s, the password percent-encoded:" % place)
        lines.append("#   %s=%s" % (variable, right_address(branch, facts)))
    if branch.container:
        lines.append(up_line(branch.container, "--force-recreate"))
    return lines


def _network_line(container: Container, facts: Facts) -> str:
    wanted = facts.container
    network = wanted.endpoints[0].network if wanted and wanted.endpoints else "NETWORK"
    return "docker network connect %s %s   # and put it under 'networks' of its Compose file" % (network, container.name)
