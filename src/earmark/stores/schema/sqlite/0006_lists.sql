-- Which tasks have a label: a list of them does not read all the others.

CREATE TABLE task_label (
    label TEXT NOT NULL,
    number INTEGER NOT NULL,                -- of the task
    PRIMARY KEY (label, number)
) STRICT, WITHOUT ROWID;
INSERT INTO task_label (label, number)
SELECT DISTINCT value, number FROM task, json_each(labels);

-- The tasks of one state and priority in their order, for lists by urgency.
CREATE INDEX task_by_urgency ON task (status, priority, number);

-- What nobody has acknowledged is little of all that was ever said.
CREATE INDEX nudge_open ON nudge (number) WHERE acked_at = 0;
