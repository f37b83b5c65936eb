# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was found of many databases, for a person: one line each for the terminal, worst first, and the facts of each. Pure.

Runs on the controller. What it is given came over the network: whatever cannot be printed is taken out of it.
"""

from __future__ import annotations

import textwrap
import typing as t
import unicodedata

from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import count_text, duration_text, size_text

LIGHTS = ("green", "yellow", "red")

#: A terminal of 120 columns, less what Ansible indents.
WIDTH = 112

#: So many databases have all their facts below the table; of more, only what is the matter.
IN_FULL = 3

#: Nobody plans a disk for longer.
_FAR_DAYS = 3650

_MOST_HOST = 26
_HEAD = ("STATUS", "HOST", "VERSION", "SIZE", "CONN", "BACKUP", "WHAT IS THE MATTER")

Row = t.Dict[str, t.Any]


def overview(results: t.Mapping[str, t.Mapping[str, t.Any] | None], fail_on: str) -> dict[str, t.Any]:
    """Everything that role and page show.

    :param results: ``{host: what the module returned}``; ``None`` for a host that was not looked at, and what Ansible itself says of
        a host that it could not reach.
    :param fail_on: ``red``, ``yellow`` or ``never``.
    :return: ``light``, ``counts`` by light, ``headline``, ``rows`` (worst first), ``text``, ``failing`` (hosts) and ``stats``.
    """
    rows = sorted((_row(host, result) for host, result in results.items()), key=lambda row: (-LIGHTS.index(row["light"]), row["host"]))
    counts = {light: sum(row["light"] == light for row in rows) for light in reversed(LIGHTS)}
    threshold = LIGHTS.index(fail_on) if fail_on in LIGHTS else len(LIGHTS)
    headline = "%s: %s" % (
        count_text(len(rows), "database"),
        ", ".join("%d %s" % (number, light) for light, number in counts.items() if number) or "none",
    )
    return {
        "light": rows[0]["light"] if rows else "green",
        "counts": counts,
        "headline": headline,
        "rows": rows,
        "text": "\n".join([headline, "", *table(rows), *_below(rows)]) + "\n",
        "failing": [row["host"] for row in rows if LIGHTS.index(row["light"]) >= threshold],
        "stats": {row["host"]: {"operation": "status", "light": row["light"], "summary": row["sentence"]} for row in rows},
    }


# --- one database ---------------------------------------------------------------------------------------------------------


def _row(host: str, result: t.Mapping[str, t.Any] | None) -> Row:
    result = clean(result or {})
    if result.get("light") not in LIGHTS:
        finding = _not_looked_at(host, result)
        return dict(
            dict.fromkeys(("version", "size", "connections", "backup", "figures"), ""),
            host=clean(host),
            light="red",
            sentence=finding["sentence"],
            findings=[finding],
            facts=[],
            history=[],
        )
    state = result["state"]
    findings = result["findings"]
    running = state.get("running")
    version = (state.get("server") or {}).get("version", "").split(" ")[0]
    size = _known(state.get("size"), size_text)
    return {
        "host": clean(host),
        "light": result["light"],
        "version": version,
        "size": size,
        "figures": ", ".join(word for word in (version, size) if word),
        "connections": _known(state.get("connections"), lambda found: "%d/%d" % (found["used"], found["limit"])),
        "backup": _age_of_backup(state.get("backups")),
        "sentence": findings[0]["sentence"] if findings else _running(running) if running else "",
        "findings": findings,
        "facts": facts(state),
        "history": (state.get("backups") or {}).get("history") or [],
    }


def _not_looked_at(host: str, result: t.Mapping[str, t.Any]) -> dict[str, str]:
    said = " ".join(str(result.get("msg", "")).split())
    if result.get("unreachable"):
        return {
            "check": "ssh",
            "light": "red",
            "sentence": "The host could not be reached: %s" % (said or "Ansible does not say why."),
            "command": "ansible %s -m ansible.builtin.ping" % host,
        }
    return {
        "check": "look",
        "light": "red",
        "sentence": "It could not be looked at: %s" % (said or "see the messages above."),
        "command": "",
    }


def facts(state: t.Mapping[str, t.Any]) -> list[list[str]]:
    """``[label, text]`` of all that is known of a database; of what there is nothing, that is said in one of them."""
    known = [[label, text] for label, tell in _FACTS for text in [tell(state)] if text]
    nothing = [label.lower() for label, text in known if text == "none"]
    return [fact for fact in known if fact[1] != "none"] + ([["None", ", ".join(nothing)]] if nothing else [])


def _known(value: t.Any, tell: t.Callable[[t.Any], str], otherwise: str = "") -> str:
    return otherwise if value is None else tell(value)


def _list(items: t.Sequence[t.Any], tell: t.Callable[[t.Any], str], most: int = 4) -> str:
    shown = [tell(item) for item in items[:most]]
    return "; ".join(shown + (["%d more" % (len(items) - most)] if len(items) > most else [])) or "none"


def _server(state: t.Mapping[str, t.Any]) -> str:
    place, server = state["place"], state.get("server")
    known = "PostgreSQL %s" % server["version"] if server else "not reached"
    up = ", up %s" % duration_text(state["uptime"]) if state.get("uptime") is not None else ""
    return "%s%s, container '%s', database '%s'" % (known, up, place["container"], place["database"])


def _environment(state: t.Mapping[str, t.Any]) -> str:
    evidence = state.get("evidence")
    if not evidence:
        return str(state["place"]["environment"])
    marked = "marked '%s'" % evidence["marker"] if evidence["marker"] else "not marked"
    pinned = "pinned" if evidence["server_id"] == evidence["pinned_server_id"] else "not pinned"
    return "%s, %s, server %s (%s)" % (evidence["environment"], marked, evidence["server_id"], pinned)


def _size(state: t.Mapping[str, t.Any]) -> str:
    growth = (state.get("backups") or {}).get("growth")
    grows = "growth unknown (it takes two backups, a day apart)" if growth is None else _growth(growth)
    return _known(state.get("size"), lambda size: "%s, %s" % (size_text(size), grows))


def _growth(growth: float) -> str:
    return "%s by %s a day" % ("grows" if growth > 0 else "shrinks", size_text(abs(growth))) if round(growth) else "does not grow"


def _disk(state: t.Mapping[str, t.Any]) -> str:
    if state.get("free") is None:
        return "unknown" if state.get("server") else ""
    days = state.get("days_left")
    left = "" if days is None or days > _FAR_DAYS else ", full in %s at the present growth" % duration_text(days * 86400)
    return "%s of %s free%s" % (size_text(state["free"]), size_text(state["volume"]), left)


def _last_migration(state: t.Mapping[str, t.Any]) -> str:
    last = state.get("last_migration")
    if not last:
        return "none in the journal"
    return "%s by %s from %s, image '%s'" % (last["finished"], last["operator"] or "?", last["controller"] or "?", last["image"])


def _pending(state: t.Mapping[str, t.Any]) -> str:
    pending = state["pending"]
    if pending["state"] == "pending":
        return count_text(pending["statements"], "statement")
    if pending["state"] == "none":
        return "none (says the journal)" if pending["source"] == "journal" else "none (tried in a sandbox)"
    return "not known" + (", see above" if pending["trouble"] else "")


def _age_of_backup(backups: t.Mapping[str, t.Any] | None) -> str:
    return _known(backups, lambda found: duration_text(found["age"]) if found["count"] else "none")


def _backups(state: t.Mapping[str, t.Any]) -> str:
    backups = state.get("backups")
    if not backups:
        return ""
    due = "; the next is due %s" % backups["due"] if backups["due"] else ""
    if not backups["count"]:
        return "none"
    return "%d, the newest '%s' %s old, %s, verified when it was made%s; proved: %s; copies elsewhere: %s; kept: %s" % (
        backups["count"],
        backups["newest"],
        duration_text(backups["age"]),
        size_text(backups["size"]),
        due,
        _proved(backups),
        _elsewhere(backups),
        backups.get("retention") or "all, no dbops_retention",
    )


def _elsewhere(backups: t.Mapping[str, t.Any]) -> str:
    if not backups["offsite"]:
        return "none"
    which = "the newest" if backups["offsite"] == backups["newest"] else "up to '%s'" % backups["offsite"]
    return "%s, since %s" % (which, backups["offsite_at"])


def _proved(backups: t.Mapping[str, t.Any]) -> str:
    if backups["proof_trouble"]:
        return "the newest is not"
    if not backups["proved"]:
        return "none"
    which = "the newest" if backups["proved"] == backups["newest"] else "'%s'" % backups["proved"]
    return "%s, %s, restored in %s" % (which, backups["proved_at"], duration_text(backups["restore_seconds"] or 0))


def _running(holder: t.Mapping[str, t.Any]) -> str:
    return "%s by %s from %s runs since %s, phase '%s'" % (
        holder["operation"],
        holder["operator"] or "?",
        holder["controller"] or "?",
        holder["since"],
        holder["phase"] or "starting",
    )


def _transaction(found: t.Mapping[str, t.Any]) -> str:
    return "%s, process %d, '%s' of '%s'" % (duration_text(found["seconds"]), found["pid"], found["application"], found["user"])


def _ages(state: t.Mapping[str, t.Any]) -> str:
    return ", ".join("%s %d %%" % (age["kind"], 100 * age["age"] / 2**31) for age in state["ages"])


def _sequence(item: t.Mapping[str, t.Any]) -> str:
    return "%s %d %%" % (item["name"], 100 * item["last"] / max(1, item["limit"]))


def _backend(item: t.Mapping[str, t.Any]) -> str:
    health = ", " + item["health"] if item["health"] else ""
    restarts = ", " + count_text(item["restarts"], "restart") if item["restarts"] else ""
    return "'%s' (%s) %s%s%s" % (item["name"], item["image"], item["status"], health, restarts)


def _collation(state: t.Mapping[str, t.Any]) -> str:
    return _known(state.get("collations"), lambda found: found["actual"] or "without a version")


def _reached(label: str, tell: t.Callable[[t.Mapping[str, t.Any]], str]) -> tuple[str, t.Callable[[t.Mapping[str, t.Any]], str]]:
    """Only where the server was reached: else an empty list would say that there is none."""
    return label, lambda state: tell(state) if state.get("server") else ""


_FACTS: tuple[tuple[str, t.Callable[[t.Mapping[str, t.Any]], str]], ...] = (
    ("Server", _server),
    ("Environment", _environment),
    ("Size", _size),
    ("Disk", _disk),
    ("Connections", lambda state: _known(state["connections"], lambda item: "%d of %d (%s)" % (item["used"], item["limit"], item["by"]))),
    ("Schema", lambda state: state["schema"][:12]),
    ("Last migration", _last_migration),
    ("Pending migration", _pending),
    ("Backups", _backups),
    _reached("Running operation", lambda state: _known(state["running"], _running, "none")),
    _reached("Longest transaction", lambda state: _known(state["transaction"], _transaction, "none")),
    _reached("Waiting for locks", lambda state: count_text(len(state["waits"]), "session") if state["waits"] else "none"),
    _reached("Replication slots", lambda state: _list(state["slots"], lambda item: "'%s' %s" % (item["name"], size_text(item["held"])))),
    _reached("Wraparound", _ages),
    _reached("Fullest sequence", lambda state: _sequence(state["sequences"][0]) if state["sequences"] else "none"),
    _reached("Invalid indexes", lambda state: _list(state["invalid_indexes"], str)),
    _reached("Tables to vacuum", lambda state: _list(state["unvacuumed"], lambda item: item["name"])),
    _reached("Kept databases", lambda state: _list(state["kept"], lambda item: "'%s' (%s)" % (item["name"], size_text(item["size"])))),
    _reached("Backends", lambda state: _list(state["backends"], _backend)),
    _reached("Collation version", _collation),
)


# --- for the terminal -----------------------------------------------------------------------------------------------------


def table(rows: t.Sequence[Row], width: int = WIDTH) -> list[str]:
    """The heading and one line a database, none wider than ``width``."""
    cells = [_HEAD[:-1], *map(_cells, rows)]
    widths = [max(columns_of(line[index]) for line in cells) for index in range(len(cells[0]))]
    room = width - sum(widths) - 2 * len(widths)
    lines = []
    for line, (what, more) in zip(cells, [(_HEAD[-1], ""), *map(_matter, rows)]):
        figures = [cell + " " * (size - columns_of(cell)) for cell, size in zip(line, widths)]
        lines.append("  ".join([*figures, cut(what, room - columns_of(more)) + more]).rstrip())
    return lines


def _cells(row: Row) -> tuple[str, ...]:
    light = row["light"].upper() if row["light"] == "red" else row["light"]
    return light, cut(row["host"], _MOST_HOST), cut(row["version"], 9), row["size"], row["connections"], row["backup"]


def _matter(row: Row) -> tuple[str, str]:
    """The worst sentence, and how many more there are."""
    further = len(row["findings"]) - 1
    return row["sentence"], " (+%d)" % further if further > 0 else ""


def _below(rows: t.Sequence[Row]) -> list[str]:
    lines = []
    for row in rows:
        in_full = len(rows) <= IN_FULL
        if not row["findings"] and not in_full:
            continue
        lines += ["", "%s: %s" % (row["host"], row["light"])]
        for finding in row["findings"]:
            lines += wrapped("  %-6s  " % finding["light"], finding["sentence"])
            lines += ["          $ " + finding["command"]] if finding["command"] else []
            lines += wrapped("          ", finding["detail"]) if finding.get("detail") else []
        lines += [line for label, text in row["facts"] for line in wrapped("  %-18s  " % label, text)] if in_full else []
    return lines


def wrapped(lead: str, text: str, width: int = WIDTH) -> list[str]:
    """A text behind a lead, its further lines below its first; words are never cut."""
    return textwrap.wrap(
        text, width, initial_indent=lead, subsequent_indent=" " * len(lead), break_long_words=False, break_on_hyphens=False
    ) or [lead.rstrip()]


def columns_of(text: str) -> int:
    """How many columns a text takes: East Asian characters two, combining ones none (https://www.unicode.org/reports/tr11/)."""
    return sum(0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def cut(text: str, columns: int) -> str:
    if columns_of(text) <= columns:
        return text
    while text and columns_of(text) > columns - 1:
        text = text[:-1]
    return text.rstrip() + "…"


def clean(value: t.Any) -> t.Any:
    """The same without line breaks and whatever else would act on a terminal; JSON types."""
    if isinstance(value, str):
        return "".join(char if char.isprintable() else " " for char in value)
    if isinstance(value, t.Mapping):
        return {str(key): clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item) for item in value]
    return value
