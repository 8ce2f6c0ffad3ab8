-- What is set for a namespace, apart from the namespace itself: it may be set before there is one, and outlives it. What is
-- as for every namespace is not set.
CREATE TABLE limits (
    namespace TEXT PRIMARY KEY,
    document  TEXT NOT NULL
) STRICT;
INSERT INTO limits (namespace, document)
SELECT name, document FROM (
    -- a patch leaves out what is null
    SELECT name, json_patch('{}', json_object(
        'invocationsPerMinute', nullif(json_extract(limits, '$.invocations_per_minute'), 60),
        'concurrentInvocations', nullif(json_extract(limits, '$.concurrent_invocations'), 30),
        'firesPerMinute', nullif(json_extract(limits, '$.fires_per_minute'), 60)
    )) AS document
    FROM namespaces
) WHERE document <> '{}';
ALTER TABLE namespaces DROP COLUMN limits;
