-- An accept writes three trees and no more: lists of a namespace go through the indexes of what is in a state, and the rows themselves
-- count what was accepted lately.
DROP INDEX calls_listed;
DROP INDEX calls_delayed;

-- By place within a priority, as any index is: naming it keeps it twice.
DROP INDEX calls_ready;
CREATE INDEX calls_ready ON calls (lane, priority DESC) WHERE state = 0;

-- What waits for its time, or stands behind another, of each namespace in the order of the accepts.
CREATE INDEX calls_later ON calls (namespace, state) WHERE state IN (3, 4);

-- The last place that `accepted` counts. Rows behind it were accepted since, and follow each other without a gap.
ALTER TABLE totals ADD COLUMN counted INTEGER NOT NULL DEFAULT 0;
UPDATE totals SET counted = COALESCE((SELECT MAX(place) FROM calls), 0);
