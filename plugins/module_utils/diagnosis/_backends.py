# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks of the backends: their networks, their state, their images, their logs."""

from __future__ import annotations

import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._addresses import WHY, check_addresses, right_address, same_container
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._facts import (
    Facts,
    Finding,
    neighbours,
    up_line,
)
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import count_text


def check_env_files(facts: Facts) -> list[Finding]:
    """Files that cannot be read, say a thing twice, or read differently elsewhere."""
    found = []
    for branch in facts.branches:
        item = branch.file
        if item is None:
            continue
        looked = "the environment file of branch '%s'" % branch.name
        if item.trouble:
            found.append(
                Finding(
                    "env_file_trouble",
                    looked,
                    "'%s' %s." % (item.path, item.trouble),
                    "Its backend cannot be started anew, or starts without an address.",
                    (
                        "ls -ld '%s' '%s'" % (item.folder, item.path),
                        "# it needs the line:   PREVIEW_DATABASE_URL=%s" % right_address(branch, facts),
                    ),
                )
            )
        elif branch.several:
            found.append(
                Finding(
                    "env_file_trouble",
                    looked,
                    "'%s' gives %s %d different values; the last one counts."
                    % (item.path, branch.reads.variable if branch.reads else "a variable", len(branch.several)),
                    "Who reads the file takes the first one for the truth.",
                    ("grep -n -i _URL= '%s' | sed 's|//.*@|//...@|'" % item.path, "# leave one"),
                )
            )
        elif item.oddities:
            found.append(
                Finding(
                    "env_file_trouble",
                    looked,
                    "'%s' %s." % (item.path, "; ".join(item.oddities)),
                    "Compose reads it, other programs may not.",
                    ("sed -i 's/\\r$//' '%s'" % item.path,),
                )
            )
    return found


def check_strangers(facts: Facts) -> list[Finding]:
    """Seen from production: an environment file or a backend of something else that leads here."""
    if not facts.expected.is_production or facts.container is None:
        return []
    found = []
    for branch in facts.strangers:
        claim = branch.reads
        if claim and claim.address and same_container(claim.meant, facts.container):
            found.append(
                Finding(
                    "url_production",
                    "the environment files of the previews",
                    "%s in '%s' points at production: container '%s', database '%s'."
                    % (claim.variable, claim.owner, facts.container.name, claim.address.database_name),
                    WHY["url_production"],
                    (
                        "# put the preview's own address there, then, in the folder '%s':" % (branch.file.folder if branch.file else ""),
                        "docker compose up --detach --force-recreate",
                    ),
                )
            )
    return found


def check_names(facts: Facts) -> list[Finding]:
    """The name that a backend connects to is that of two containers: which of them answers changes from one connection to the next."""
    found = []
    seen = set()
    for branch in facts.branches:
        claim = branch.has
        if not claim or not claim.address or not branch.container or not facts.container:
            continue
        host = claim.address.places[0].host
        those = [item for item in neighbours(branch.container, facts.containers).get(host, []) if item.in_service]
        if len(those) < 2 or facts.container not in those or host in seen:
            continue
        seen.add(host)
        names = ["'%s' (Compose project '%s')" % (item.name, item.labels.get("com.docker.compose.project", "none")) for item in those]
        other = next(item for item in those if item != facts.container)
        network = next(place.network for place in other.endpoints if host in (other.name, *place.aliases))
        found.append(
            Finding(
                "name_twice",
                "which containers answer to the name '%s'" % host,
                "Two containers answer to '%s' on the backend's network: %s." % (host, " and ".join(names)),
                "Each connection goes to one of them by chance: data comes and goes.",
                (
                    "docker network disconnect %s %s   # the one that is not '%s'" % (network, other.name, facts.container.name),
                    "# or connect to '%s', a name that is there once" % facts.container.name,
                ),
            )
        )
    return found


