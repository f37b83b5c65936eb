# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pages as people see them: on a telephone and on a desk, light and dark, without a network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

#: Chromium as Debian has it; nothing of its own goes over the network.
BROWSER = "/usr/bin/chromium"
QUIETLY = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@contextlib.contextmanager
def opened_browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=BROWSER, args=QUIETLY)
        try:
            yield opened
        finally:
            opened.close()


class Seen:
    """What a browser made of a page."""

    def __init__(self) -> None:
        self.hosts: list[str] = []
        self.pictures: dict[tuple[str, int], bytes] = {}


def lacking(page: Page) -> list[str]:
    """What axe-core (https://github.com/dequelabs/axe-core) finds: contrast, headings, names of what can be used and so on."""
    found = Axe().run(page).response["violations"]
    return [f"{rule['id']}: {rule['help']}: {node['html'][:200]}" for rule in found for node in rule["nodes"]]


def look_at(browser: Browser, path: Path, opened: bool = True, quick: bool = False) -> Seen:
    """Opens a page on a telephone and on a desk, light and dark, offline; whatever a page must not do fails here.

    :param opened: with the facts of all databases in view.
    :param quick: on the telephone only, and without axe-core: for thousands of elements.
    """
    seen = Seen()
    for scheme in ("light",) if quick else ("light", "dark"):
        for width in (390,) if quick else (390, 1280):
            complaints: list[str] = []
            requests: list[str] = []
            page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme, offline=True)
            page.on("console", lambda message, into=complaints: into.append(message.text))
            page.on("pageerror", lambda error, into=complaints: into.append(str(error)))
            page.on("request", lambda request, into=requests: into.append(request.url))
            page.goto(path.as_uri())
            if opened:
                page.eval_on_selector_all("details", "all => all.forEach(one => { one.open = true })")
            assert complaints == []
            assert requests == [path.as_uri()]
            assert page.evaluate("document.documentElement.scrollWidth") <= width, "it would have to be moved sideways"
            assert page.title() and page.locator("main").is_visible()
            missing = [] if quick else lacking(page)
            assert not missing, missing
            seen.hosts = page.locator("summary .host").all_inner_texts()
            seen.pictures[scheme, width] = page.screenshot(full_page=True)
            page.close()
    for width in () if quick else (390, 1280):
        assert seen.pictures["light", width] != seen.pictures["dark", width]
    return seen
