# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a module's documentation says is what its code takes: options, examples and results."""

from __future__ import annotations

import importlib
import importlib.util
import types
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.dbops.postgres.plugins.doc_fragments.target import ModuleDocFragment
from ansible_collections.dbops.postgres.plugins.module_utils import _module
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk

ROOT = Path(__file__).resolve().parents[3]
NAMES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
SHARED: dict[str, t.Any] = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]

#: Which operation each module is to the lock, the journal and the consent, and what it can do.
EXPECTED = {
    "backup": ("backup", Risk.SAVE),
    "backup_copy": ("copy_backups", Risk.ASIDE),
    "backup_info": ("backup_info", Risk.READ),
    "backup_prune": ("prune_backups", Risk.SAVE),
    "backup_verify": ("verify_backups", Risk.ASIDE),
    "database_diagnosis": ("diagnose", Risk.READ),
    "database_info": ("info", Risk.READ),
    "database_marker": ("enroll", Risk.MARK),
    "database_reset": ("reset", Risk.DISPOSABLE),
    "database_status": ("status", Risk.READ),
    "deployment": ("deploy", Risk.FORWARD),
    "migration": ("migrate", Risk.FORWARD),
    "migration_info": ("migration_info", Risk.READ),
    "migration_plan": ("plan", Risk.ASIDE),
    "migration_rehearsal": ("rehearse", Risk.ASIDE),
    "operation_progress": ("progress", Risk.READ),
    "preview_branch_info": ("preview_status", Risk.READ),
    "recollation": ("recollate", Risk.FORWARD),
    "restore": ("restore", Risk.OVERWRITE),
    "schedule": ("schedule", Risk.ASIDE),
    "seed": ("seed", Risk.OVERWRITE),
}


def module_of(name: str) -> types.ModuleType:
    return importlib.import_module("ansible_collections.dbops.postgres.plugins.modules." + name)


class Recorder:
    """Stands for ``DbopsModule`` and remembers what a module's ``main`` asked for."""

    made: dict[str, t.Any] = {}

    def __init__(self, operation: str, risk: Risk, argument_spec: dict[str, t.Any] | None = None, **options: t.Any) -> None:
        type(self).made = {"operation": operation, "risk": risk, "spec": argument_spec or {}, "further": options}

    def run(self, work: t.Callable[..., t.Any]) -> None:
        type(self).made["work"] = work

    examine = run


