-- How far compositions are that were begun: what their next dispatcher goes on from. Gone with their ends.
CREATE TABLE progress (
    place    INTEGER PRIMARY KEY,
    progress BLOB NOT NULL
) STRICT;
