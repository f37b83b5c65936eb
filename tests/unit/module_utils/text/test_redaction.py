# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No secret survives in any form in which it is usually written; everything else stays readable."""

from __future__ import annotations

import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.dbops.postgres.plugins.module_utils.text._redaction import MASK, SHORTEST, Redactor, passwords_in

#: Without the mask's own star: where a secret is made of stars, masked and unmasked look alike.
secrets = st.text(st.characters(blacklist_characters="*", blacklist_categories=("Cs",)), min_size=SHORTEST, max_size=30)
surroundings = st.text(st.characters(blacklist_characters="*", blacklist_categories=("Cs",)), max_size=20)


def knowing(*values: str) -> Redactor:
    redactor = Redactor()
    for value in values:
        redactor.add(value)
    return redactor


@settings(max_examples=150)
@given(secrets, surroundings, surroundings)
def test_no_form_of_a_secret_survives(secret: str, before: str, after: str) -> None:
    redactor = knowing(secret)
    forms = [
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
    ]
    for form in forms:
        assert form not in redactor.text(before + form + after)


@given(st.lists(secrets, min_size=1, max_size=4), surroundings)
def test_one_secret_inside_another_hides_both(values: list, between: str) -> None:
    redactor = knowing(*values)
    text = redactor.text(between.join(values) + between)
    assert not any(value in text for value in values)


@given(secrets)
def test_masking_twice_changes_nothing_more(secret: str) -> None:
    redactor = knowing(secret)
    once = redactor.text("before %s after" % secret)
    assert redactor.text(once) == once


def test_the_rest_of_a_message_stays_readable() -> None:
    assert knowing("hidden-word").text("password=hidden-word failed for user chat") == "password=%s failed for user chat" % MASK


@pytest.mark.parametrize("nothing", [None, "", "a", "ab"])
def test_what_is_too_short_to_hide_is_left_alone(nothing: str | None) -> None:
    redactor = Redactor()
    redactor.add(nothing)
    assert redactor.text("a cab") == "a cab"


def test_every_text_inside_data_is_masked_and_other_types_stay() -> None:
    data = {
        "msg": "x hidden-word y",
        "list": ["hidden-word", 1, None, True, 1.5],
        "tuple": ("hidden-word",),
        "hidden-word": {"deep": "hidden-word"},
    }
    assert knowing("hidden-word").data(data) == {
        "msg": "x %s y" % MASK,
        "list": [MASK, 1, None, True, 1.5],
        "tuple": [MASK],
        "hidden-word": {"deep": MASK},
    }


# --- learning secrets from a container's environment ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "POSTGRES_PASSWORD",
        "PGPASSWORD",
        "DB_PASS",
        "db_password",
        "APP_SECRET",
        "JWT_SECRET_KEY",
        "AUTH_TOKEN",
        "API_KEY",
        "APIKEY",
        "AWS_ACCESS_KEY_ID",
        "PRIVATE_KEY",
        "PASSWORD_SALT",
        "SIGNING_KEY",
        "CREDENTIALS",
    ],
)
def test_a_variable_with_a_telling_name_is_a_secret(name: str) -> None:
    redactor = Redactor()
    redactor.add_environment({name: "hidden-word"})
    assert redactor.text("x hidden-word") == "x " + MASK


@pytest.mark.parametrize("name", ["POSTGRES_PASSWORD_FILE", "POSTGRES_DB", "PATH", "LANG", "PORT"])
def test_a_harmless_variable_stays_readable(name: str) -> None:
    redactor = Redactor()
    redactor.add_environment({name: "/run/secrets/word"})
    assert redactor.text("cat /run/secrets/word") == "cat /run/secrets/word"


def test_a_password_inside_an_address_is_a_secret_whatever_the_name() -> None:
    redactor = Redactor()
    redactor.add_environment(
        {"DATABASE_URL": "postgresql://chat:p%40ss%2Fw%25rd@db:5432/chat?sslmode=disable", "DSN": "host=db password=hidden user=x"}
    )
    assert redactor.text("a p@ss/w%rd b p%40ss%2Fw%25rd c hidden") == f"a {MASK} b {MASK} c {MASK}"


@pytest.mark.parametrize(
    ("address", "password"),
    [
        ("postgresql://chat:hidden@db/chat", "hidden"),
        ("postgres://:hidden@db", "hidden"),
        ("redis://default:hidden@cache:6379/0", "hidden"),
        ("postgresql://chat:hid%20den@db/chat", "hid den"),
        ("host=db user=x password=hidden dbname=y", "hidden"),
        ("host=db PASSWORD = hidden", "hidden"),
        ("password='hid den' host=db", "hid den"),
        (r"password='a b\'c' host=db", "a b'c"),
        (r"password='a b\\' host=db", "a b\\"),
        ("jdbc:postgresql://db/chat?user=x&password=hidden&ssl=true", "hidden"),
        ("postgresql:///chat?host=db&password=hid%20den", "hid den"),
        ("Host=db;Password=hidden;Database=chat", "hidden"),
        ("Host=db;Password=hidden", "hidden"),
    ],
)
def test_the_password_in_an_address_is_found(address: str, password: str) -> None:
    assert password in passwords_in(address)


@pytest.mark.parametrize(
    "text", ["", "chat", "postgresql://db/chat", "postgresql://chat@db/chat", "http://[broken", "passwordless=1", "/var/lib/x"]
)
def test_no_password_is_made_up(text: str) -> None:
    assert passwords_in(text) == []


def test_libpq_allows_separators_inside_a_password() -> None:
    assert "a;b&c" in passwords_in("host=db password=a;b&c user=x")
