# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`bench/results.json` as tables and plots in docs/benchmarks.md and docs/benchmarks.ja.md: `.venv/bin/python bench/report.py`.

What stands in those pages between `<!-- figures -->` and `<!-- end of figures -->` is written here, the rest by hand.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

#: Key -> the goal, and what it says in English and Japanese. A goal is the most that is good, but for these:
AT_LEAST = {"fleet_50_backup_efficiency", "corrupt_found", "risk_catalogue_found", "diagnose_found", "reset_success_with_backends"}
FIGURES: dict[str, tuple[float | None, str, str]] = {
    "backup_time_ratio": (
        0.5,
        "Backup: time, against the runbook's `pg_dump > file`",
        "バックアップ: 時間(手順書の `pg_dump > file` との比)",
    ),
    "backup_size_ratio": (0.2, "Backup: size, against the same", "バックアップ: サイズ(同)"),
    "backup_limit_ratio": (
        1.3,
        "Backup: time, against `pg_dump -Fd -j2 -Z zstd:1` alone inside the container",
        "バックアップ: 時間(コンテナー内で `pg_dump -Fd -j2 -Z zstd:1` だけを実行した場合との比)",
    ),
    "content_hash_overhead": (
        0.35,
        "Backup: share of its time that digesting the contents of the tables adds",
        "バックアップ: テーブルの内容のダイジェストが占める時間の割合",
    ),
    "backup_verify_seconds": (None, "Backup: reading it back in full, seconds", "バックアップ: 全体の読み直し(秒)"),
    "restore_unusable_seconds": (
        1,
        "Restore: an application that retries sees errors for, seconds",
        "リストア: 再試行するアプリケーションがエラーになる時間(秒)",
    ),
    "restore_unusable_seconds_runbook": (
        None,
        "The same by hand: drop, create, `psql < file`, restart",
        "同じことを手作業でした場合(削除、作成、`psql < file`、再起動)",
    ),
    "restore_limit_ratio": (
        1.2,
        "Restore: time until the service is back, against `pg_restore -j2` alone into a new database",
        "リストア: サービスが戻るまでの時間(新しいデータベースへの `pg_restore -j2` だけの場合との比)",
    ),
    "verify_limit_ratio": (
        1.3,
        "Proof of a backup: time, against `pg_restore -j2` alone into a new database of the live server",
        "バックアップの証明: 時間(稼働中のサーバーの新しいデータベースへの `pg_restore -j2` だけの場合との比)",
    ),
    "corrupt_found": (
        1,
        "Proof of a backup: share of 200 seeded damages that it finds, some with every checksum made anew",
        "バックアップの証明: 200 個の損傷(チェックサムを作り直したものを含む)のうち見つけた割合",
    ),
    "corrupt_found_bare": (None, "The same damages under `pg_restore --list`", "同じ損傷を `pg_restore --list` で調べた場合"),
    "corrupt_found_runbook": (
        None,
        "The like of a plain file: the runbook's `psql < file` ends with an error",
        "プレーンファイルの同様の損傷で、手順書の `psql < file` がエラーで終わる割合",
    ),
    "offsite_second_backup_share": (
        0.15,
        "Copy elsewhere: share that is sent again once the newest row in a hundred has changed, of a dump that is not compressed",
        "別の場所へのコピー: 新しい方の 100 行に 1 行が変わった後に送り直される割合(圧縮しないダンプ)",
    ),
    "restore_fresh_host_seconds": (
        None,
        "From the start of an empty server, through the copy elsewhere, to every row restored and compared, seconds",
        "空のサーバーの起動から、別の場所のコピーを経て、全行をリストアし比べ終わるまで(秒)",
    ),
    "progress_gap_seconds": (
        10,
        "The longest time without a new line in a job's log while a backup, its proof and its restore work, seconds",
        "バックアップ、その証明、リストアの間、ジョブのログに新しい行が出ない最長の時間(秒)",
    ),
    "reset_unusable_seconds": (
        0.5,
        "Preview reset: an application sees errors for, seconds",
        "プレビューのリセット: アプリケーションがエラーになる時間(秒)",
    ),
    "reset_seconds": (
        5,
        "Preview reset: a preview of about 100 MB, with a current baseline, in all, seconds",
        "プレビューのリセット: 約 100 MB のプレビュー、最新のベースラインあり、全体(秒)",
    ),
    "reset_success_with_backends": (
        1,
        "Preview reset: share of 20 that succeed under 50 clients that write",
        "プレビューのリセット: 書き込む 50 クライアントの下で 20 回のうち成功した割合",
    ),
    "reset_success_with_backends_runbook": (None, "The same by hand: drop, create", "同じことを手作業でした場合(削除、作成)"),
    "migrate_overhead_seconds": (
        5,
        "Migrate: everything but the backup and the runner itself, seconds",
        "マイグレーション: バックアップとランナー自身を除いた時間(秒)",
    ),
    "status_seconds": (
        3,
        "Status: one look at a database, nothing pending by the journal, seconds",
        "状態の確認: 1データベース(未適用なしとジャーナルで分かる場合、秒)",
    ),
    "status_seconds_sandbox": (None, "The same, with the plan tried in a sandbox, seconds", "同上、サンドボックスで試す場合(秒)"),
    "status_50_hosts_seconds": (
        None,
        "Status: 50 databases in one run (10 at a time), seconds",
        "状態の確認: 50 データベースを1回で(同時に 10、秒)",
    ),
    "plan_seconds": (2, "Plan in the sandbox, seconds", "サンドボックスでのプラン(秒)"),
    "plan_seconds_300_tables": (5, "The same, with 300 tables, seconds", "同上、300 テーブルの場合(秒)"),
    "plan_seconds_3000_tables": (25, "The same, with 3,000 tables, seconds", "同上、3,000 テーブルの場合(秒)"),
    "blocked_select_ratio": (
        0.1,
        "Migrate: the longest wait of an innocent SELECT while a column is added behind a reader of 6 s, against `ALTER TABLE` by hand",
        "マイグレーション: 6 秒間読む人の後ろで列を追加する間、無関係な SELECT が待つ最長の時間(手作業の `ALTER TABLE` との比)",
    ),
    "rehearsal_overhead_ratio": (
        0.3,
        "Rehearsal: its time less restore and migration, over these; with three checks of versions, one of which never gets well",
        "リハーサル: 復元とマイグレーションを除いた時間の、それらとの比(版の確認3回を含み、うち1回は正常にならない)",
    ),
    "deploy_overhead_seconds": (
        6,
        "Deploy: the whole of it, less pull, backup, migration, the start of the containers and the seconds that they are watched, seconds",
        "デプロイ: 全体から取得、バックアップ、マイグレーション、コンテナーの起動、見守る秒数を除いた時間(秒)",
    ),
    "deploy_error_seconds": (
        None,
        "Deploy: users of a service with one container see errors while it is replaced, seconds",
        "デプロイ: コンテナー1つのサービスの利用者が、入れ替えのあいだエラーを見る時間(秒)",
    ),
    "fleet_50_backup_efficiency": (
        0.6,
        "50 databases on five servers of this machine, backed up with five forks: the slowest alone times 50 over five, over the measured time",
        "この機械の5台のサーバーにある50のデータベースを forks 5 でバックアップ: (最も遅い1つの時間 × 50 ÷ 5) と実測の比",
    ),
    "fleet_50_backup_best_seconds": (None, "The same with the best number of forks, seconds", "同じく、最も速い forks の数での時間(秒)"),
    "report_kb": (None, "Report of that rehearsal: one HTML file, kB", "そのリハーサルの報告書: HTML 1ファイル(kB)"),
    "risk_catalogue_found": (
        1,
        "Risk: share of a catalogue of hazardous migrations that is found at the right level, on small tables and on large and busy ones",
        "危険度: 危険なマイグレーションの一覧のうち、小さい表でも大きく忙しい表でも正しい段階で見つけた割合",
    ),
    "risk_false_alarms": (
        0,
        "Risk: harmless migrations that raise an alarm, of at least 40",
        "危険度: 40 以上の無害なマイグレーションのうち、誤って警告した数",
    ),
    "diagnose_seconds": (None, "Diagnose: a look at everything, the plan included, seconds", "診断: プランを含む全体の調査(秒)"),
    "diagnose_found": (
        1,
        "Diagnose: share of the broken stacks whose first finding is the right one",
        "診断: 壊したスタックのうち、最初の指摘が正しいものの割合",
    ),
    "module_peak_rss_mb": (100, "Most memory of the module on the target, MB", "対象ホスト上のモジュールの最大メモリー(MB)"),
}

