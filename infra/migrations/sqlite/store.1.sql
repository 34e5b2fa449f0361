-- The embedded store: what the projector writes. All of it can be made anew from the log.
CREATE TABLE checkpoints (
    kind                TEXT    NOT NULL,
    partition           INTEGER NOT NULL,
    epoch               INTEGER,
    offset              INTEGER NOT NULL,
    last_command_offset INTEGER NOT NULL,
    PRIMARY KEY (kind, partition)
) STRICT, WITHOUT ROWID;

CREATE TABLE entities (
    id          INTEGER PRIMARY KEY,
    key         TEXT    NOT NULL UNIQUE, -- tenant/kind:id
    tenant      TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    entity      TEXT    NOT NULL,        -- the id alone
    title       TEXT,                    -- null until it is created
    open        INTEGER NOT NULL DEFAULT 0, -- whether the tenant may see it unasked
    seq         INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,        -- milliseconds since 1970
    updated_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX entities_by_kind ON entities (kind, tenant, entity);

CREATE TABLE members (
    entity INTEGER NOT NULL,
    user   TEXT    NOT NULL,
    PRIMARY KEY (entity, user)
) STRICT, WITHOUT ROWID;

CREATE TABLE journal (
    entity   INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    offset   INTEGER NOT NULL, -- of the outcome
    changes  INTEGER NOT NULL,
    at       INTEGER NOT NULL, -- milliseconds since 1970
    crc      INTEGER NOT NULL, -- CRC-32 of the value
    value    BLOB    NOT NULL  -- the outcome as the log holds it
) STRICT;
CREATE UNIQUE INDEX journal_by_entity ON journal (entity, last_seq, offset);

CREATE TABLE snapshots (
    entity INTEGER PRIMARY KEY,
    offset INTEGER NOT NULL, -- of the last outcome in it
    seq    INTEGER NOT NULL,
    crc    INTEGER NOT NULL,
    value  BLOB    NOT NULL
) STRICT;

CREATE TABLE timers (
    key       TEXT    PRIMARY KEY, -- tenant/kind:id
    kind      TEXT    NOT NULL,
    partition INTEGER NOT NULL,
    at        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX timers_by_partition ON timers (kind, partition);
