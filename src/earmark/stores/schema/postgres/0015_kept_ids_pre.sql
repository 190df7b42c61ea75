-- What providers keep under an id that a reply named, such as a stored response: whose it is. Only
-- the token that it was made with may name it again.

CREATE TABLE {schema}.kept_id (
    provider text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    token_id text COLLATE "C" NOT NULL,
    model text NOT NULL,                    -- as its provider names it
    tokens bigint,                          -- the most that it brings into a request; NULL: unknown
    kept_at bigint NOT NULL,
    PRIMARY KEY (provider, id)
);
CREATE INDEX kept_id_by_age ON {schema}.kept_id (kept_at);
CREATE INDEX kept_id_by_id ON {schema}.kept_id (id, token_id);
