# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one family of errors: each message is a sentence for a person at night."""

from __future__ import annotations

import typing as t


class DbopsError(Exception):
    """Something went wrong: what, with which object, and what to do, in one or two sentences.

    :param message: what the user reads.
    :param details: further facts for the result (JSON types only), such as ``backup`` or ``output``.
    """

    def __init__(self, message: str, **details: t.Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class Refused(DbopsError):
    """The guard said no. Nothing was touched."""


class Busy(DbopsError):
    """Another operation holds the database's lock. Nothing was touched."""


class EngineError(DbopsError):
    """The Docker engine, or a command in one of its containers, failed."""


class ServerError(DbopsError):
    """PostgreSQL refused or failed; the message carries its own sentence."""


class Interrupted(DbopsError):
    """The controller, the connection or a person ended this run."""
