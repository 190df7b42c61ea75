-- What a reservation counts on may grow: by a change of its budget that counts what was before, and
-- by an extension under a limit that was set since. Such an account counts only what was added.

-- JSON: [[place in accounts, usd, calls, tokens that were held before], …]; NULL for none.
ALTER TABLE reservation ADD COLUMN parts TEXT;
