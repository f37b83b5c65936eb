# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connection addresses: whatever an application may be given is read, or refused in a sentence that shows no secret."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbops.postgres.plugins.module_utils.backend._connection_url import (
    Place,
    UnreadableAddress,
    address_of_variables,
    looks_like_address,
    parse_address,
    secrets_in,
)

WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=0x3FF, exclude_categories=("Cs", "Cc", "Zs")), min_size=1, max_size=20)
HOSTS = st.from_regex(r"\A[a-z][a-z0-9.-]{0,20}\Z")
PORTS = st.integers(1, 65535)


@given(user=WORDS, password=WORDS, database=WORDS, host=HOSTS, port=PORTS)
def test_an_encoded_url_says_what_was_put_into_it(user: str, password: str, database: str, host: str, port: int) -> None:
    text = "postgresql://%s:%s@%s:%d/%s?sslmode=disable" % (quote(user, ""), quote(password, ""), host, port, quote(database, ""))
    found = parse_address(text)
    assert (found.user, found.password, found.database, found.sslmode) == (user, password, database, "disable")
    assert found.places == (Place(host, port),)
    assert {password, quote(password, "")} <= set(secrets_in(text))
    assert password not in found.masked() or password in "%s%s%dpostgresql://:********@/?sslmode=disable%s" % (user, host, port, database)


@given(user=WORDS, password=WORDS, database=WORDS, host=HOSTS)
def test_keywords_say_what_was_put_into_them(user: str, password: str, database: str, host: str) -> None:
    def quoted(word: str) -> str:
        return "'%s'" % word.replace("\\", "\\\\").replace("'", "\\'")

    text = "host=%s user=%s password = %s dbname=%s port=5433" % (host, quoted(user), quoted(password), quoted(database))
    found = parse_address(text)
    assert (found.user, found.password, found.database, found.places) == (user, password, database, (Place(host, 5433),))
    assert password in secrets_in(text)


@given(st.text(max_size=200))
def test_any_text_is_an_address_or_a_sentence(text: str) -> None:
    try:
        found = parse_address(text)
    except UnreadableAddress as error:
        assert str(error)
    else:
        assert all(0 < place.port < 65536 for place in found.places)


@given(user=HOSTS, password=WORDS)
def test_a_password_that_is_not_encoded_is_never_shown_and_is_known_as_a_secret(user: str, password: str) -> None:
    text = "postgresql://%s:x%sy@db:5432/chat" % (user, password)
    assert "x%sy" % password in secrets_in(text)
    try:
        parse_address(text)
    except UnreadableAddress as error:
        assert "x%sy" % password not in str(error)


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("postgres://u:p@db/chat", (Place("db"),)),
        ("postgres://u:p@[::1]:5433/chat", (Place("::1", 5433),)),
        ("postgres://u:p@one:5433,two/chat", (Place("one", 5433), Place("two"))),
        ("postgres://u:p@%2Fvar%2Frun%2Fpostgresql/chat", (Place("/var/run/postgresql"),)),
        ("postgres:///chat?host=/var/run/postgresql&port=5433", (Place("/var/run/postgresql", 5433),)),
        ("postgres:///chat?host=one,two", (Place("one"), Place("two"))),
        ("postgres://db/chat?port=6000", (Place("db", 6000),)),
        ("postgres:///chat", (Place(""),)),
        ("jdbc:postgresql://db:5433/chat?user=u&password=p", (Place("db", 5433),)),
        ("postgresql+asyncpg://u:p@db/chat", (Place("db"),)),
        ("host=one,two port=5433,5434 dbname=chat", (Place("one", 5433), Place("two", 5434))),
        ("hostaddr=10.0.0.1 dbname=chat", (Place("10.0.0.1"),)),
    ],
)
def test_where_an_address_leads(text: str, places: tuple[Place, ...]) -> None:
    found = parse_address(text)
    assert found.places == places
    assert found.database == "chat"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is empty"),
        ("  ", "it is empty"),
        ("'postgresql://u:p@db/chat'", "in quotes"),
        ("mysql://u:p@db/chat", "'mysql'"),
        ("postgresql://u:a/b@db:5432/chat", "percent-encoded"),
        ("postgresql://u:a@b@db/chat", "percent-encoded"),
        ("postgresql://u:a#b@db/chat", "percent-encoded"),
        ("postgresql://u:a?b@db/chat", "percent-encoded"),
        ("postgresql://u:100%@db/chat", "%25"),
        ("postgresql://u:p@db:port/chat", "no number"),
        ("postgresql://u:p@db:0/chat", "no number"),
        ("postgresql://u:p@db:70000/chat", "no number"),
        ("postgresql://u:p@[::1/chat", "not closed"),
        ("postgresql://u:p@::1/chat", "brackets"),
        ("postgresql://db/chat?sslmode", "'sslmode' has no value"),
        ("just some words", "neither an URL nor"),
        ("password='open", "not closed"),
        ("host=a,b,c port=1,2", "3 hosts and 2 ports"),
    ],
)
def test_what_is_no_address_is_said_in_a_sentence(text: str, words: str) -> None:
    with pytest.raises(UnreadableAddress, match=words):
        parse_address(text)


def test_without_a_database_the_user_names_it() -> None:
    assert parse_address("postgresql://chat@db").database_name == "chat"


def test_further_parameters_are_kept() -> None:
    found = parse_address("postgresql://u@db/chat?search_path=app&application_name=x")
    assert found.parameter("currentSchema", "search_path") == "app"
    assert found.parameter("options") == ""


def test_an_address_is_shown_without_its_password() -> None:
    assert (
        parse_address("postgresql://u:word@[::1]/chat?sslmode=require").masked()
        == "postgresql://u:********@[::1]:5432/chat?sslmode=require"
    )


def test_libpqs_variables_are_an_address_too() -> None:
    found = address_of_variables({"PGHOST": "db", "PGPASSWORD": "word", "PGUSER": "u", "PGSSLMODE": "disable"})
    assert found and (found.places, found.user, found.password, found.sslmode) == ((Place("db"),), "u", "word", "disable")
    assert address_of_variables({"PGPASSWORD": "word"}) is None


@pytest.mark.parametrize(
    ("text", "wanted"), [("postgres://x", True), ("postgresql+x://y", True), ("jdbc:postgresql://x", True), ("http://x", False)]
)
def test_addresses_are_recognised(text: str, wanted: bool) -> None:
    assert looks_like_address(text) is wanted


@pytest.mark.parametrize(
    ("place", "text"), [(Place("db"), "db:5432"), (Place("::1", 1), "[::1]:1"), (Place(""), "a local socket"), (Place("/run"), "/run:5432")]
)
def test_a_place_is_shown_as_it_is_written(place: Place, text: str) -> None:
    assert str(place) == text
