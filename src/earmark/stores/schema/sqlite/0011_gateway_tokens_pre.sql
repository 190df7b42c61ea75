-- What a token of the gateway may spend. A token of the service has no budget; programs of the step
-- before take one of the gateway for a token without scopes, which opens nothing of theirs.

ALTER TABLE token ADD COLUMN budget TEXT NOT NULL DEFAULT '';
ALTER TABLE token ADD COLUMN providers TEXT NOT NULL DEFAULT '';  -- separated by spaces, as the next
ALTER TABLE token ADD COLUMN models TEXT NOT NULL DEFAULT '';
ALTER TABLE token ADD COLUMN most_per_request INTEGER NOT NULL DEFAULT 0;  -- nano-USD; 0: no limit
