# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guard: the whole table of what may run where, the properties that must never break, and what a refusal says."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import (
    Evidence,
    Risk,
    Selection,
    consent_phrase,
    decide,
    doubts,
    require_one_environment,
    restore_command,
)
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import Refused
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import evidence

PROVED = evidence()


def passes(risk: Risk, seen: Evidence, confirm: str = "", check: bool = False, selection: Selection | None = None) -> bool:
    try:
        decide("reset", risk, seen, confirm, selection, check)
    except Refused:
        return False
    return True


# --- the table ------------------------------------------------------------------------------------------------------------

ENVIRONMENTS = ("production", "preview", "staging")
MARKERS = ("", "production", "preview", "staging")
PINS = ("", "1", "2")  # the server is "1"
NEIGHBOURS = ((), ("chat",))
CONFIRMS = ("", "reset:chat_preview", "restore:chat_preview", "reset:chat", "yes", "reset:chat_preview ")


def expected(risk: Risk, seen: Evidence, confirm: str, check: bool) -> bool:
    """The rules once more, in the order in which the design says them."""
    consent = confirm == "reset:" + seen.database
    wrong_server = seen.pinned_server_id not in ("", seen.server_id)
    disagreement = seen.marker not in ("", seen.environment)
    proved = (
        seen.environment != "production"
        and seen.marker == seen.environment
        and seen.pinned_server_id == seen.server_id
        and (not seen.production_databases or seen.shared_server)
    )
    if risk is Risk.READ:
        return True
    if wrong_server:
        return False
    if risk in (Risk.SAVE, Risk.ASIDE):
        return True
    if risk is Risk.MARK:
        return seen.environment in ("production", seen.marker) or consent or check
    if disagreement:
        return False
    return {Risk.FORWARD: True, Risk.OVERWRITE: proved or consent or check, Risk.DISPOSABLE: proved}[risk]


@pytest.mark.parametrize("risk", list(Risk), ids=lambda risk: risk.name)
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_combination_of_witnesses_is_decided_as_designed(risk: Risk, environment: str) -> None:
    decided = 0
    for marker, pin, neighbours, shared, confirm, check in itertools.product(
        MARKERS, PINS, NEIGHBOURS, (False, True), CONFIRMS, (False, True)
    ):
        seen = Evidence("chat-preview", "chat_preview", environment, marker, "1", pin, neighbours, shared)
        assert passes(risk, seen, confirm, check) == expected(risk, seen, confirm, check), (seen, confirm, check)
        decided += 1
    assert decided == 4 * 3 * 2 * 2 * 6 * 2


def test_every_risk_is_in_the_table() -> None:
    assert {risk.name for risk in Risk} == {"READ", "SAVE", "ASIDE", "FORWARD", "OVERWRITE", "DISPOSABLE", "MARK"}


# --- properties -----------------------------------------------------------------------------------------------------------

words = st.one_of(st.sampled_from(["", " ", "production", "Production", "preview", "staging", "1", "2"]), st.text(max_size=12))
witnesses = st.builds(
    Evidence,
    host=words,
    database=words,
    environment=words,
    marker=words,
    server_id=words,
    pinned_server_id=words,
    production_databases=st.lists(words, max_size=2).map(tuple),
    shared_server=st.booleans(),
)


@settings(max_examples=200)
@given(witnesses, words, st.booleans())
def test_disposable_never_passes_unless_every_witness_is_positive(seen: Evidence, confirm: str, check: bool) -> None:
    if passes(Risk.DISPOSABLE, seen, confirm, check):
        assert seen.environment.strip() and seen.environment.strip().lower() != "production"
        assert seen.marker == seen.environment
        assert seen.pinned_server_id and seen.pinned_server_id == seen.server_id
        assert seen.shared_server or not seen.production_databases


@settings(max_examples=200)
@given(witnesses, words)
def test_overwrite_never_passes_unproved_without_the_exact_consent(seen: Evidence, confirm: str) -> None:
    if passes(Risk.OVERWRITE, seen, confirm) and confirm != "reset:" + seen.database:
        assert passes(Risk.DISPOSABLE, seen)


