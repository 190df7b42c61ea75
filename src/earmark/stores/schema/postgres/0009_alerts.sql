-- Each amount of a limit has alerts of its own: after a raise or an extension, the thresholds of the
-- new amount are told when they are reached, and each still once.

ALTER TABLE {schema}.alert DROP CONSTRAINT alert_pkey;
ALTER TABLE {schema}.alert ADD PRIMARY KEY (account, threshold, "limit");

-- The amount that `alerted` is a share of: that of the alert it was told by.
ALTER TABLE {schema}.account ADD COLUMN alerted_of bigint NOT NULL DEFAULT 0;
UPDATE {schema}.account SET alerted_of = coalesce(
    (
        SELECT a."limit" FROM {schema}.alert a
        WHERE a.account = account.id AND a.threshold = account.alerted
    ),
    "limit"
) WHERE alerted > 0;