_WORDS = {
    "en": ("Measured", "Goal", "at most", "at least", "missed", "playbook", "remote tasks per host (goal: at most 8)"),
    "ja": ("測定値", "目標", "以下", "以上", "未達", "プレイブック", "ホストあたりのリモートタスク数(目標: 8 以下)"),
}
_ABOUT = {
    "en": "PostgreSQL {}, {} MB as a plain dump, {} cores, {} GB of memory, {}, {}.",
    "ja": "PostgreSQL {}、プレーンダンプで {} MB、{} コア、メモリー {} GB、{}、{}。",
}
#: The figures that are measured on another kind of data too.
OTHER = {
    "backup_time_ratio": ("backup against the runbook", "バックアップ、ランブック比"),
    "backup_limit_ratio": ("backup against the bare tool", "バックアップ、素のツール比"),
    "content_hash_overhead": ("digesting the contents", "内容のダイジェスト"),
    "restore_limit_ratio": ("restore against the bare tool", "リストア、素のツール比"),
    "verify_limit_ratio": ("proof against the bare tool", "証明、素のツール比"),
    "offsite_second_backup_share": ("copy elsewhere, sent again", "別の場所へのコピー、送り直し"),
}
_ABOUT_OTHER = {
    "en": "On other data, {} MB as a plain dump, half of it files that nothing makes smaller and half narrow rows of numbers: {}.",
    "ja": "別の種類のデータ、プレーンダンプで {} MB(半分は圧縮できないファイル、半分は数値の短い行)の場合: {}。",
}
_GROWTH_WORDS = {
    "en": ("plain dump, MB", "database, MB", "tables", "backup, s", "plan, s", "restore, s"),
    "ja": ("プレーンダンプ(MB)", "データベース(MB)", "テーブル数", "バックアップ(秒)", "プラン(秒)", "リストア(秒)"),
}
_BETWEEN = re.compile(r"(<!-- figures -->\n).*(<!-- end of figures -->)", re.DOTALL)


