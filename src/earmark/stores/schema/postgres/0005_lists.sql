-- Which tasks have a label: a list of them does not read all the others.

CREATE TABLE {schema}.task_label (
    label text COLLATE "C" NOT NULL,
    number bigint NOT NULL,                 -- of the task
    PRIMARY KEY (label, number)
);
INSERT INTO {schema}.task_label (label, number)
SELECT DISTINCT value, number FROM {schema}.task, jsonb_array_elements_text(labels::jsonb);

-- The tasks of one state and priority in their order, for lists by urgency.
CREATE INDEX task_by_urgency ON {schema}.task (status, priority, number);

-- What nobody has acknowledged is little of all that was ever said.
CREATE INDEX nudge_open ON {schema}.nudge (number) WHERE acked_at = 0;
