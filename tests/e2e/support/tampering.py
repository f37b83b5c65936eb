# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What somebody might do to a backup, or a disk, also with the sums made anew afterwards."""

from __future__ import annotations

import json

from controller import Controller
from stack import Server, Stack


def back_up(controller: Controller, server: Server) -> str:
    made = controller.run("backup", "-l", server.host)
    assert made.ok, made.output
    return str(made.result()["backup"]["id"])


#: Runs on the target: gives every file's sum and the seal anew, as whoever knows the format could. Changes of the manifest come as JSON.
_SEAL = r"""
import hashlib, json, os, sys
folder, changes = sys.argv[1], json.loads(sys.argv[2])
path = os.path.join(folder, "manifest.json")
data = json.load(open(path))
data.pop("seal")
data.update(changes)
for entry in data["files"]:
    contents = open(os.path.join(folder, entry["path"]), "rb").read()
    entry.update(size=len(contents), sha256=hashlib.sha256(contents).hexdigest())
data["seal"] = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
json.dump(data, open(path, "w"))
"""


def seal_again(stack: Stack, server: Server, backup: str, **changes: object) -> None:
    """Change a manifest, and make the sums of its files and its seal anew: no checksum tells."""
    stack.as_deploy("python3 -c %s %s %s" % (quoted(_SEAL), quoted(f"{server.backups}/{backup}"), quoted(json.dumps(changes))))


def quoted(text: str) -> str:
    return "'" + text.replace("'", "'\"'\"'") + "'"


def flip_a_bit(stack: Stack, server: Server, backup: str) -> None:
    """In the middle of the dump's largest file."""
    stack.as_deploy(
        f"cd {server.backups}/{backup}/dump && python3 -c "
        + quoted(
            "import os; f = max(os.listdir('.'), key=os.path.getsize); d = bytearray(open(f, 'rb').read()); d[len(d) // 2] ^= 1; open(f, 'wb').write(d)"
        )
    )


def swap_rows(stack: Stack, server: Server, backup: str, other: str) -> None:
    """Put another backup's dump in the place of this one's, with sums and seal made anew: only what is in it can tell."""
    stack.as_deploy(f"cd {server.backups} && rm -r {backup}/dump && cp -a {other}/dump {backup}/dump")
    files = stack.as_deploy(f"cd {server.backups}/{backup} && find dump schema.json -type f").stdout.split()
    seal_again(stack, server, backup, files=[{"path": name, "size": 0, "sha256": ""} for name in sorted(files)])
