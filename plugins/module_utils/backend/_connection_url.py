# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connection addresses as applications are given them: an URL, libpq's keywords, or libpq's variables.

https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass
from urllib.parse import unquote

from ansible_collections.dbops.postgres.plugins.module_utils.text._redaction import passwords_in

#: Where PostgreSQL listens when nobody says otherwise.
DEFAULT_PORT = 5432

SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

#: ``postgresql+psycopg2`` is SQLAlchemy's, ``jdbc:`` Java's.
_SCHEME = re.compile(r"^(?:jdbc:)?postgres(?:ql)?(?:\+[a-z0-9_]+)?://", re.IGNORECASE)
_KEYWORD = re.compile(r"\s*([A-Za-z_]+)\s*=\s*")
_BROKEN_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")

#: libpq's variables (https://www.postgresql.org/docs/current/libpq-envars.html), by the keyword that they stand for.
_VARIABLES = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
}


class UnreadableAddress(ValueError):
    """The text is no connection address; the sentence says why and never shows the text, in which a password may stand."""


@dataclass(frozen=True)
class Place:
    """One host of an address: a name, an IP address, the folder of a socket (begins with ``/``), or empty for the default socket."""

    host: str
    port: int = DEFAULT_PORT

    @property
    def is_socket(self) -> bool:
        return not self.host or self.host.startswith(("/", "@"))

    def __str__(self) -> str:
        shown = "[%s]" % self.host if ":" in self.host else self.host
        return "a local socket" if not shown else "%s:%d" % (shown, self.port)


@dataclass(frozen=True)
class ConnectionAddress:
    """What an application connects to; ``parameters`` is whatever else the address says, such as ``search_path``."""

    places: tuple[Place, ...]
    user: str = ""
    password: str = ""
    database: str = ""
    sslmode: str = ""
    parameters: tuple[tuple[str, str], ...] = ()

    @property
    def database_name(self) -> str:
        """The database that is really asked for: without one, libpq takes the user's name."""
        return self.database or self.user

    def parameter(self, *names: str) -> str:
        """The first of these further parameters that is given, else an empty text."""
        known = dict(self.parameters)
        return next((known[name] for name in names if name in known), "")

    def masked(self) -> str:
        """As an URL, without the password."""
        user = self.user + (":********" if self.password else "") + "@" if self.user else ""
        query = "?sslmode=" + self.sslmode if self.sslmode else ""
        places = ",".join("" if place.is_socket else str(place) for place in self.places)
        return "postgresql://%s%s/%s%s" % (user, places, self.database, query)


def parse_address(text: str) -> ConnectionAddress:
    """:raises UnreadableAddress: where it is neither an URL nor keywords."""
    text = text.strip()
    if not text:
        raise UnreadableAddress("it is empty")
    if text[0] in "\"'" and text[-1:] == text[0]:
        raise UnreadableAddress("it stands in quotes, which are part of the value here")
    if _SCHEME.match(text):
        return _parse_url(_SCHEME.sub("", text, count=1))
    if "://" in text:
        scheme = text.partition("://")[0]
        raise UnreadableAddress(
            "its scheme is '%s', not 'postgresql'" % (scheme if re.fullmatch(r"[A-Za-z][A-Za-z0-9+.:-]{0,20}", scheme) else "?")
        )
    return _from_keywords(_parse_keywords(text))


def address_of_variables(env: t.Mapping[str, str]) -> ConnectionAddress | None:
    """What libpq's own variables say, ``None`` where they name neither a host nor a database."""
    given = {keyword: env[name] for keyword, name in _VARIABLES.items() if env.get(name)}
    return _from_keywords(given) if "host" in given or "dbname" in given else None


def looks_like_address(text: str) -> bool:
    return bool(_SCHEME.match(text.strip()))


def secrets_in(text: str) -> list[str]:
    """The passwords in a connection address, also in one that cannot be read because they are not encoded as they have to be."""
    found = passwords_in(text)
    _scheme, separator, rest = text.partition("://")
    userinfo, at, _host = rest.rpartition("@")
    if separator and at:
        found.append(userinfo.partition(":")[2])
    return [word for word in dict.fromkeys(found) if word]


