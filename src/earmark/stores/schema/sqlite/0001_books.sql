-- The books on SQLite. Amounts: nano-USD, calls, tokens. Instants: nanoseconds since the epoch, UTC.

CREATE TABLE budget (
    path TEXT PRIMARY KEY,
    body TEXT NOT NULL                      -- JSON: limits, time zone, alerts, pause, extensions
) STRICT, WITHOUT ROWID;

-- One limit in one interval. No CHECK against the limit: an overrun is booked in full, above it.
CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    budget TEXT NOT NULL,
    unit TEXT NOT NULL,
    "window" TEXT NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    "limit" INTEGER NOT NULL CHECK ("limit" >= 0),
    settled INTEGER NOT NULL CHECK (settled >= 0),
    held INTEGER NOT NULL CHECK (held >= 0),
    alerted INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX account_place ON account (budget, unit, "window", start);

-- Keyed by the caller's key, so that a reserve and its settle touch the same page of one B-tree.
CREATE TABLE reservation (
    "key" TEXT PRIMARY KEY,
    budget TEXT NOT NULL,
    usd INTEGER NOT NULL CHECK (usd >= 0),
    calls INTEGER NOT NULL CHECK (calls >= 0),
    tokens INTEGER,
    -- Not `IN (…)`: written so, it was two fifths of the instructions that writing a row costs.
    state TEXT NOT NULL CHECK (
        state = 'open' OR state = 'settled' OR state = 'released' OR state = 'presumed'
    ),
    accounts TEXT NOT NULL,                 -- account ids, leaf first, separated by spaces
    opened INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    closed INTEGER NOT NULL,
    actual_usd INTEGER,
    actual_calls INTEGER,
    actual_tokens INTEGER,
    asked TEXT,                             -- JSON: the amounts before extensions, if there were any
    labels TEXT NOT NULL,
    seq INTEGER NOT NULL,
    last INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX reservation_open ON reservation (expires) WHERE state = 'open';

CREATE TABLE entry (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    "key" TEXT NOT NULL,
    budget TEXT NOT NULL,
    usd INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    tokens INTEGER,
    prior INTEGER NOT NULL,                 -- the entry before it on the same reservation, or 0
    data TEXT NOT NULL
) STRICT;

-- The outbox: written in the transaction that crosses the threshold, once.
CREATE TABLE alert (
    account INTEGER NOT NULL,
    threshold INTEGER NOT NULL,             -- parts per million of the limit
    budget TEXT NOT NULL,
    unit TEXT NOT NULL,
    "window" TEXT NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    "limit" INTEGER NOT NULL,
    settled INTEGER NOT NULL,
    at INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (account, threshold)
) STRICT, WITHOUT ROWID;

-- Keyed operations that are no reservations of their own: extensions, changes of budgets.
CREATE TABLE operation (
    "key" TEXT PRIMARY KEY,
    content TEXT NOT NULL
) STRICT, WITHOUT ROWID;
