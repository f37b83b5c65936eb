# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages to whatever apprise knows (mail, Teams, Telegram, SMS and a hundred more), from the controller, by its library
(https://github.com/caronc/apprise). So it is also told that a host could not be reached, which the host itself cannot."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.notification._message import FAILURE, RECOVERY, Told

#: Seconds before a receiver that did not take it is tried again.
_PAUSES = (1, 4)


def tell(told: Told, addresses: t.Sequence[str]) -> list[str]:
    """Tell each of them once; returns a sentence on each that has not taken it. An address is a secret: only its kind is named."""
    try:
        import apprise
    except ImportError:
        return [
            "Nobody was told by dbops_notify_apprise, since the controller has no Python library apprise: pip install apprise. The run itself does"
            " not depend on it."
        ]
    kinds = {FAILURE: apprise.NotifyType.FAILURE, RECOVERY: apprise.NotifyType.SUCCESS}
    message = {"title": told.title, "body": told.body, "notify_type": kinds.get(told.kind, apprise.NotifyType.INFO)}
    troubles = []
    for number, address in enumerate(addresses, 1):
        receiver = apprise.Apprise()
        if receiver.add(address) and _takes(receiver, message):
            continue
        troubles.append(
            "Receiver %d of dbops_notify_apprise (%s://...) was not told: see that its address is right, and that the controller reaches it. The run"
            " itself does not depend on it." % (number, address.partition("://")[0] if "://" in address else "no kind")
        )
    return troubles


def _takes(receiver: t.Any, message: dict[str, t.Any]) -> bool:
    for pause in (*_PAUSES, None):
        if receiver.notify(**message):
            return True
        if pause is not None:
            time.sleep(pause)
    return False