@settings(max_examples=200)
@given(witnesses, words, st.booleans())
def test_nothing_that_writes_passes_on_another_server_than_the_pinned_one(seen: Evidence, confirm: str, check: bool) -> None:
    if seen.pinned_server_id and seen.pinned_server_id != seen.server_id:
        assert not any(passes(risk, seen, confirm, check) for risk in Risk if risk is not Risk.READ)


@given(witnesses)
def test_a_blank_environment_or_marker_is_never_an_agreement(seen: Evidence) -> None:
    for blank in ("", " ", "\t"):
        assert not passes(Risk.DISPOSABLE, replace(seen, environment=blank, marker=blank))
        assert not passes(Risk.OVERWRITE, replace(seen, environment=blank, marker=blank))


# --- what a refusal says --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "witness", "advice"),
    [
        ({"environment": "production", "marker": "production"}, "The inventory says", "dbops_environment"),
        ({"marker": ""}, "not marked", "ansible-playbook enroll.yml -l chat-preview"),
        ({"pinned_server_id": ""}, "pins no server", 'dbops_server_id: "7300000000000000001"'),
        ({"production_databases": ("chat", "shop")}, "'chat', 'shop', marked production", "dbops_shared_server"),
    ],
)
def test_a_refused_reset_names_the_witness_and_the_way_to_put_it_right(change: dict, witness: str, advice: str) -> None:
    with pytest.raises(Refused) as refused:
        decide("reset", Risk.DISPOSABLE, replace(PROVED, **change), "reset:chat_preview", None, False)
    assert witness in refused.value.message
    assert advice in refused.value.message
    assert refused.value.message.endswith("Nothing was touched.")


def test_every_doubt_is_told_at_once() -> None:
    seen = replace(PROVED, marker="", pinned_server_id="9", production_databases=("chat",))
    assert len(doubts(seen)) == 3


def test_a_proved_database_raises_no_doubt() -> None:
    assert doubts(PROVED) == []
    assert doubts(replace(PROVED, production_databases=("chat",), shared_server=True)) == []


def test_a_marker_that_contradicts_the_inventory_refuses_even_a_migration() -> None:
    with pytest.raises(Refused) as refused:
        decide("migrate", Risk.FORWARD, replace(PROVED, marker="production"), "migrate:chat_preview", None, False)
    assert "the inventory says 'preview'" in refused.value.message
    assert "marked 'production'" in refused.value.message


def test_another_server_is_named_by_both_identities() -> None:
    with pytest.raises(Refused, match=r"pins server 42 .* answers is 7300000000000000001"):
        decide("backup", Risk.SAVE, replace(PROVED, pinned_server_id="42"), "", None, False)


def test_missing_consent_tells_the_exact_words() -> None:
    with pytest.raises(Refused) as refused:
        decide("restore", Risk.OVERWRITE, replace(PROVED, environment="production", marker="", database="chat"), "", None, False)
    assert refused.value.message.endswith("Add: -e dbops_confirm=restore:chat")
    assert refused.value.details == {"confirm": "restore:chat"}


def test_consent_for_something_else_is_shown_and_does_not_count() -> None:
    with pytest.raises(Refused, match="What was given, 'restore:chat_preview', is for something else"):
        decide(
            "restore",
            Risk.OVERWRITE,
            replace(PROVED, environment="production", marker="", database="chat"),
            "restore:chat_preview",
            None,
            False,
        )


def test_consent_for_a_name_that_a_shell_would_split_is_quoted() -> None:
    with pytest.raises(Refused) as refused:
        decide("seed", Risk.OVERWRITE, replace(PROVED, environment="production", marker="", database="my db's"), "", None, False)
    assert refused.value.details == {"confirm": "seed:my db's"}
    assert "dbops_confirm=seed:my db's" not in refused.value.message


