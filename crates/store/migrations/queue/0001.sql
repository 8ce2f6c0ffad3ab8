-- state: 0 accepted, 1 leased, 2 running; a call that is done has no row.
CREATE TABLE calls (
    place          INTEGER PRIMARY KEY,
    id             BLOB NOT NULL UNIQUE,
    namespace      TEXT NOT NULL,
    action         TEXT NOT NULL,
    state          INTEGER NOT NULL CHECK (state BETWEEN 0 AND 2),
    owner          INTEGER,
    lease_until_ms INTEGER,
    attempt        INTEGER NOT NULL,
    accepted_ms    INTEGER NOT NULL,
    not_before_ms  INTEGER NOT NULL,
    partition      TEXT,
    transaction_id TEXT NOT NULL,
    traceparent    TEXT,
    bytes          INTEGER NOT NULL
) STRICT;
CREATE INDEX calls_waiting ON calls (accepted_ms, place, not_before_ms) WHERE state = 0;
CREATE INDEX calls_held ON calls (lease_until_ms, owner) WHERE state > 0;

-- Apart from the calls, so that a change of state never rewrites a payload.
CREATE TABLE payloads (
    place   INTEGER PRIMARY KEY,
    payload BLOB NOT NULL
) STRICT;
