-- Who opened a budget: `budget` for a person or a program, `run` or `session` for one that was opened
-- for itself alone. Until now the name said it: once more here, and never again.

ALTER TABLE budget ADD COLUMN kind TEXT NOT NULL DEFAULT 'budget';
UPDATE budget SET kind = 'run' WHERE '/' || path GLOB '*/run-[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]';

-- Lists leave out the thousands that runs opened, which do not write to it.
CREATE INDEX budget_listed ON budget (path) WHERE kind = 'budget';
