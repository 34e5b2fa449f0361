-- What the projector writes. All of it can be made anew from the log.
CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE checkpoints (
    kind                TEXT    NOT NULL,
    partition           INTEGER NOT NULL,
    epoch               BIGINT,
    "offset"            BIGINT  NOT NULL,
    last_command_offset BIGINT  NOT NULL,
    PRIMARY KEY (kind, partition)
);

CREATE TABLE entities (
    id         BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key        TEXT    NOT NULL UNIQUE, -- tenant/kind:id
    tenant     TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    entity     TEXT    NOT NULL COLLATE "C", -- the id alone
    title      TEXT,                    -- null until it is created
    open       BOOLEAN NOT NULL DEFAULT FALSE, -- whether the tenant may see it unasked
    seq        BIGINT  NOT NULL,
    created_at BIGINT  NOT NULL,        -- milliseconds since 1970
    updated_at BIGINT  NOT NULL
);
CREATE INDEX entities_by_kind ON entities (kind, tenant, entity);

CREATE TABLE members (
    entity BIGINT NOT NULL,
    member TEXT   NOT NULL,
    PRIMARY KEY (entity, member)
);

CREATE TABLE journal (
    entity   BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    "offset" BIGINT NOT NULL, -- of the outcome
    changes  BIGINT NOT NULL,
    at       BIGINT NOT NULL, -- milliseconds since 1970
    crc      BIGINT NOT NULL, -- CRC-32 of the value
    value    BYTEA  NOT NULL, -- the outcome as the log holds it
    PRIMARY KEY (entity, last_seq, "offset")
);
-- Outcomes are compressed nowhere else; short ones are not worth trying.
ALTER TABLE journal ALTER COLUMN value SET STORAGE EXTERNAL;

CREATE TABLE snapshots (
    entity   BIGINT PRIMARY KEY,
    "offset" BIGINT NOT NULL, -- of the last outcome in it
    seq      BIGINT NOT NULL,
    crc      BIGINT NOT NULL,
    value    BYTEA  NOT NULL
);

CREATE TABLE timers (
    key       TEXT    PRIMARY KEY, -- tenant/kind:id
    kind      TEXT    NOT NULL,
    partition INTEGER NOT NULL,
    at        BIGINT  NOT NULL
);
CREATE INDEX timers_by_partition ON timers (kind, partition);
