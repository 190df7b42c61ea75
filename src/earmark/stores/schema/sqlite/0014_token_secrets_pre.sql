-- Secrets of tokens that were replaced and open until their overlap ends; the one that stands is
-- `token.digest`. Programs of the step before do not know them: there a replaced one opens nothing.

CREATE TABLE token_secret (
    token_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    ends_at INTEGER NOT NULL,               -- from then on it opens nothing
    PRIMARY KEY (token_id, digest)
) STRICT;

ALTER TABLE token ADD COLUMN rotated_at INTEGER NOT NULL DEFAULT 0;     -- 0 for never, as the next
ALTER TABLE token ADD COLUMN overlap_until INTEGER NOT NULL DEFAULT 0;  -- of the last one replaced