def write(root: Path) -> None:
    results = json.loads((root / "bench" / "results.json").read_text(encoding="utf-8"))
    for language, name in (("en", "benchmarks.md"), ("ja", "benchmarks.ja.md")):
        page = root / "docs" / name
        page.write_text(rendered(page.read_text(encoding="utf-8"), results, language), encoding="utf-8")
    plot(results, root / "docs" / "benchmarks.svg")


def rendered(page: str, results: dict[str, Any], language: str) -> str:
    """A page with the figures of these results in it."""
    return _BETWEEN.sub(lambda match: f"{match[1]}\n{figures(results, language)}\n{match[2]}", page)


def figures(results: dict[str, Any], language: str) -> str:
    machine = results["machine"]
    facts = (results["postgres"], results["data_mb"], machine["cores"], machine["memory_gb"], machine["architecture"], results["date"])
    parts = [_ABOUT[language].format(*facts), *(part(results, language) for part in (table, other, tasks, growth))]
    return "\n\n".join(parts) + "\n"


def table(results: dict[str, Any], language: str) -> str:
    measured, goal_word, at_most, at_least, missed, *_rest = _WORDS[language]
    lines = [f"| | {measured} | {goal_word} |", "| --- | ---: | ---: |"]
    for key, (goal, english, japanese) in FIGURES.items():
        found = results.get(key)
        if found is None:  # measured at the end
            continue
        bound = at_least if key in AT_LEAST else at_most
        wanted = "" if goal is None else (f"{bound} {goal:g}" if language == "en" else f"{goal:g} {bound}")
        wanted += f" ({missed})" if goal is not None and (found < goal if key in AT_LEAST else found > goal) else ""
        lines.append(f"| {english if language == 'en' else japanese} | {found:.2f} | {wanted} |")
    return "\n".join(lines)


