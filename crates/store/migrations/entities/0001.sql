-- One row: the sequence of the last change. Updated in the transaction of every change, so that the order of commits is
-- the order of sequences. Revisions are drawn from it too: they grow for ever, also over deletion.
CREATE TABLE counters (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    sequence INTEGER NOT NULL
) STRICT;
INSERT INTO counters (id, sequence) VALUES (1, 0);

-- Ids are unique over all types of entities: `ns/[pkg/]name`.
CREATE TABLE entities (
    name       TEXT PRIMARY KEY,
    type       TEXT NOT NULL,
    namespace  TEXT NOT NULL,
    revision   INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    code       TEXT,
    code_bytes INTEGER NOT NULL,
    document   TEXT NOT NULL
) STRICT;
CREATE INDEX entities_by_namespace ON entities (namespace, type, updated_ms, name);
CREATE INDEX entities_by_code ON entities (code) WHERE code IS NOT NULL;

-- What bounds are held against; kept in the transaction of every write.
CREATE TABLE usage (
    namespace  TEXT PRIMARY KEY,
    entities   INTEGER NOT NULL,
    code_bytes INTEGER NOT NULL
) STRICT;

-- Code texts by SHA-256, each once, as long as an entity refers to it.
CREATE TABLE codes (
    hash TEXT PRIMARY KEY,
    text TEXT NOT NULL
) STRICT;

CREATE TABLE subjects (
    subject TEXT PRIMARY KEY,
    blocked INTEGER NOT NULL
) STRICT;

-- A namespace with its credential: SHA-256 of `uuid:key` for look-up, and the key sealed with the key file.
CREATE TABLE namespaces (
    place   INTEGER PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE,
    uuid    TEXT NOT NULL UNIQUE,
    subject TEXT NOT NULL REFERENCES subjects (subject),
    hash    BLOB NOT NULL,
    sealed  BLOB NOT NULL,
    limits  TEXT NOT NULL
) STRICT;
CREATE INDEX namespaces_by_subject ON namespaces (subject, place);

-- The change log: sequences without gaps, the oldest removed.
CREATE TABLE changes (
    sequence INTEGER PRIMARY KEY,
    type     TEXT NOT NULL,
    name     TEXT NOT NULL,
    revision INTEGER
) STRICT;
