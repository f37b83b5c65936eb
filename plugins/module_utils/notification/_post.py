# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Posts over HTTP: a webhook, and heartbeats as healthchecks.io knows them (https://healthchecks.io/docs/http_api/). A receiver that does not
answer costs some seconds and a warning, never the run."""

from __future__ import annotations

import json
import time
import typing as t
from urllib.error import HTTPError
from urllib.parse import urlsplit

from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, Interrupted

#: Seconds that a receiver may take, and those before it is tried again.
_PATIENCE = 10
_PAUSES = (1, 4)

#: What a heartbeat says: that a run has begun, has succeeded, has failed.
START, SUCCESS, FAIL = "/start", "", "/fail"

#: Ansible's ``open_url``, which knows proxies and certificates.
Open = t.Callable[..., t.Any]


def tell_webhook(url: str, payload: t.Mapping[str, t.Any], opening: Open) -> None:
    """:raises DbopsError: where nobody took it."""
    data = json.dumps(payload).encode()
    _send(lambda: urlsplit(url).geturl(), data, {"Content-Type": "application/json"}, "webhook", "dbops_notify_webhook", opening)


def beat(url: str, what: str, text: str, opening: Open) -> None:
    """:raises DbopsError: where nobody took it."""

    def address() -> str:
        parts = urlsplit(url)
        return parts._replace(path=parts.path.rstrip("/") + what).geturl()

    headers = {"Content-Type": "text/plain; charset=utf-8"}
    _send(address, text.encode("utf-8", "replace")[:10000], headers, "heartbeat", "dbops_notify_heartbeats", opening)


def _send(address: t.Callable[[], str], data: bytes, headers: dict[str, str], what: str, variable: str, opening: Open) -> None:
    """The address itself is a secret with most services, so a message has only its host. A redirect would lose the text, so none is followed."""
    url = ""
    for pause in (*_PAUSES, None):
        try:
            url = address()
            opening(url, data=data, headers=headers, method="POST", timeout=_PATIENCE, follow_redirects="none").close()
            return
        except Interrupted:
            raise
        except HTTPError as error:
            trouble = "it says %d %s" % (error.code, error.reason)
            if error.code < 500 and error.code != 429:
                break  # it will not want it the next time either
        except Exception as error:  # whatever a network, a certificate or an address can do; none of it is worth a backup
            trouble = str(getattr(error, "reason", "") or error).strip().rstrip(".") or type(error).__name__
            if isinstance(error, ValueError):
                break
        if pause is not None:
            time.sleep(pause)
    raise DbopsError(
        "The %s at '%s' was not told: %s. The run itself does not depend on it; see %s." % (what, _host_of(url), trouble, variable)
    )


def _host_of(url: str) -> str:
    return (urlsplit(url).hostname if url else "") or "an address without a host"
