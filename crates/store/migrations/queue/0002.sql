-- Calls with policies. state: 0 ready, 1 leased, 2 running, 3 waits for due_ms, 4 behind another of its partition, 5 dead, 6 done,
-- 7 cancelled, 8 expired. A call that is done under the default policy has no row.
DROP INDEX calls_waiting;
DROP INDEX calls_held;
ALTER TABLE calls RENAME TO old_calls;

-- A lane is the calls of one namespace for one action (/ns/[pkg/]name) or one receiver of callbacks (an address).
CREATE TABLE lanes (
    lane      INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    target    TEXT NOT NULL,
    UNIQUE (namespace, target)
) STRICT;

CREATE TABLE calls (
    place          INTEGER PRIMARY KEY,
    id             BLOB NOT NULL UNIQUE,
    lane           INTEGER NOT NULL,
    namespace      TEXT NOT NULL,
    state          INTEGER NOT NULL CHECK (state BETWEEN 0 AND 8),
    -- 0 to 9; 10 of a call that is cancelled, which is ended first.
    priority       INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 10),
    -- How often it was leased: the number of the hold. How often it was, or may have been, sent.
    leases         INTEGER NOT NULL,
    attempts       INTEGER NOT NULL,
    cancel         INTEGER NOT NULL,
    accepted_ms    INTEGER NOT NULL,
    due_ms         INTEGER NOT NULL,
    hops           INTEGER NOT NULL,
    -- What it counts for against the bounds of the queue.
    places         INTEGER NOT NULL,
    bytes          INTEGER NOT NULL,
    owner          INTEGER,
    lease_until_ms INTEGER,
    last_failure   INTEGER,
    ended_ms       INTEGER,
    partition      TEXT,
    -- JSON; NULL for the default.
    policy         TEXT,
    cause          BLOB,
    redrive_of     BLOB,
    redriven_as    BLOB,
    transaction_id TEXT NOT NULL,
    traceparent    TEXT,
    -- Of 1024 bytes at most; a larger one is in payloads, so that a change of state does not rewrite it.
    payload        BLOB
) STRICT;

-- Of each namespace in the order of the accepts, for lists.
CREATE INDEX calls_listed ON calls (namespace);
CREATE INDEX calls_ready ON calls (lane, priority DESC, place) WHERE state = 0;
CREATE INDEX calls_due ON calls (due_ms) WHERE state = 3;
CREATE INDEX calls_delayed ON calls (namespace) WHERE state = 3;
CREATE INDEX calls_held ON calls (state) WHERE state IN (1, 2);
CREATE INDEX calls_partition ON calls (namespace, partition, place) WHERE partition IS NOT NULL AND state < 5;
CREATE INDEX calls_behind ON calls (namespace, partition, place) WHERE state = 4;
CREATE INDEX calls_retried ON calls (namespace, state, attempts) WHERE attempts > 0 AND state IN (0, 3, 4);
CREATE INDEX calls_over ON calls (namespace, ended_ms, state) WHERE state >= 5;

-- Idempotency keys.
CREATE TABLE keys (
    namespace   TEXT NOT NULL,
    target      TEXT NOT NULL,
    key         TEXT NOT NULL,
    id          BLOB NOT NULL,
    fingerprint BLOB NOT NULL,
    accepted_ms INTEGER NOT NULL,
    PRIMARY KEY (namespace, target, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_by_age ON keys (namespace, accepted_ms);

-- What ever happened: in the transaction in which it does.
CREATE TABLE totals (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    accepted  INTEGER NOT NULL,
    done      INTEGER NOT NULL,
    dead      INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    expired   INTEGER NOT NULL,
    purged    INTEGER NOT NULL
) STRICT;

INSERT INTO lanes (namespace, target) SELECT DISTINCT namespace, '/' || action FROM old_calls;
INSERT INTO calls (place, id, lane, namespace, state, priority, leases, attempts, cancel, accepted_ms, due_ms, hops,
                   places, bytes, owner, lease_until_ms, partition, transaction_id, traceparent, payload)
SELECT place, id, lane, lanes.namespace, CASE state WHEN 0 THEN 3 ELSE state END, 4, attempt, state = 2, 0, accepted_ms,
       not_before_ms, 0, 1, bytes, owner, lease_until_ms, NULL, transaction_id, traceparent,
       (SELECT payload FROM payloads WHERE payloads.place = old_calls.place AND old_calls.bytes <= 1024)
FROM old_calls JOIN lanes ON lanes.namespace = old_calls.namespace AND lanes.target = '/' || old_calls.action;
INSERT INTO totals SELECT 1, COUNT(*), 0, 0, 0, 0, 0 FROM calls;
DROP TABLE old_calls;
DELETE FROM payloads WHERE place IN (SELECT place FROM calls WHERE bytes <= 1024);
