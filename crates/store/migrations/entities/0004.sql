-- What fires triggers by the clock. `next_ms` is when somebody must look at it; never when it is over or paused.
CREATE TABLE alarms (
    name      TEXT PRIMARY KEY,
    namespace TEXT NOT NULL,
    revision  INTEGER NOT NULL,
    next_ms   INTEGER,
    document  TEXT NOT NULL
) STRICT;
CREATE INDEX alarms_by_namespace ON alarms (namespace, name);
CREATE INDEX alarms_due ON alarms (next_ms) WHERE next_ms IS NOT NULL;

-- One row: the last revision that was drawn; they grow for ever, also over deletion.
CREATE TABLE alarm_revisions (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    last INTEGER NOT NULL
) STRICT;
INSERT INTO alarm_revisions (id, last) VALUES (1, 0);