@pytest.fixture(params=NAMES)
def module(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """A module: its file, its documentation, and what its ``main`` hands to the shared face."""
    found = module_of(request.param)
    monkeypatch.setattr(found, "DbopsModule", Recorder)
    found.main()
    documentation = yaml.safe_load(found.DOCUMENTATION)
    return types.SimpleNamespace(name=request.param, file=found, options=own_options(documentation), **Recorder.made)


def own_options(documentation: dict[str, t.Any]) -> dict[str, t.Any]:
    """Those that are documented in the module, and those of fragments that not every module has."""
    found = dict(documentation.get("options") or {})
    for name in documentation["extends_documentation_fragment"]:
        if name.rpartition(".")[2] not in ("target", "attributes"):
            fragment = importlib.import_module("ansible_collections.dbops.postgres.plugins.doc_fragments." + name.rpartition(".")[2])
            found.update(yaml.safe_load(fragment.ModuleDocFragment.DOCUMENTATION)["options"])
    return found


def described(option: dict[str, t.Any]) -> dict[str, t.Any]:
    """An option of the documentation as an argument specification would say it."""
    kept = {key: option[key] for key in ("type", "elements", "required", "default", "choices") if key in option}
    if "suboptions" in option:
        kept["options"] = {name: described(inner) for name, inner in option["suboptions"].items()}
    return kept


def specified(option: dict[str, t.Any]) -> dict[str, t.Any]:
    """The same of an argument specification."""
    kept = {key: option[key] for key in ("type", "elements", "required", "default", "choices") if key in option}
    if "options" in option:
        kept["options"] = {name: specified(inner) for name, inner in option["options"].items()}
    return kept


# --- options --------------------------------------------------------------------------------------------------------------


def test_documented_options_are_the_accepted_ones(module: types.SimpleNamespace) -> None:
    assert {name: described(option) for name, option in module.options.items()} == {
        name: specified(option) for name, option in module.spec.items()
    }


def test_documented_shared_options_are_the_accepted_ones() -> None:
    assert {name: described(option) for name, option in SHARED.items()} == {
        name: specified(option) for name, option in _module.TARGET_ARGSPEC.items()
    }


def test_a_modules_own_options_do_not_hide_shared_ones(module: types.SimpleNamespace) -> None:
    assert not set(module.spec) & set(_module.TARGET_ARGSPEC)


def test_a_default_has_the_type_that_it_says(module: types.SimpleNamespace) -> None:
    types_of = {"str": str, "int": int, "float": float, "bool": bool, "list": list, "path": str, "dict": dict}
    for name, option in {**module.spec, **_module.TARGET_ARGSPEC}.items():
        if "default" in option:
            assert option["default"].__class__ is types_of[option["type"]], name  # bool is an int to isinstance
            assert "required" not in option, name
        if "choices" in option:
            assert option["default"] in option["choices"], name


def test_every_list_says_what_is_in_it(module: types.SimpleNamespace) -> None:
    assert all("elements" in option for option in module.spec.values() if option["type"] == "list")


def test_only_the_password_is_a_secret_option() -> None:
    secret = [name for name, option in _module.TARGET_ARGSPEC.items() if option.get("no_log")]
    assert secret == ["password"]


def test_every_module_is_the_operation_and_the_risk_that_it_has_to_be(module: types.SimpleNamespace) -> None:
    assert (module.operation, module.risk) == EXPECTED[module.name]
    assert callable(module.work)
    assert module.further == {}  # the shared face alone says what goes with what


def test_every_module_is_in_that_table() -> None:
    assert list(EXPECTED) == NAMES


# --- examples -------------------------------------------------------------------------------------------------------------


def test_examples_use_only_documented_options_and_all_required_ones(module: types.SimpleNamespace) -> None:
    known = {**SHARED, **module.options}
    required = {name for name, option in known.items() if option.get("required")}
    used = 0
    for task in yaml.safe_load(module.file.EXAMPLES):
        assert task["name"][0].isupper()
        arguments = task.get("dbops.postgres." + module.name)
        if arguments is None:
            continue
        used += 1
        assert set(arguments) <= set(known), task["name"]
        assert required <= set(arguments), task["name"]
        assert "container" in arguments or {"compose_project", "compose_service"} <= set(arguments)
        for name, value in arguments.items():
            assert value in known[name].get("choices", [value])
    assert used


def test_consent_in_an_example_is_for_that_operation_on_that_database(module: types.SimpleNamespace) -> None:
    for task in yaml.safe_load(module.file.EXAMPLES):
        arguments = task.get("dbops.postgres." + module.name) or {}
        if "confirm" in arguments:
            assert arguments["confirm"] == "%s:%s" % (module.operation, arguments["database"])


# --- results --------------------------------------------------------------------------------------------------------------


def test_results_are_described_with_their_types(module: types.SimpleNamespace) -> None:
    results = yaml.safe_load(module.file.RETURN)
    assert {"summary", "operation"} <= set(results)
    for name, result in results.items():
        assert result["description"] and result["returned"], name
        assert result["type"] in ("str", "int", "float", "bool", "list", "dict"), name
        assert result["type"] != "list" or "elements" in result, name
    assert results["operation"]["returned"] == "always"
    assert results["operation"]["sample"]["operation"] == module.operation


def test_what_every_module_returns_is_described_from_one_source(capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("generate_returned", ROOT / "docs" / "generate_returned.py")
    assert spec and spec.loader
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    assert generator.main(["--check"]) == 0, capsys.readouterr().out
    text = (ROOT / "plugins" / "modules" / "seed.py").read_text(encoding="utf-8")
    stale = text.replace("What was done, in a few lines", "What happened, in a few lines")
    assert stale != text == generator.with_blocks(stale, "seed")
