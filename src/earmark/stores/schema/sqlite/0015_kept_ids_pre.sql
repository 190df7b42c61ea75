-- What providers keep under an id that a reply named, such as a stored response: whose it is. Only
-- the token that it was made with may name it again.

CREATE TABLE kept_id (
    provider TEXT NOT NULL,
    id TEXT NOT NULL,
    token_id TEXT NOT NULL,
    model TEXT NOT NULL,                    -- as its provider names it
    tokens INTEGER,                         -- the most that it brings into a request; NULL: unknown
    kept_at INTEGER NOT NULL,
    PRIMARY KEY (provider, id)
) STRICT;
CREATE INDEX kept_id_by_age ON kept_id (kept_at);
CREATE INDEX kept_id_by_id ON kept_id (id, token_id);
