-- `record` before `logs`: a list that does not ask for logs never touches their pages.
CREATE TABLE activations (
    number    INTEGER PRIMARY KEY,
    id        BLOB NOT NULL UNIQUE,
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    start_ms  INTEGER NOT NULL,
    bytes     INTEGER NOT NULL,
    record    TEXT NOT NULL,
    logs      TEXT NOT NULL
) STRICT;
CREATE INDEX activations_by_start ON activations (namespace, start_ms);
CREATE INDEX activations_by_name ON activations (namespace, name, start_ms);

-- How much each namespace holds, kept in the transaction of every write: what retention is decided by.
CREATE TABLE usage (
    namespace TEXT PRIMARY KEY,
    records   INTEGER NOT NULL,
    bytes     INTEGER NOT NULL
) STRICT;
