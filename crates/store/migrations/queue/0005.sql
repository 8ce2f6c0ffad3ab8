-- Plain calls that were not leased yet: of the default policy, due at once, with a small payload. An accept writes this narrow table and its
-- two indexes; the first that happens to a call besides, as a rule its lease, moves it to `calls`. Places are of one count for both.
CREATE TABLE fresh (
    place          INTEGER PRIMARY KEY,
    id             BLOB NOT NULL,
    lane           INTEGER NOT NULL,
    accepted_ms    INTEGER NOT NULL,
    transaction_id TEXT NOT NULL,
    payload        BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX fresh_by_id ON fresh (id);
-- By place within a lane.
CREATE INDEX fresh_by_lane ON fresh (lane);
