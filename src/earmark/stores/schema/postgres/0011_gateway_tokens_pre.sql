-- What a token of the gateway may spend. A token of the service has no budget; programs of the step
-- before take one of the gateway for a token without scopes, which opens nothing of theirs.

ALTER TABLE {schema}.token ADD COLUMN budget text NOT NULL DEFAULT '';
ALTER TABLE {schema}.token ADD COLUMN providers text NOT NULL DEFAULT '';  -- separated by spaces, as the next
ALTER TABLE {schema}.token ADD COLUMN models text NOT NULL DEFAULT '';
ALTER TABLE {schema}.token ADD COLUMN most_per_request bigint NOT NULL DEFAULT 0;  -- nano-USD; 0: no limit
