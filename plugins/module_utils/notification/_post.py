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

from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

#: Seconds that a receiver may take, and those before it is tried again.
_PATIENCE = 10
_PAUSES = (1, 4)

#: What a heartbeat says: that a run has begun, has succeeded, has failed.
START, SUCCESS, FAIL = "/start", "", "/fail"

#: Ansible's ``open_url``, which knows proxies and certificates.
Open = t.Callable[..., t.Any]


def tell_webhook(url: str, payload: t.Mapping[str, t.Any], opening: Open) -> None:
    """:raises DbopsError: where nobody took it."""
    _send(url, json.dumps(payload).encode(), {"Content-Type": "application/json"}, "webhook", "dbops_notify_webhook", opening)


def beat(url: str, what: str, text: str, opening: Open) -> None:
    """:raises DbopsError: where nobody took it."""
    parts = urlsplit(url)
    address = parts._replace(path=parts.path.rstrip("/") + what).geturl()
    _send(address, text.encode()[:10000], {"Content-Type": "text/plain; charset=utf-8"}, "heartbeat", "dbops_notify_heartbeats", opening)


def _send(url: str, data: bytes, headers: dict[str, str], what: str, variable: str, opening: Open) -> None:
    """The address itself is a secret with most services, so a message has only its host."""
    for pause in (*_PAUSES, None):
        try:
            opening(url, data=data, headers=headers, method="POST", timeout=_PATIENCE).close()
            return
        except HTTPError as error:
            trouble = "it says %d %s" % (error.code, error.reason)
            if error.code < 500 and error.code != 429:
                break  # it will not want it the next time either
        except Exception as error:  # whatever a network, a certificate or an address can do; none of it is worth a backup
            trouble = str(getattr(error, "reason", "") or error).strip().rstrip(".") or type(error).__name__
        if pause is not None:
            time.sleep(pause)
    host = urlsplit(url).hostname or "an address without a host"
    raise DbopsError("The %s at '%s' was not told: %s. The run itself does not depend on it; see %s." % (what, host, trouble, variable))
