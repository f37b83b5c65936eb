# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Draws docs/report.png, the picture of a report: `.venv/bin/python docs/draw_report.py report.html`.

The report is a real one, which `make demo` leaves in its folder (the rehearsal's).
"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "report.png"

#: Of the page, what a picture shows: its upper part.
WIDTH, HEIGHT = 900, 1500


def draw(report: Path) -> None:
    sys.path.insert(0, str(ROOT / "tests" / "e2e" / "support"))
    from browser import BROWSER, QUIETLY

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=QUIETLY)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light", offline=True)
        page.goto(report.resolve().as_uri())
        page.screenshot(path=PICTURE)
        browser.close()


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
