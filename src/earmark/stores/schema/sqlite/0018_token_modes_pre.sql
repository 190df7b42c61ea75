-- Whether a token of the gateway spends in an observed tree. Programs of the step before know no
-- mode: there each token enforces, so that one that observes is refused in an observed tree.

ALTER TABLE token ADD COLUMN mode TEXT NOT NULL DEFAULT 'enforce';  -- or 'observe'
