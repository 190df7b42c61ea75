-- Entries are numbered without a gap on SQLite, and with gaps on PostgreSQL. A file that is a copy
-- says up to which number it may have gaps, so that an audit misses no entry.

CREATE TABLE copied (
    last INTEGER NOT NULL,                  -- the highest number that was copied
    entries INTEGER NOT NULL,               -- how many entries up to there
    at INTEGER NOT NULL                     -- the latest instant of any: time goes on from there
) STRICT;
