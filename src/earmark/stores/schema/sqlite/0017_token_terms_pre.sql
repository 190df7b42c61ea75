-- How a token of the gateway asks and is refused. Programs of the step before know none of it: they
-- refuse what nothing bounds, add no tier, and refuse each client in its own form.

ALTER TABLE token ADD COLUMN may_bound INTEGER NOT NULL DEFAULT 0;       -- 1: its requests may name their own bound
ALTER TABLE token ADD COLUMN tier TEXT NOT NULL DEFAULT '';             -- '': none, as the next's 0
ALTER TABLE token ADD COLUMN refusal_status INTEGER NOT NULL DEFAULT 0;
