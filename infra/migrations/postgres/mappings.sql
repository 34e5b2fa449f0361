-- Values by name, for what has its own life beside the entities (actors::ports::Mappings).
CREATE TABLE IF NOT EXISTS mappings (
    key   text COLLATE "C" PRIMARY KEY,
    value bytea NOT NULL
);
