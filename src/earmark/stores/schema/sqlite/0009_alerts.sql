-- Each amount of a limit has alerts of its own: after a raise or an extension, the thresholds of the
-- new amount are told when they are reached, and each still once.

CREATE TABLE alert_by_amount (
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
    PRIMARY KEY (account, threshold, "limit")
) STRICT, WITHOUT ROWID;
INSERT INTO alert_by_amount (
    account, threshold, budget, unit, "window", start, "end", "limit", settled, at, seq
) SELECT account, threshold, budget, unit, "window", start, "end", "limit", settled, at, seq
FROM alert;
DROP TABLE alert;
ALTER TABLE alert_by_amount RENAME TO alert;
CREATE INDEX alert_by_seq ON alert (seq);

-- The amount that `alerted` is a share of: that of the alert it was told by.
ALTER TABLE account ADD COLUMN alerted_of INTEGER NOT NULL DEFAULT 0;
UPDATE account SET alerted_of = coalesce(
    (SELECT a."limit" FROM alert a WHERE a.account = account.id AND a.threshold = account.alerted),
    "limit"
) WHERE alerted > 0;