def _parse_url(rest: str) -> ConnectionAddress:
    authority, path, query = _split(rest)
    userinfo, at, hosts = authority.rpartition("@")
    if "@" in userinfo or ("@" in path + query and not at):
        raise UnreadableAddress("a special character in its user or password is not percent-encoded ('@' is %40, '/' is %2F, '#' is %23)")
    for part in (userinfo, hosts, path, query):
        if _BROKEN_PERCENT.search(part):
            raise UnreadableAddress("it has a '%' that does not begin a percent-encoding ('%' itself is %25)")
    user, _colon, password = userinfo.partition(":")
    given = {"user": unquote(user), "password": unquote(password), "dbname": unquote(path)}
    for pair in filter(None, query.split("&")):
        name, equals, value = pair.partition("=")
        if not equals:
            raise UnreadableAddress("its parameter '%s' has no value" % unquote(name))
        given[unquote(name)] = unquote(value)
    places = tuple(_place(item) for item in hosts.split(","))
    address = _from_keywords({name: value for name, value in given.items() if value})
    return address if "host" in given or not hosts else _with_places(address, places, given.get("port", ""))


def _split(rest: str) -> tuple[str, str, str]:
    """Authority, path without its slash, and query. What follows ``#`` is no part of an address, as in any URL."""
    rest, hash_sign, after = rest.partition("#")
    if hash_sign and "@" in after:
        raise UnreadableAddress("a special character in its user or password is not percent-encoded ('@' is %40, '/' is %2F, '#' is %23)")
    rest, _question, query = rest.partition("?")
    authority, _slash, path = rest.partition("/")
    return authority, path, query


def _place(text: str) -> Place:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise UnreadableAddress("its IPv6 address is not closed by ']'")
        return Place(host, _port(rest[1:]))
    host, _colon, port = text.partition(":")
    if ":" in port:
        raise UnreadableAddress("an IPv6 address has to stand in brackets, such as [::1]")
    return Place(unquote(host), _port(port))


def _port(text: str) -> int:
    if not text:
        return DEFAULT_PORT
    if not re.fullmatch("[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise UnreadableAddress("its port is no number from 1 to 65535; a special character in the password has to be percent-encoded")
    return int(text)


def _with_places(address: ConnectionAddress, places: tuple[Place, ...], port: str) -> ConnectionAddress:
    if port:
        places = tuple(Place(place.host, _port(port)) for place in places)
    return ConnectionAddress(places, address.user, address.password, address.database, address.sslmode, address.parameters)


def _parse_keywords(text: str) -> dict[str, str]:
    given = {}
    position = 0
    while position < len(text):
        match = _KEYWORD.match(text, position)
        if not match:
            raise UnreadableAddress("it is neither an URL nor a list of libpq's keywords such as host=db dbname=chat")
        value, position = _keyword_value(text, match.end())
        given[match.group(1).lower()] = value
    return given


def _keyword_value(text: str, position: int) -> tuple[str, int]:
    """A value and where it ends: quoted with ``'`` or up to the next space; a backslash takes the next character as it is."""
    quoted = text[position : position + 1] == "'"
    position += quoted
    value = ""
    while position < len(text):
        sign = text[position]
        if sign == "\\" and position + 1 < len(text):
            position += 1
            sign = text[position]
        elif quoted and sign == "'":
            return value, _skip_space(text, position + 1)
        elif not quoted and sign.isspace():
            return value, _skip_space(text, position)
        value += sign
        position += 1
    if quoted:
        raise UnreadableAddress("a quote in it is not closed")
    return value, position


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _from_keywords(given: t.Mapping[str, str]) -> ConnectionAddress:
    hosts = (given.get("host") or given.get("hostaddr") or "").split(",")
    ports = given.get("port", "").split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    if len(ports) != len(hosts):
        raise UnreadableAddress("it has %d hosts and %d ports" % (len(hosts), len(ports)))
    known = ("host", "hostaddr", "port", "user", "password", "dbname", "sslmode")
    return ConnectionAddress(
        places=tuple(Place(host.strip(), _port(port.strip())) for host, port in zip(hosts, ports)),
        user=given.get("user", ""),
        password=given.get("password", ""),
        database=given.get("dbname", ""),
        sslmode=given.get("sslmode", ""),
        parameters=tuple(sorted((name, value) for name, value in given.items() if name not in known)),
    )