def other(results: dict[str, Any], language: str) -> str:
    found, place = results["other_data"], 0 if language == "en" else 1
    told = (", " if language == "en" else "、").join(f"{OTHER[key][place]} {found[key]:.2f}" for key in OTHER if key in found)
    return _ABOUT_OTHER[language].format(found["data_mb"], told)


def tasks(results: dict[str, Any], language: str) -> str:
    *_rest, playbook, remote = _WORDS[language]
    lines = [f"| {playbook} | {remote} |", "| --- | ---: |"]
    return "\n".join(lines + [f"| `{name}` | {number} |" for name, number in sorted(results["remote_tasks"].items())])


def growth(results: dict[str, Any], language: str) -> str:
    lines = ["| " + " | ".join(_GROWTH_WORDS[language]) + " |", "| ---: " * 6 + "|"]
    for row in sorted(results["growth"], key=lambda row: (row["tables"] > 100, row["data_mb"], row["tables"])):
        seconds = [f"{row[key]:.1f}" for key in ("backup_seconds", "plan_seconds", "restore_seconds")]
        lines.append("| " + " | ".join([str(row[key]) for key in ("data_mb", "database_mb", "tables")] + seconds) + " |")
    return "\n".join(lines)


def plot(results: dict[str, Any], path: Path) -> None:
    """Seconds of a backup and of an outage, and how seconds grow with the data; the same bytes for the same results."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "dbops", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    figure, (bars, outage, lines) = pyplot.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    by_hand, bare, ours = "#b8b8b8", "#7fa7d6", "#20639b"
    bars.bar(
        ["runbook", "bare\npg_dump", "backup.yml"],
        [results[key] for key in ("backup_seconds_runbook", "backup_seconds_bare_zstd", "backup_seconds")],
        color=[by_hand, bare, ours],
    )
    bars.set_title(f"Backup of {results['data_mb']} MB, seconds")
    outage.bar(
        ["by hand", "restore.yml", "preview_reset.yml"],
        [results[key] for key in ("restore_unusable_seconds_runbook", "restore_unusable_seconds", "reset_unusable_seconds")],
        color=[by_hand, ours, ours],
    )
    outage.set_yscale("log")
    outage.set_title("Application sees errors, seconds")
    by_size = sorted((row for row in results["growth"] if row["tables"] < 10), key=lambda row: row["data_mb"])
    lines.set_xscale("log")
    lines.set_yscale("log")
    for key, marker in (("backup_seconds", "o"), ("plan_seconds", "s"), ("restore_seconds", "^")):
        lines.plot([row["data_mb"] for row in by_size], [row[key] for row in by_size], marker=marker, label=key[: key.index("_")])
    lines.set_title("Seconds by MB of data")
    lines.legend(frameon=False)
    for axes in (bars, outage, lines):
        axes.spines[["top", "right"]].set_visible(False)
    figure.patch.set_facecolor("white")
    figure.savefig(path, metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    write(Path(__file__).resolve().parents[1])
