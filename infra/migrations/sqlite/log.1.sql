-- The embedded log. A record's place is its topic partition's id << 40 | its offset, so that one
-- integer key finds it and each partition is one run of the tree.
CREATE TABLE topics (
    id        INTEGER PRIMARY KEY,
    topic     TEXT    NOT NULL,
    partition INTEGER NOT NULL,
    UNIQUE (topic, partition)
) STRICT;

CREATE TABLE records (
    place   INTEGER PRIMARY KEY,
    crc     INTEGER NOT NULL, -- CRC-32 of place, key, value and headers
    key     BLOB    NOT NULL,
    value   BLOB    NOT NULL,
    headers BLOB    NOT NULL  -- JSON, empty if there are none
) STRICT;

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
