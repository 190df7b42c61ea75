-- Until when a run counts as going on; it says so anew every two minutes. Programs of the step
-- before do not mind: a run of theirs has 0.

ALTER TABLE {schema}.run ADD COLUMN alive_until bigint NOT NULL DEFAULT 0;
