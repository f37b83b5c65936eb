# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stage `package`: the tarball holds what users need and nothing else, Galaxy would take it, and its playbooks stand alone."""

from __future__ import annotations

import re
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path

from machine import CACHE, ROOT, files
from stages import Finished, Judge, Stage, Verdict, bad, exits_zero, ok

FOLDER = CACHE / "test" / "package"

#: Public content: all that a playbook may need when it runs.
CONTENT = ("meta", "plugins", "roles", "playbooks", "scripts")
#: The rest of what users get.
BESIDE = (
    "README.md",
    "README.ja.md",
    "CONTRIBUTING.md",
    "CONTRIBUTING.ja.md",
    "CODE_OF_CONDUCT.md",
    "MAINTAINERS",
    "SECURITY.md",
    "bindep.txt",
    "execution-environment.yml",
    "LICENSE",
    "CHANGELOG.md",
    "CHANGELOG.rst",
    "changelogs",
    "docs",
    "inventories/example",
)
#: What `ansible-galaxy collection build` adds.
MADE = ("MANIFEST.json", "FILES.json")
#: The checkout's own files inside those folders.
KEPT_BACK = ("playbooks/ansible.cfg",)


def check(stage: Stage) -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    # Built in the checkout, as people do, so that what lies about there would show in the tarball.
    built = stage.check(
        "ansible-galaxy collection build", ["ansible-galaxy", "collection", "build", "--output-path", str(FOLDER)], _one_tarball
    )
    if not built:
        return
    tarball = next(FOLDER.glob("*.tar.gz"))
    with tarfile.open(tarball) as archive:
        names = [member.name for member in archive.getmembers() if member.isfile()]
    stage.record("content of the tarball", judge_content(names, files()))
    _importer(stage, tarball)
    _stands_alone(stage, tarball)
    _execution_environment(stage, tarball)


def judge_content(packed: Iterable[str], own: Iterable[str]) -> Verdict:
    """The tarball must hold exactly those of the checkout's own files that users need."""
    packed = set(packed) - set(MADE)
    wanted = {name for name in own if _is_in(name, CONTENT + BESIDE)} - set(KEPT_BACK)
    surplus, missing = sorted(packed - wanted), sorted(wanted - packed)
    if surplus or missing or not wanted:
        return bad(
            "not what users need", details="\n".join([f"surplus: {name}" for name in surplus] + [f"missing: {name}" for name in missing])
        )
    return ok(f"{len(packed)} files")


def _is_in(name: str, places: Iterable[str]) -> bool:
    return any(name == place or name.startswith(f"{place}/") for place in places)


def _one_tarball(done: Finished) -> Verdict:
    tarballs = list(FOLDER.glob("*.tar.gz"))
    if done.code != 0 or len(tarballs) != 1:
        return bad(f"exit code {done.code}, {len(tarballs)} tarballs")
    return ok(f"{tarballs[0].name}, {tarballs[0].stat().st_size // 1024} KiB")


def _importer(stage: Stage, tarball: Path) -> None:
    """What Galaxy runs on an upload. Its own ansible-test step is off: stage `sanity` runs all of it."""
    config = FOLDER / "galaxy-importer.cfg"
    config.write_text("[galaxy-importer]\nRUN_ANSIBLE_TEST = False\nRUN_FLAKE8 = False\nCHECK_REQUIRED_TAGS = True\n")
    stage.check(
        "galaxy-importer",
        ["python", "-m", "galaxy_importer.main", str(tarball)],
        judge_importer(len(files("plugins/modules/*.py")), len(files("roles/*/meta/argument_specs.yml"))),
        cwd=FOLDER,
        env={"GALAXY_IMPORTER_CONFIG": str(config)},
    )


#: It looks for a role's description in the metadata of stand-alone roles, which the roles of a collection do not have.
_HARMLESS = "WARNING: Could not get role description, no role metadata found"


def judge_importer(modules: int, roles: int) -> Judge:
    """It ends with "successfully" whatever it has seen, so its complaints are counted, and the content that it has loaded."""

    def judge(done: Finished) -> Verdict:
        complaints = [line for line in done.output.splitlines() if re.match(r"(WARNING|ERROR|CRITICAL):", line) and line != _HARMLESS]
        if done.code != 0 or "Importer processing completed successfully" not in done.output:
            return bad(f"exit code {done.code}")
        if complaints:
            return bad(f"{len(complaints)} complaints", details="\n".join(complaints))
        loaded = (len(re.findall(r"Loading module ", done.output)), len(re.findall(r"Loading role ", done.output)))
        if loaded != (modules, roles) or not modules or not roles:
            return bad(f"loaded {loaded[0]} of {modules} modules and {loaded[1]} of {roles} roles")
        return ok(f"{modules} modules, {roles} roles")

    return judge


def _execution_environment(stage: Stage, tarball: Path) -> None:
    """ansible-builder takes the definition, and finds in the installed collection what it needs. No image is built: that would need a registry."""
    context = FOLDER / "execution-environment"
    stage.check(
        "ansible-builder create",
        [
            "ansible-builder",
            "create",
            "--file",
            str(ROOT / "execution-environment.yml"),
            "--context",
            str(context),
            "--output-filename",
            "Containerfile",
        ],
        lambda done: exits_zero("a Containerfile")(done) if (context / "Containerfile").is_file() else bad("no Containerfile"),
        cwd=FOLDER,
    )
    place = FOLDER / "for-builder"
    with tarfile.open(tarball) as archive:
        archive.extractall(place / "ansible_collections" / "dbops" / "postgres", filter="data")
    stage.check("ansible-builder introspect", ["ansible-builder", "introspect", str(place)], judge_introspection, cwd=FOLDER)


def judge_introspection(done: Finished) -> Verdict:
    """It ends well also where it has found nothing."""
    wanted = [
        line.partition("#")[0].strip() for name in ("meta/ee-python.txt", "bindep.txt") for line in (ROOT / name).read_text().splitlines()
    ]
    missing = [line for line in wanted if line and line not in done.output]
    if done.code != 0 or missing:
        return bad(f"exit code {done.code}", details="\n".join(f"missing: {line}" for line in missing))
    return ok(f"{len([line for line in wanted if line])} needs found")


def _stands_alone(stage: Stage, tarball: Path) -> None:
    """Install the tarball, delete all but the public content, and let Ansible load every playbook by its full name."""
    place = FOLDER / "installed"
    installed = place / "ansible_collections" / "dbops" / "postgres"
    # Not where the checkout itself is installed: there, it would be found and nothing installed.
    paths = {"ANSIBLE_COLLECTIONS_PATH": str(place)}
    if not stage.check(
        "ansible-galaxy collection install",
        ["ansible-galaxy", "collection", "install", "--offline", "--no-deps", "--collections-path", str(place), str(tarball)],
        lambda done: ok(tarball.name) if done.code == 0 and installed.is_dir() else bad(f"exit code {done.code}, and not installed"),
        cwd=FOLDER,
        env=paths,
    ):
        return
    for path in installed.iterdir():
        if path.name not in (*CONTENT, "MANIFEST.json"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    playbooks = [Path(name).stem for name in files("playbooks/*.yml")]
    if not playbooks:
        stage.record("playbooks by full name", bad("there are no playbooks"))
    for name in playbooks:
        stage.check(
            f"dbops.postgres.{name}",
            ["ansible-playbook", "--syntax-check", "-i", "localhost,", f"dbops.postgres.{name}"],
            exits_zero("loads from the public content alone"),
            cwd=FOLDER,
            env=paths,
        )
