# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many of 200 seeded damages a proof finds, beside what `pg_restore --list` finds of the same, and `psql <` of the like in a plain file."""

from __future__ import annotations

from typing import Any

from controller import Controller
from stack import Server, Stack, command

DAMAGES = 200
PLAIN_DAMAGES = 40

#: Runs on the target: one damage to a backup's folder, by kind and seed. It prints what it has done.
_DAMAGE = r"""
import hashlib, json, os, random, sys
folder, kind, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
draw = random.Random(seed)
dump = os.path.join(folder, "dump")
names = sorted(os.listdir(dump))
name = draw.choice(names)
path = os.path.join(dump, name)
whole = open(path, "rb").read()
place = draw.randrange(max(1, len(whole)))
manifest = os.path.join(folder, "manifest.json")

def write(contents):
    open(path, "wb").write(contents)

def seal(change):
    facts = json.load(open(manifest))
    facts.pop("seal")
    change(facts)
    for entry in facts["files"]:
        contents = open(os.path.join(folder, entry["path"]), "rb").read()
        entry.update(size=len(contents), sha256=hashlib.sha256(contents).hexdigest())
    facts["seal"] = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    json.dump(facts, open(manifest, "w"))

def fewer_rows(facts):
    table = draw.choice([table for table in facts["tables"] if table["rows"]])
    table["rows"] -= 1

if kind == "truncated":
    write(whole[:place])
elif kind == "flipped bit":
    write(whole[:place] + bytes([whole[place] ^ (1 << draw.randrange(8))]) + whole[place + 1:])
elif kind == "swapped":
    other = os.path.join(dump, draw.choice([n for n in names if open(os.path.join(dump, n), "rb").read() != whole]))
    os.rename(path, path + ".new"); os.rename(other, path); os.rename(path + ".new", other)
elif kind == "missing":
    os.unlink(path)
elif kind == "emptied":
    write(b"")
elif kind == "zeroed block":
    size = min(512, len(whole))
    place = draw.randrange(len(whole) - size + 1)
    write(whole[:place] + bytes(size) + whole[place + size:])
    if whole[place:place + size] == bytes(size): write(whole[:-1])
elif kind == "link":
    os.rename(path, os.path.join(folder, "..", "moved-" + name)); os.symlink(os.path.join(folder, "..", "moved-" + name), path)
elif kind == "edited manifest":
    text = open(manifest).read()
    place = draw.randrange(len(text))
    open(manifest, "w").write(text[:place] + ("8" if text[place] != "8" else "9") + text[place + 1:])
elif kind == "sealed again":
    seal(fewer_rows)
elif kind == "rows exchanged":
    import shutil
    shutil.rmtree(dump)
    shutil.copytree(os.path.join(folder, "..", ".tampered", "dump"), dump)
    listed = [os.path.join("dump", n) for n in sorted(os.listdir(dump))] + ["schema.json"]
    seal(lambda facts: facts.update(files=[{"path": n} for n in listed]))
"""

KINDS = (
    *("truncated", "flipped bit", "swapped", "missing", "emptied", "zeroed block", "link"),
    *("edited manifest", "sealed again", "rows exchanged"),
)

#: Damages of a plain file, of which nothing is known but what is in it.
PLAIN_KINDS = ("truncated", "flipped bit", "emptied", "zeroed block")


def damages(stack: Stack, controller: Controller) -> dict[str, Any]:
    """Each damage is done to a fresh copy of a backup, which is then proved as a user would."""
    server = stack.production
    stack.fill("v2")
    tampered = _back_up(controller)
    stack.as_deploy(f"cd {server.backups} && mv {tampered} .tampered")
    server.do("UPDATE messages SET text = text || '.' WHERE id = (SELECT min(id) FROM messages)")
    backup = _back_up(controller)
    stack.as_deploy(f"cd {server.backups} && cp -a {backup} .whole")
    if not controller.run("verify_backups", "-l", "production").ok:
        raise RuntimeError("the undamaged backup does not come back")
    missed, found, listed = [], 0, 0
    for number in range(DAMAGES):
        kind = KINDS[number % len(KINDS)]
        stack.as_deploy(f"cd {server.backups} && rm -rf {backup} moved-* && cp -a .whole {backup}")
        stack.as_deploy(f"python3 -c {_quoted(_DAMAGE)} {server.backups}/{backup} {_quoted(kind)} {number}")
        if controller.run("verify_backups", "-l", "production").ok:
            missed.append(f"{kind} ({number})")
        else:
            found += 1
        listed += not _lists(stack, server, backup)
    stack.as_deploy(f"cd {server.backups} && rm -rf {backup} moved-* .whole .tampered")
    return {
        "corrupt_found": found / DAMAGES,
        "corrupt_missed": missed,
        "corrupt_found_bare": listed / DAMAGES,
        "corrupt_found_runbook": _plain_found(server),
        "remote_tasks": {},
    }


def _back_up(controller: Controller) -> str:
    made = controller.run("backup", "-l", "production", dbops_backup_content_hash="always")
    if not made.ok:
        raise RuntimeError(made.output)
    return str(made.result()["backup"]["id"])


def _lists(stack: Stack, server: Server, backup: str) -> bool:
    """What people do to look whether a dump is good."""
    argv = ["docker", "run", "--rm", "--network", "none", "--volume", f"{server.backups}:/backups:ro", stack.postgres_image]
    return command(*argv, "pg_restore", "--list", f"/backups/{backup}/dump", check=False).returncode == 0


def _plain_found(server: Server) -> float:
    """The share of the like damages to a plain file at which `psql < file`, as the runbook has it, ends with an error."""
    script = _plain_script()
    server.exec("sh", "-c", "pg_dump -U postgres chat > /tmp/whole.sql")
    found = 0
    for number in range(PLAIN_DAMAGES):
        kind = PLAIN_KINDS[number % len(PLAIN_KINDS)]
        server.exec("sh", "-c", script, "damage", kind, str(number), check=False)
        server.exec("createdb", "-U", "postgres", "bench_copy")
        done = server.exec("sh", "-c", "psql -q -U postgres bench_copy < /tmp/damaged.sql > /dev/null 2>&1", check=False)
        server.exec("dropdb", "-U", "postgres", "--force", "bench_copy")
        found += done.returncode != 0
    server.exec("rm", "-f", "/tmp/whole.sql", "/tmp/damaged.sql")  # noqa: S108 - in the container
    return found / PLAIN_DAMAGES


def _plain_script() -> str:
    """The database's image has no Python; a place in the file is chosen by the seed."""
    return r"""
kind=$1; seed=$2; size=$(stat -c %s /tmp/whole.sql); place=$(( (seed * 7919 + 4243) * 104729 % size ))
case $kind in
truncated) head -c $place /tmp/whole.sql > /tmp/damaged.sql ;;
emptied) : > /tmp/damaged.sql ;;
'zeroed block') { head -c $place /tmp/whole.sql; head -c 512 /dev/zero; tail -c +$(( place + 513 )) /tmp/whole.sql; } > /tmp/damaged.sql ;;
'flipped bit') {
    head -c $place /tmp/whole.sql
    tail -c +$(( place + 1 )) /tmp/whole.sql | head -c 1 | tr ' -~' '!-~ '
    tail -c +$(( place + 2 )) /tmp/whole.sql
} > /tmp/damaged.sql ;;
esac
"""


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\"'\"'") + "'"