def test_enrolling_shows_the_identity_to_pin() -> None:
    with pytest.raises(Refused) as refused:
        decide("enroll", Risk.MARK, replace(PROVED, marker="", pinned_server_id=""), "", None, False)
    assert 'dbops_server_id: "7300000000000000001"' in refused.value.message
    assert "enroll:chat_preview" in refused.value.message


def test_the_way_back_carries_the_consent_that_it_needs() -> None:
    production = replace(PROVED, host="chat-production", database="chat", environment="production", marker="production")
    assert restore_command(production, "undo").endswith("-l chat-production -e dbops_restore_backup=undo -e dbops_confirm=restore:chat")
    assert "dbops_confirm" not in restore_command(PROVED, "undo")
    assert consent_phrase("restore", "chat") == "restore:chat"


# --- what was selected ----------------------------------------------------------------------------------------------------

EVERYTHING = [
    "",
    " ",
    ",",
    ":",
    " , ",
    "all",
    "*",
    "**",
    "all,",
    ":all",
    "a*",
    "*l",
    "*l*",
    "al?",
    "[a]ll",
    "?ll",
    "~.*",
    "~.",
    "~",
    "~^.*$",
    "production,all",
    "!preview",
    "&preview",
    "!all",
    "!preview:&production",
]
ONE = [
    "preview",
    "chat-preview",
    "preview,",
    " preview ",
    "chat-*",
    "preview:!chat-preview-2",
    "~chat-preview.*",
    "preview:&web",
    "chat-preview[0]",
    "allison",
    "small",
    "overall",
    "10.0.0.5",
    "fe80::1",
]


@pytest.mark.parametrize("limit", EVERYTHING)
@pytest.mark.parametrize("risk", [Risk.FORWARD, Risk.OVERWRITE, Risk.DISPOSABLE, Risk.MARK], ids=lambda risk: risk.name)
def test_a_limit_that_means_everything_is_refused(limit: str, risk: Risk) -> None:
    assert not passes(risk, PROVED, "reset:chat_preview", selection=Selection(limit, ("preview",)))


@pytest.mark.parametrize("limit", ONE)
@pytest.mark.parametrize("risk", [Risk.FORWARD, Risk.OVERWRITE, Risk.DISPOSABLE, Risk.MARK], ids=lambda risk: risk.name)
def test_a_limit_to_one_environment_is_taken(limit: str, risk: Risk) -> None:
    assert passes(risk, PROVED, "reset:chat_preview", selection=Selection(limit, ("preview", "preview")))


@pytest.mark.parametrize("limit", ["~al", "~a.*", "~^all$", "~(all)", "all[0:]", "all[:]", "~(", "~[", "all[0]"])
def test_a_clever_spelling_of_everything_is_refused(limit: str) -> None:
    assert not passes(Risk.DISPOSABLE, PROVED, selection=Selection(limit, ("preview",)))


@pytest.mark.parametrize("risk", [Risk.READ, Risk.SAVE, Risk.ASIDE], ids=lambda risk: risk.name)
def test_backups_and_reading_may_be_asked_of_everything(risk: Risk) -> None:
    assert passes(risk, PROVED, selection=Selection("all", ("preview", "production")))


@pytest.mark.parametrize("limit", ["preview", "production,preview", "all"])
def test_two_environments_in_one_run_are_refused_whatever_the_limit(limit: str) -> None:
    with pytest.raises(Refused, match="preview and production at once"):
        require_one_environment("migrate", PROVED, Selection(limit, ("production", "preview")))


def test_a_refused_selection_shows_the_line_to_type() -> None:
    with pytest.raises(Refused, match=r"ansible-playbook migrate\.yml -l preview"):
        require_one_environment("migrate", PROVED, Selection("", ("preview",)))
    with pytest.raises(Refused, match=r"ansible-playbook preview_reset\.yml -l preview"):
        require_one_environment("reset", PROVED, Selection("", ("preview",)))


def test_check_mode_does_not_lift_the_limit() -> None:
    assert not passes(Risk.FORWARD, PROVED, check=True, selection=Selection("", ("preview",)))
