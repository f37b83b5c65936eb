# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes what every module returns, `summary` and `operation`, into the modules' documentation: RETURN knows no fragments.

python3 docs/generate_returned.py           brings the modules up to date
python3 docs/generate_returned.py --check   changes nothing, and fails where one is stale
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: Modules whose summary is more than what was done.
SUMMARIES = {
    "database_diagnosis": "The whole report, for a person. Its beginning is the verdict and the likeliest cause.",
    "database_status": "The findings, in a few lines for a person.",
}

BLOCKS = """summary:
  description: {summary}
  returned: success
  type: list
  elements: str
operation:
  description: Facts of this run; where it may change something, they are also in the journal.
  returned: always
  type: dict
  sample:
    run_id: 20261123T030000_3f9a2c
    operation: {operation}
    host: chat-production
    database: chat
    environment: production
    container: chat-postgres-prod
    server_id: "7300000000000000001"
    server_version: "17.5"
    started: "2026-11-23T03:00:00Z"
    duration_seconds: 4.2
    phases: {{}}
"""

_RETURN = re.compile(r'(?<=\nRETURN = r"""\n).*?(?=""")', re.DOTALL)
_BLOCK = r"^{}:\n(?:  .*\n|\n)*"
_OPERATION = re.compile(r'DbopsModule\(\s*operation="(\w+)"')


def with_blocks(text: str, module: str) -> str:
    """The text of a module whose RETURN ends with the two blocks."""
    operation = _OPERATION.search(text)
    documented = _RETURN.search(text)
    if not operation or not documented:
        raise SystemExit(f"plugins/modules/{module}.py names no operation, or has no RETURN.")
    returned = documented.group()
    for name in ("summary", "operation"):
        returned = re.sub(_BLOCK.format(name), "", returned, flags=re.MULTILINE)
    summary = SUMMARIES.get(module, "What was done, in a few lines for a person.")
    returned += BLOCKS.format(summary=summary, operation=operation.group(1))
    return text[: documented.start()] + returned + text[documented.end() :]


def main(arguments: list[str]) -> int:
    stale = []
    for path in sorted(ROOT.glob("plugins/modules/*.py")):
        text = path.read_text(encoding="utf-8")
        wanted = with_blocks(text, path.stem)
        if wanted != text:
            stale.append(path.name)
            if "--check" not in arguments:
                path.write_text(wanted, encoding="utf-8")
    if stale and "--check" in arguments:
        print(f"Stale: {', '.join(stale)}. Run: python3 docs/generate_returned.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
