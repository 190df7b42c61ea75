-- The journal of runs, on PostgreSQL. JSON is kept as text: what is read back is what was written,
-- to the byte.

CREATE TABLE {schema}.run (
    run_id text COLLATE "C" PRIMARY KEY,
    composition_id text NOT NULL,
    composition text NOT NULL,              -- JSON
    input text NOT NULL,                    -- JSON
    budget text NOT NULL,
    limit_usd text NOT NULL,
    started_at bigint NOT NULL,
    status text NOT NULL,
    statement text                          -- JSON, once the run has ended
);
CREATE INDEX run_by_start ON {schema}.run (started_at, run_id);

-- What a run that goes on has spent so far; its statement takes the place of its lines.
CREATE TABLE {schema}.run_line (
    run_id text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    line text NOT NULL,                     -- JSON
    PRIMARY KEY (run_id, number)
);
