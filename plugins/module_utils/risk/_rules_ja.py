# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules in Japanese, for reports in that language: by id, why it matters and the safer way, with the same names to fill in."""

from __future__ import annotations

_BEFOREHAND = "事前に: {instead}"
_OUTSIDE = "事前に、トランザクションの外で: {instead}"
_TWO = "事前に、2つのトランザクションで: {instead}"
_OLD_NAME = "今動いているアプリケーションは古い名前しか知らず、最初の文から失敗します。"

JAPANESE: dict[str, tuple[str, str]] = {
    "ban-drop-table": (
        "行が失われ、まだ読んでいるアプリケーションは失敗します。",
        "使わない版を先にデプロイし、しばらく別の名前にして ({rename})、後のマイグレーションで削除します。",
    ),
    "ban-drop-column": (
        "中身が失われ、まだその名前を使うアプリケーションは失敗します。",
        "使わない版を先にデプロイし、列はしばらく残し (NOT NULL なし: {nullable})、後のマイグレーションで削除します。",
    ),
    "ban-drop-constraint": (
        "禁じられていた行が以後入るようになり、戻すには全ての行が条件を満たす必要があります。",
        "アプリケーション側で確認するか、先に新しい制約を NOT VALID で追加して検証し、それからこれを削除します。",
    ),
    "ban-drop-index": (
        "これを使っていた問い合わせは表全体を読みます。",
        "使われていないことを確かめ (pg_stat_user_indexes の idx_scan)、" + _OUTSIDE,
    ),
    "ban-drop-view": ("まだ読んでいるアプリケーションは失敗します。", "読まない版を先にデプロイします。"),
    "ban-drop-sequence": (
        "まだ番号を取るものは失敗し、どこまで進んでいたかも失われます。",
        "使わない版を先にデプロイし、現在の値を控えます (SELECT last_value FROM {name})。",
    ),
    "ban-drop-type": ("まだその名前を使うアプリケーションは失敗します。", "使わない版を先にデプロイします。"),
    "ban-drop-schema": ("まだそこを見るアプリケーションは失敗します。", "見ない版を先にデプロイします。"),
    "drop-cascade": ("CASCADE が、誰も名指ししていないものまで削除しました。", "依存するものを名指しで削除し、CASCADE を外します。"),
    "ban-truncate": ("全ての行が失われ、その間は全員が待ちます。", "先にバックアップします。使われている表では少しずつ DELETE します。"),
    "renaming-table": (_OLD_NAME, "誰も使わなくなるまで古い名前を残します: CREATE VIEW {old} AS SELECT * FROM {name};"),
    "renaming-column": (
        _OLD_NAME,
        "新しい列を追加し、しばらく両方に書き、少しずつ埋め、新しい方を読む版をデプロイし、後で古い列を削除します。",
    ),
    "renaming-schema": (
        "今動いているアプリケーションは古い名前で探します。",
        "新しいスキーマを隣に作り、一つずつ移し、古い名前にはビューを置きます。",
    ),
    "renaming-enum-value": (
        "今動いているアプリケーションは古い値を書き、以後それはエラーになります。",
        "新しい値を追加し (ALTER TYPE {name} ADD VALUE ...)、それを書き、行を少しずつ変え、古い値は残します。",
    ),
    "renaming-object": ("古い名前で呼ぶものは失敗します。", "隣に新しいものを作り、古いものは後で削除します。"),
    "ban-set-schema": (
        "新しいスキーマが search_path にない限り、今動いているアプリケーションはもう見つけられません。",
        "古い名前にビューを残します: CREATE VIEW {old} AS SELECT * FROM {name};",
    ),
    "changing-column-type": (
        "表全体とインデックスが書き直され、その間は誰も読み書きできません。",
        "新しい型の列を追加し、トリガーで同じ値を保ち、少しずつ埋め、短いトランザクションで名前を入れ替えます。",
    ),
    "widening-column-type": (
        "行には触れません。気付くのは、長さを自分で確かめるアプリケーションだけです。",
        "何もしなくてかまいません: これが型を変える安全な方法です。",
    ),
    "narrowing-column-type": (
        "収まらない値はマイグレーションを止め、キャストで切り捨てられた部分は失われます。",
        "収まらない行を先に調べて少しずつ直し、型を狭める代わりに CHECK を追加します (NOT VALID、その後 VALIDATE)。",
    ),
    "changing-time-zone-type": (
        "タイムゾーンの有無を変えると、全ての値が、たまたまマイグレーションを行うセッションの TimeZone で解釈されます。",
        "どのタイムゾーンかを明示した (USING {column} AT TIME ZONE 'UTC') 新しい列を、少しずつ埋めます。",
    ),
    "adding-not-nullable-field": ("全ての行を読む間、誰も表を読み書きできず、NULL が1つあればマイグレーションは止まります。", _BEFOREHAND),
    "adding-required-field": (
        "既定値がないと既存の行は値を持てず、古いアプリケーションは行を追加できません。",
        "DEFAULT を付けるか、NOT NULL なしで追加して少しずつ埋めます: {instead}",
    ),
    "dropping-not-null": ("NULL を想定しないアプリケーションが NULL を読むことがあります。", "NULL を読める版を先にデプロイします。"),
    "adding-field-with-volatile-default": ("既定値が行ごとに異なるため表全体が書き直され、その間は誰も読み書きできません。", _BEFOREHAND),
    "adding-stored-generated-column": (
        "行ごとに計算されるため表全体が書き直され、その間は誰も読み書きできません。",
        "トリガーで埋める普通の列を追加し、既存の行は少しずつ埋めます。",
    ),
    "adding-serial-field": ("行ごとに番号が付くため表全体が書き直され、その間は誰も読み書きできません。", _BEFOREHAND),
    "changing-default": (
        "古いアプリケーションが追加する行は新しい値になります。",
        "両方の値がどちらの版でも正しければ、何もしなくてかまいません。",
    ),
    "prefer-bigint-over-int": (
        "番号がまもなく尽き、その後は何も追加できません。",
        "bigint への移行を今計画します: 新しい列を少しずつ埋め、名前を入れ替えます。",
    ),
    "json-column": ("json 型は比較できません: SELECT DISTINCT、GROUP BY、UNION が失敗します。", "jsonb を使います。"),
    "identifier-too-long": ("PostgreSQL は名前を 63 バイトで切るため、ランナーは存在しない名前を探します。", "短い名前にします。"),
    "constraint-missing-not-valid": ("全ての行を読む間、誰も表を読み書きできず、反する行が1つあればマイグレーションは止まります。", _TWO),
    "adding-foreign-key-constraint": (
        "全ての行を相手の表で確かめる間、誰もどちらの表にも書けず、相手のない行が1つあればマイグレーションは止まります。",
        _TWO,
    ),
    "foreign-key-without-index": ("{references} の行を DELETE するたびに {table} 全体を読みます。", _OUTSIDE),
    "disallowed-unique-constraint": (
        "インデックスの作成中は誰も表を読み書きできず、重複が1つあればマイグレーションは止まります。",
        _OUTSIDE,
    ),
    "adding-primary-key": ("インデックスの作成中は誰も表を読み書きできず、重複か NULL が1つあればマイグレーションは止まります。", _OUTSIDE),
    "adding-exclusion-constraint": (
        "インデックスの作成中は誰も表を読み書きできず、排他条件に反する2行があればマイグレーションは止まります。",
        "避ける方法はありません: 静かな時間を選び、リハーサルをします。",
    ),
    "require-concurrent-index-creation": ("作成中は誰も表に書けません。", _OUTSIDE),
    "rebuilding-index": ("作り直す間は誰も表に書けず、これを必要とするものは読めません。", _OUTSIDE),
    "prefer-repack": (
        "表全体が書き直され、その間は誰も読み書きできません。",
        "autovacuum に任せるか、アプリケーションと並行して動く pg_repack を使います。",
    ),
    "rewriting-table": (
        "表全体が書き直され、その間は誰も読み書きできません。",
        "新しいものを隣に追加し、少しずつ埋め、短いトランザクションで名前を入れ替えます。",
    ),
    "refreshing-materialized-view": (
        "埋まるまで誰も読めません。",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY {name} を使います (一意インデックスが必要です)。",
    ),
    "changing-persistence": (
        "表全体が書き直され、その間は誰も読み書きできません。unlogged の表は、クラッシュ後とレプリカでは空です。",
        "その種類の新しい表を作り、少しずつ写し、名前を入れ替えます。",
    ),
    "moving-tablespace": (
        "全てのバイトを写す間、誰も読み書きできません。",
        "インデックスはアプリケーションと並行して移せます (REINDEX (TABLESPACE ...) CONCURRENTLY)。表は静かな時間を選ぶか、pg_repack を使います。",
    ),
    "attaching-partition": (
        "同じ条件の CHECK がない限り、新しいパーティションの全ての行をロックしたまま読みます。",
        "事前に: {name} にパーティションの範囲の CHECK 制約を NOT VALID で追加し、VALIDATE します。",
    ),
    "detaching-partition": ("終わるまで誰もパーティション表を読み書きできず、その後は行がなくなります。", _OUTSIDE),
    "trigger-added": ("以後、古いアプリケーションの文でも毎回動きます。", "古いアプリケーションがその動作で困らないことを確かめます。"),
    "trigger-disabled": ("これが保っていたものは、以後保たれません。", "有効なまま、対象の行だけを飛ばすようにします。"),
    "enabling-row-level-security": (
        "ポリシーがなければ、所有者以外は1行も見えなくなります。",
        "同じトランザクションでポリシーを作り、アプリケーションのロールで試します。",
    ),
    "enum-value-added": (
        "古いアプリケーションはその値を知らず、追加したトランザクションの中では使えません。",
        "読める版を先にデプロイし、使うのは後のマイグレーションにします。",
    ),
    "update-without-limit": (
        "全ての行がトランザクションの終わりまでロックされ、書き直され、VACUUM を待ちます。",
        "キーで数千行ずつ、それぞれ別のトランザクションで変えます: WHERE id BETWEEN ... AND ...",
    ),
    "delete-without-limit": (
        "全ての行が失われます。",
        "バックアップの後、キーで少しずつ DELETE します。または削除の印だけ付けて残します。",
    ),
    "unseen-writes": (
        "ブロック、プロシージャ、または問い合わせが行を書きます。行のない所では、どの行を何行書くかは見えません。",
        "WHERE のある普通の文にして少しずつ行うか、コピーでリハーサルをします。",
    ),
    "lock-table": ("トランザクションが終わるまで、他の全員が待ちます。", "外します: 各文が必要なロックを自分で取ります。"),
    "altering-server": (
        "このデータベースの外に及び、サンドボックスでは何をするか分かりません。データベースのバックアップでも戻りません。",
        "マイグレーションとは別に、手で、または community.postgresql で行います。",
    ),
    "extension-not-available": (
        "サーバーのイメージにこの拡張がないため、マイグレーションは止まります。",
        "拡張のある同じメジャーバージョンのイメージを使います: dbops がそこへリストアして比べます。",
    ),
    "statements-outside-transaction": (
        "複数のトランザクションで行われます: 一つが失敗しても、他がしたことは残ります。",
        "それぞれが単独で成り立つなら、何もしなくてかまいません。ランナーが止まった所から続けることを確かめます。",
    ),
    "ban-uncommitted-transaction": (
        "ランナーはトランザクションを開いたまま終わり、サーバーが取り消しました。",
        "マイグレーションを COMMIT で終えます。",
    ),
    "runner-not-content": (
        "同じランナーをその結果に対してもう一度動かすと、まだ何かを変えようとします。デプロイのたびに変わります。",
        "ランナーが自分の作ったものを認識できるよう定義を直します。ent では、PostgreSQL が付ける名前や型を指定します。",
    ),
}