def check_backends(facts: Facts) -> list[Finding]:
    """Do the backends run, and are they well?"""
    if facts.engine_trouble:
        return []
    found = []
    if facts.expected.backends and not facts.backends:
        found.append(
            Finding(
                "backend_missing",
                "the containers that dbops_backends names",
                "No container is called %s." % " or ".join("'%s'" % name for name in facts.expected.backends),
                "There is nothing whose address or log could be looked at.",
                ("docker ps --all --format '{{.Names}}'", "# check dbops_backends in the inventory"),
            )
        )
    stopped = [item for item in facts.backends if not item.in_service]
    if stopped:
        found.append(_stopped(stopped, facts))
    for item in facts.backends:
        log = facts.log(item.name)
        said = log.last_errors[-5:] or log.tail[-5:]
        looked = "container '%s' and its log" % item.name
        look = "docker logs --tail 50 %s" % item.name
        if item.out_of_memory or (item.exit_code == 137 and item.status == "restarting"):
            found.append(
                Finding(
                    "backend_out_of_memory",
                    looked,
                    "Backend '%s' was killed for want of memory." % item.name,
                    "It is cut off in the middle of its work, again and again.",
                    ("docker stats --no-stream", "# raise its limit (mem_limit in the Compose file)"),
                    said,
                )
            )
        elif item.status == "restarting" or (item.running and item.restarts >= 3 and item.health != "healthy"):
            found.append(
                Finding(
                    "backend_crash_loop",
                    looked,
                    "Backend '%s' crashes at every start: %d restarts, last exit status %d." % (item.name, item.restarts, item.exit_code),
                    "It serves nobody.",
                    (look, "# put right what its last lines say; then: docker restart " + item.name),
                    said,
                )
            )
        elif item.running and item.health == "unhealthy":
            found.append(
                Finding(
                    "backend_unhealthy",
                    looked,
                    "Backend '%s' does not pass its own health check%s." % (item.name, ": " + item.health_said if item.health_said else ""),
                    "It serves nobody, or not well.",
                    (look, "docker restart " + item.name),
                    said,
                )
            )
    return found


def _stopped(stopped: list[Container], facts: Facts) -> Finding:
    kind = "backend_stopped" if len(stopped) < len(facts.backends) and not facts.expected.is_production else "backends_stopped"
    names = ", ".join("'%s' (exit status %d)" % (item.name, item.exit_code) for item in stopped[:5])
    said = facts.log(stopped[0].name).last_errors[-4:] if stopped[0].exit_code else ()
    return Finding(
        kind,
        "the backends' containers",
        "%s not running: %s." % ("A backend is" if len(stopped) == 1 else "%d backends are" % len(stopped), names),
        "It serves nobody.",
        tuple(up_line(item) for item in stopped[:3]),
        said,
    )


def check_images(facts: Facts) -> list[Finding]:
    """Backends that share a database and come from different images may expect different schemas."""
    groups: dict[str, list[Container]] = {}
    for item in facts.backends:
        if item.in_service:
            groups.setdefault(item.image_id, []).append(item)
    if len(groups) < 2:
        return []
    parts = ["%s: %s" % (items[0].image, ", ".join(item.name for item in items[:4])) for items in groups.values()]
    return [
        Finding(
            "images_differ",
            "the images of the backends that share the database",
            "Backends of %d different images share database '%s' (%s)." % (len(groups), facts.database_name, "; ".join(parts)),
            "They may expect different schemas: what one branch migrates can break another. Only the newest one's migration was planned here.",
            (facts.playbook("migrate", "--check --diff", "-e dbops_runner_container=%s" % next(iter(groups.values()))[0].name),),
        )
    ]


def check_logs(facts: Facts) -> list[Finding]:
    """Error lines that nothing else here explains; the report leaves this out where something red was found."""
    found = []
    for name, log in sorted(facts.logs.items()):
        if log.errors:
            lines = tuple("%d x %s" % (group.count, group.last) for group in log.groups[:3])
            found.append(
                Finding(
                    "error_lines",
                    "the log of '%s'" % name,
                    "The log of '%s' has %s of %s." % (name, count_text(log.errors, "error line"), count_text(len(log.groups), "kind")),
                    "Nothing here explains them.",
                    ("docker logs --since 1h %s" % name,),
                    lines,
                )
            )
    return found


CHECKS: tuple[t.Callable[[Facts], list[Finding]], ...] = (
    check_addresses,
    check_env_files,
    check_strangers,
    check_names,
    check_backends,
    check_images,
    check_logs,
)
