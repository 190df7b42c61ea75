-- The journal of runs, on SQLite. Files of Earmark 0.1 have the tables already, and a mark of the
-- journal's own beside them, which the table `migration` replaces.

CREATE TABLE IF NOT EXISTS run (
    run_id TEXT PRIMARY KEY,
    composition_id TEXT NOT NULL,
    composition TEXT NOT NULL,              -- JSON
    input TEXT NOT NULL,                    -- JSON
    budget TEXT NOT NULL,
    limit_usd TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    status TEXT NOT NULL,
    statement TEXT                          -- JSON, once the run has ended
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS run_by_start ON run (started_at);

-- What a run that goes on has spent so far; its statement takes the place of its lines.
CREATE TABLE IF NOT EXISTS run_line (
    run_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    line TEXT NOT NULL,                     -- JSON
    PRIMARY KEY (run_id, number)
) STRICT, WITHOUT ROWID;

DROP TABLE IF EXISTS run_schema;
