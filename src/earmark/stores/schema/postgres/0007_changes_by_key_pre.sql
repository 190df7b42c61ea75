-- Entries of a reservation are found from its row, along `prior`. The others are few: found by their
-- keys in an index of them alone, so that no reserve and no settle writes to it.

CREATE INDEX entry_change ON {schema}.entry ("key")
    WHERE kind <> 'reserve' AND kind <> 'extend' AND kind <> 'settle' AND kind <> 'release'
    AND kind <> 'presume';
