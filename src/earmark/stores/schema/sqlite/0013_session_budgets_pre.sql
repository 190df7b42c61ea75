-- The budgets that clients of the gateway named below their token's, so many of each token at most.
-- A number is given once: two processes that count alike cannot both take the last one.

CREATE TABLE session_budget (
    token_id TEXT NOT NULL,
    path TEXT NOT NULL,
    number INTEGER NOT NULL,                -- from 1, without a gap
    created_at INTEGER NOT NULL,
    PRIMARY KEY (token_id, path),
    UNIQUE (token_id, number)
) STRICT;
