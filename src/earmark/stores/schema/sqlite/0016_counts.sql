-- Counts of units that have no column of their own: every unit but usd, calls and tokens, so that a
-- later one needs no migration. Older programs cannot count them.

-- JSON: {unit: count}, of what is held, of what it came to, of what an entry is about; NULL for none.
ALTER TABLE reservation ADD COLUMN counts TEXT;
ALTER TABLE reservation ADD COLUMN actual_counts TEXT;
ALTER TABLE entry ADD COLUMN counts TEXT;
