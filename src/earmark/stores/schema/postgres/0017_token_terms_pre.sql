-- How a token of the gateway asks and is refused. Programs of the step before know none of it: they
-- refuse what nothing bounds, add no tier, and refuse each client in its own form.

ALTER TABLE {schema}.token ADD COLUMN may_bound bigint NOT NULL DEFAULT 0;       -- 1: its requests may name their own bound
ALTER TABLE {schema}.token ADD COLUMN tier text NOT NULL DEFAULT '';             -- '': none, as the next's 0
ALTER TABLE {schema}.token ADD COLUMN refusal_status bigint NOT NULL DEFAULT 0;
