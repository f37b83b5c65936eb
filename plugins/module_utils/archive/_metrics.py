# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of a database's backups and operations, as a file for the textfile collector of Prometheus' node_exporter
(https://github.com/prometheus/node_exporter#textfile-collector).

Written anew after each run, whole or not at all. That a run did **not** take place is for an alert on the age of its last success.
"""

from __future__ import annotations

import os
import tempfile
import typing as t
from dataclasses import dataclass
from urllib.parse import quote

from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import Backup
from ansible_collections.dbops.postgres.plugins.module_utils.archive._offsite_copy import read_offsite_copy
from ansible_collections.dbops.postgres.plugins.module_utils.archive._proof import FAILED, PROVED, read_proof
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import moment

#: Name, and what it says. Times are seconds since 1970.
_HELP = {
    "dbops_backups": "Backups of this database on this server.",
    "dbops_backup_last_timestamp_seconds": "When the newest backup was made.",
    "dbops_backup_last_size_bytes": "Its size.",
    "dbops_backup_last_duration_seconds": "How long its dump took.",
    "dbops_backup_last_failed_proof": "Whether it did not come back when it was restored to prove it.",
    "dbops_backup_proved_timestamp_seconds": "When the newest backup was made that came back when it was restored.",
    "dbops_backup_proof_timestamp_seconds": "When that was proved.",
    "dbops_restore_measured_seconds": "How long it took to restore.",
    "dbops_backup_offsite_timestamp_seconds": "When the newest backup was made of which a copy is elsewhere.",
    "dbops_operation_last_success_timestamp_seconds": "When an operation of this kind last succeeded.",
    "dbops_operation_last_failure_timestamp_seconds": "When one last failed, or was refused.",
    "dbops_operation_last_duration_seconds": "How long the last one took that succeeded.",
    "dbops_metrics_timestamp_seconds": "When this was written.",
}


@dataclass(frozen=True)
class Sample:
    name: str
    value: float
    operation: str = ""


@dataclass(frozen=True)
class Labels:
    """Of all samples."""

    host: str
    database: str
    environment: str


def samples(backups: t.Sequence[Backup], entries: t.Sequence[t.Mapping[str, t.Any]], now: float) -> list[Sample]:
    """:param backups: of this database on this server, newest first; :param entries: the journal's of it, oldest first."""
    return [*_of_backups(backups), *_of_operations(entries), Sample("dbops_metrics_timestamp_seconds", now)]


def _of_backups(backups: t.Sequence[Backup]) -> t.Iterator[Sample]:
    yield Sample("dbops_backups", len(backups))
    if not backups:
        return
    newest = backups[0].manifest
    yield Sample("dbops_backup_last_timestamp_seconds", _seconds(newest.created))
    yield Sample("dbops_backup_last_size_bytes", newest.size)
    yield Sample("dbops_backup_last_duration_seconds", _seconds(newest.finished) - _seconds(newest.created))
    sent = next((backup.manifest for backup in backups if read_offsite_copy(backup)), None)
    if sent:
        yield Sample("dbops_backup_offsite_timestamp_seconds", _seconds(sent.created))
    proofs = [(backup, read_proof(backup)) for backup in backups]
    yield Sample("dbops_backup_last_failed_proof", proofs[0][1].state == FAILED)
    for backup, proof in proofs:
        if proof.state == PROVED:
            yield Sample("dbops_backup_proved_timestamp_seconds", _seconds(backup.manifest.created))
            yield Sample("dbops_backup_proof_timestamp_seconds", _seconds(proof.at))
            yield Sample("dbops_restore_measured_seconds", proof.seconds.get("server", 0) + proof.seconds.get("restore", 0))
            return


def _of_operations(entries: t.Sequence[t.Mapping[str, t.Any]]) -> t.Iterator[Sample]:
    ended = [entry for entry in entries if "operation" in entry and "result" in entry and _is_moment(entry.get("finished"))]
    for operation in sorted({str(entry["operation"]) for entry in ended}):
        own = [entry for entry in ended if entry["operation"] == operation]
        done = [entry for entry in own if entry["result"] == "ok"]
        failed = [entry for entry in own if entry["result"] != "ok"]
        if done:
            yield Sample("dbops_operation_last_success_timestamp_seconds", _seconds(done[-1]["finished"]), operation)
            seconds = done[-1].get("duration_seconds")
            yield Sample("dbops_operation_last_duration_seconds", seconds if isinstance(seconds, (int, float)) else 0, operation)
        if failed:
            yield Sample("dbops_operation_last_failure_timestamp_seconds", _seconds(failed[-1]["finished"]), operation)


def rendered(found: t.Sequence[Sample], labels: Labels) -> str:
    """https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format"""
    lines = []
    for name, about in _HELP.items():
        own = [sample for sample in found if sample.name == name]
        lines += ["# HELP %s %s" % (name, about), "# TYPE %s gauge" % name] if own else []
        lines += ["%s{%s} %s" % (name, _labels(labels, sample.operation), repr(float(sample.value))) for sample in own]
    return "\n".join(lines) + "\n"


def write_metrics(folder: str, labels: Labels, text: str) -> None:
    """:raises DbopsError: where the folder is missing, or does not take it."""
    name = "dbops_%s_%s" % (quote(labels.host, safe=""), quote(labels.database, safe=""))
    path = os.path.join(folder, name[:200] + ".prom")
    try:
        with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".dbops-", encoding="utf-8", delete=False) as stream:
            try:  # the collector takes what ends in .prom
                stream.write(text)
                stream.flush()
                os.fchmod(stream.fileno(), 0o644)  # another user reads it
                os.rename(stream.name, path)
            except BaseException:
                os.unlink(stream.name)
                raise
    except OSError as error:
        raise DbopsError(
            "The metrics in '%s' could not be written (%s): as root on that host, run: install -d -m 0755 -o the-SSH-user '%s', or change dbops_metrics_dir."
            % (folder, error.strerror, folder)
        ) from None


def _labels(labels: Labels, operation: str) -> str:
    pairs = [("host", labels.host), ("database", labels.database), ("environment", labels.environment)]
    pairs += [("operation", operation)] if operation else []
    return ",".join('%s="%s"' % (name, text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")) for name, text in pairs)


def _is_moment(text: object) -> bool:
    """The journal may hold a stranger's lines."""
    try:
        moment(t.cast(str, text))
    except (TypeError, ValueError):
        return False
    return True


def _seconds(text: str) -> float:
    return moment(text).timestamp()
