-- Secrets of tokens that were replaced and open until their overlap ends; the one that stands is
-- `token.digest`. Programs of the step before do not know them: there a replaced one opens nothing.

CREATE TABLE {schema}.token_secret (
    token_id text COLLATE "C" NOT NULL,
    digest text COLLATE "C" NOT NULL,
    ends_at bigint NOT NULL,               -- from then on it opens nothing
    PRIMARY KEY (token_id, digest)
);

ALTER TABLE {schema}.token ADD COLUMN rotated_at bigint NOT NULL DEFAULT 0;     -- 0 for never, as the next
ALTER TABLE {schema}.token ADD COLUMN overlap_until bigint NOT NULL DEFAULT 0;  -- of the last one replaced
