-- The budgets that clients of the gateway named below their token's, so many of each token at most.
-- A number is given once: two processes that count alike cannot both take the last one.

CREATE TABLE {schema}.session_budget (
    token_id text COLLATE "C" NOT NULL,
    path text COLLATE "C" NOT NULL,
    number bigint NOT NULL,                 -- from 1, without a gap
    created_at bigint NOT NULL,
    PRIMARY KEY (token_id, path),
    UNIQUE (token_id, number)
);
