# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is measured on: chat messages of everyday words, as many as asked for, the same for the same size; and what is least like them."""

from __future__ import annotations

from stack import Server

#: The commonest words of English prose, commonest first: how well a text compresses depends on how its words repeat.
_TEXT = """\
the of and to in a is that for it as was with be by on not he his but at are this have from they which one you were all her she there
would their we him been has when who will no more if out so up said what its about than into them can only other time new some could these
two may first then do any like my now over such our man me even most made after also did many off before must well back through years much
where your way down should because long each just state those people too how little good world make very year still see own work here get
put old between both life being under three never know last us while might great another go right house against came used take three
report deploy branch review server database table index query backup restore migrate preview release ticket customer meeting tomorrow lunch
thanks please merge build green failed retry timeout cache queue worker login search typing account invoice payment refund shipping address
"""
WORDS = _TEXT.split()

#: Sentences to draw from: so many that one does not come again within a compressor's window.
_SENTENCES = 100_000

#: Bytes of a plain dump per message, about; the size asked for is reached within a few per cent.
_BYTES_PER_MESSAGE = 155


def fill(server: Server, megabytes: int) -> None:
    """Fill the backend's own tables with about that much, counted as a plain dump."""
    rows = megabytes * 1_000_000 // _BYTES_PER_MESSAGE
    server.do(
        "SELECT setseed(0.42)",
        "SET work_mem = '256MB'",  # the joins below keep the order of the messages
        "SET session_replication_role = replica",  # no look at each foreign key: they are right
        "CREATE TEMP TABLE word AS SELECT ordinality - 1 AS id, word FROM unnest('{%s}'::text[]) WITH ORDINALITY AS w (word, ordinality)"
        % ",".join(WORDS),
        # Words by Zipf's law, about: the square of a random number falls on the first ones most often.
        "CREATE TEMP TABLE sentence AS SELECT s.id, string_agg(w.word, ' ' ORDER BY s.place) AS sentence"
        " FROM (SELECT id, place, floor(power(random(), 2) * %d)::int AS word FROM generate_series(0, %d) AS id,"
        "       generate_series(1, 3 + (id %% 20)) AS place) AS s JOIN word AS w ON w.id = s.word GROUP BY s.id"
        % (len(WORDS), _SENTENCES - 1),
        "ANALYZE sentence",
        "TRUNCATE messages, rooms, users CASCADE",
        "INSERT INTO users (id, name, created_at) SELECT n, 'user ' || n, now() - n * interval '1 hour' FROM generate_series(1, 1000) AS n",
        "INSERT INTO rooms (id, name) SELECT n, 'room ' || n FROM generate_series(1, 50) AS n",
        "INSERT INTO messages (id, text, created_at, room_messages, user_messages)"
        " SELECT m.id, a.sentence || '. ' || b.sentence, timestamptz '2026-01-01' + m.id * interval '7.3 seconds', m.room, m.author"
        " FROM (SELECT id, floor(random() * %d)::int AS a, floor(random() * %d)::int AS b,"
        "        1 + floor(power(random(), 2) * 50)::int AS room, 1 + floor(power(random(), 2) * 1000)::int AS author"
        "       FROM generate_series(1, %d) AS id) AS m JOIN sentence AS a ON a.id = m.a JOIN sentence AS b ON b.id = m.b"
        % (_SENTENCES, _SENTENCES, rows),
        "VACUUM ANALYZE",
    )


def fill_otherwise(server: Server, megabytes: int) -> None:
    """Files that no compressor makes smaller, and narrow rows of numbers with two indexes: about half of each, as a plain dump."""
    files = megabytes * 1_000_000 // 2 // 41_000  # 20 kB each, two digits a byte
    readings = megabytes * 1_000_000 // 2 // 62
    server.do(
        "SELECT setseed(0.42)",
        "TRUNCATE messages, rooms, users CASCADE",
        "CREATE EXTENSION IF NOT EXISTS pgcrypto",
        "CREATE TABLE files (id bigint PRIMARY KEY, name text NOT NULL UNIQUE, content bytea NOT NULL)",
        "ALTER TABLE files ALTER content SET STORAGE EXTERNAL",
        "INSERT INTO files SELECT n, 'file ' || n, (SELECT string_agg(gen_random_bytes(1000), '') FROM generate_series(1, 20) WHERE n > 0)"
        " FROM generate_series(1, %d) AS n" % files,
        "CREATE TABLE readings (id bigint PRIMARY KEY, sensor int NOT NULL, taken timestamptz NOT NULL, value double precision NOT NULL)",
        "INSERT INTO readings SELECT n, floor(random() * 5000), timestamptz '2026-01-01' + n * interval '0.37 seconds', random() * 100"
        " FROM generate_series(1, %d) AS n" % readings,
        "CREATE INDEX ON readings (sensor, taken)",
        "VACUUM ANALYZE",
    )


def add_tables(server: Server, number: int) -> None:
    """Empty tables beside the backend's own, each with a key, an index and a foreign key."""
    for first in range(1, number + 1, 100):
        server.do(
            *(
                f"CREATE TABLE module_{n} (id bigint PRIMARY KEY, author bigint REFERENCES users (id), name text NOT NULL,"
                f" created_at timestamptz NOT NULL DEFAULT now(), UNIQUE (author, name))"
                for n in range(first, min(first + 100, number + 1))
            )
        )
