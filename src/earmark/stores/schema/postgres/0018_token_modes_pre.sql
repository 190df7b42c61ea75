-- Whether a token of the gateway spends in an observed tree. Programs of the step before know no
-- mode: there each token enforces, so that one that observes is refused in an observed tree.

ALTER TABLE {schema}.token ADD COLUMN mode text NOT NULL DEFAULT 'enforce';  -- or 'observe'
