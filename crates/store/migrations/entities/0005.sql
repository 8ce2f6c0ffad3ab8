-- A namespace may be shared by subjects, each with a credential of its own. Before, it was of one.
CREATE TABLE shared_namespaces (
    place   INTEGER PRIMARY KEY,
    name    TEXT NOT NULL,
    uuid    TEXT NOT NULL UNIQUE,
    subject TEXT NOT NULL REFERENCES subjects (subject),
    hash    BLOB NOT NULL,
    sealed  BLOB NOT NULL,
    UNIQUE (name, subject)
) STRICT;
INSERT INTO shared_namespaces (place, name, uuid, subject, hash, sealed)
SELECT place, name, uuid, subject, hash, sealed FROM namespaces;
DROP TABLE namespaces;
ALTER TABLE shared_namespaces RENAME TO namespaces;
CREATE INDEX namespaces_by_subject ON namespaces (subject, place);
