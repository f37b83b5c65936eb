# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No secret survives in any form in which it is usually written; everything else stays readable."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import typing as t
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.dbops.postgres.plugins.module_utils.text._redaction import LONG, MASK, ORDINARY, Redactor, passwords_in

#: Without the mask's own star: where a secret is made of stars, masked and unmasked look alike.
secrets = st.text(st.characters(blacklist_characters="*", blacklist_categories=("Cs",)), min_size=LONG, max_size=30).filter(
    lambda secret: secret.lower() not in ORDINARY
)
#: How programs write a password down.
SPELLINGS: dict[str, t.Callable[[str], str]] = {
    "as it is": str,
    "percent": quote,
    "percent, all": lambda secret: quote(secret, safe=""),
    "percent, plus": quote_plus,
    "percent, small": lambda secret: re.sub("%[0-9A-F]{2}", lambda match: match.group().lower(), quote(secret)),
    "JSON": lambda secret: json.dumps(secret)[1:-1],
    "JSON, UTF-8": lambda secret: json.dumps(secret, ensure_ascii=False)[1:-1],
    "Python": lambda secret: repr(secret)[1:-1],
    "Python, ASCII": lambda secret: ascii(secret)[1:-1],
    "libpq": lambda secret: secret.replace("\\", "\\\\").replace("'", "\\'"),
    "SQL": lambda secret: secret.replace("'", "''"),
    "shell": lambda secret: secret.replace("'", "'\\''"),
    "shell, Python's": lambda secret: shlex.quote(secret)[1:-1] if shlex.quote(secret) != secret else secret,
    "HTML": html.escape,
    "HTML, text only": lambda secret: html.escape(secret, quote=False),
    "HTML, Go's": lambda secret: html.escape(secret).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
    "hex": lambda secret: secret.encode().hex(),
    "HEX": lambda secret: secret.encode().hex().upper(),
}

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
    for name, spell in SPELLINGS.items():
        form = spell(secret)
        assert form not in redactor.text(before + form + after), name


@given(secrets.filter(lambda secret: len(secret.encode()) >= 8), st.binary(max_size=5), st.binary(max_size=5))
def test_base64_of_something_longer_does_not_give_it_away(secret: str, before: bytes, after: bytes) -> None:
    for inside in (secret, quote(secret, safe="")):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(before + inside.encode() + after).decode()
            shown = knowing(secret).text("token " + encoded)
            assert encoded not in shown and MASK in shown


@pytest.mark.parametrize("secret", ["postgres", "Chat", "a", "ab", "password"])
def test_a_word_that_stands_elsewhere_too_is_masked_only_where_passwords_stand(secret: str) -> None:
    redactor = knowing(secret)
    redactor.ordinary("chat")
    plain = "a cab for postgres, database chat: password authentication failed"
    assert redactor.text(plain) == plain
    assert redactor.text(f"postgresql://postgres:{secret}@db/chat") == f"postgresql://postgres:{MASK}@db/chat"
    assert redactor.text(f"PASSWORD={secret} x") == f"PASSWORD={MASK} x"
    assert redactor.text(f"host=db password='{secret}'") == f"host=db password='{MASK}'"
    assert redactor.text(f"ALTER ROLE x PASSWORD '{secret}'") == f"ALTER ROLE x PASSWORD '{MASK}'"


def test_a_short_secret_is_masked_as_a_word_and_leaves_others_readable() -> None:
    assert knowing("a1b2").text("login a1b2, page a1b2c3") == f"login {MASK}, page a1b2c3"


def test_what_is_learned_later_counts_too() -> None:
    redactor = knowing("hidden-word")
    assert redactor.text("other-word") == "other-word"
    redactor.add("other-word")
    assert redactor.text("hidden-word other-word") == f"{MASK} {MASK}"


def test_many_secrets_in_a_long_text() -> None:
    redactor = knowing(*("se'cret-%d" % number for number in range(40)))
    line = "2026-11-26 LOG:  connection authorized: user=chat database=chat se'cret-7\n"
    assert redactor.text(line * 1000).count(MASK) == 1000


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
