-- The board and its tasks, the quilt, nudges on their way, agents, tokens: what a heartbeat and the
-- service keep beside the books. Instants are nanoseconds since the epoch. Statements are written
-- once for every database, so names and types are those that all of them have.

CREATE TABLE task (
    id TEXT PRIMARY KEY,                    -- UUID
    number INTEGER NOT NULL UNIQUE,         -- in the order of addition, from 1
    title TEXT NOT NULL,
    description TEXT NOT NULL,              -- Markdown
    type TEXT NOT NULL,
    priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 3),
    labels TEXT NOT NULL,                   -- JSON array
    destructive INTEGER NOT NULL,           -- 1: a person approves it first, nothing repeats it
    assignee TEXT NOT NULL,                 -- the one agent that may claim it; '' for any
    work TEXT NOT NULL,                     -- JSON: a model stage or a composition
    status TEXT NOT NULL,
    approval TEXT NOT NULL,                 -- '', wanted, given, denied
    approved_by TEXT NOT NULL,
    waiting INTEGER NOT NULL,               -- tasks it needs that are not accepted yet
    attempts INTEGER NOT NULL,              -- made so far
    max_attempts INTEGER NOT NULL,
    agent TEXT NOT NULL,                    -- who claimed it: `Cloud Lu`
    model TEXT NOT NULL,                    -- to whom that agent gave it: `anthropic/claude-…`
    lease_until INTEGER NOT NULL,           -- 0 where nobody claims it
    due_at INTEGER NOT NULL,                -- not before this
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    claimed_at INTEGER NOT NULL,            -- 0 where not yet, as the next two
    started_at INTEGER NOT NULL,
    completed_at INTEGER NOT NULL,
    result TEXT,                            -- JSON
    error TEXT NOT NULL,
    quality TEXT,                           -- JSON: overall, passed, graded_by, graded_at, note
    version INTEGER NOT NULL                -- one more with each change
) STRICT;
CREATE INDEX task_next ON task (approval, assignee, priority, number)
    WHERE status = 'pending' AND waiting = 0;
CREATE INDEX task_lease ON task (lease_until) WHERE lease_until > 0;
CREATE INDEX task_by_status ON task (status, number);

CREATE TABLE task_need (
    task_id TEXT NOT NULL,
    needs_id TEXT NOT NULL,
    PRIMARY KEY (task_id, needs_id)
) STRICT;
CREATE INDEX task_need_back ON task_need (needs_id);

-- One try of a task: what leads from it to the books.
CREATE TABLE task_attempt (
    task_id TEXT NOT NULL,
    number INTEGER NOT NULL,                -- from 1
    agent TEXT NOT NULL,
    model TEXT NOT NULL,
    "key" TEXT NOT NULL,                    -- of its reservation; '' for a composition
    run_id TEXT NOT NULL,                   -- of its run; '' for a model stage
    budget TEXT NOT NULL,                   -- who paid
    started_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,              -- 0 while it runs
    outcome TEXT NOT NULL,                  -- '', completed, failed, unknown, lost, parked
    input_tokens INTEGER,
    output_tokens INTEGER,
    PRIMARY KEY (task_id, number)
) STRICT;

-- Every decision about a task, in the order they were taken.
CREATE TABLE task_event (
    number INTEGER PRIMARY KEY,
    task_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    move TEXT NOT NULL,                     -- added, claimed, started, completed …
    status TEXT NOT NULL,                   -- of the task, after it
    note TEXT NOT NULL,
    operation TEXT NOT NULL UNIQUE          -- a repeat of the write finds it done
) STRICT;
CREATE INDEX task_event_by_task ON task_event (task_id, number);

-- The agents' shared memory: the patches as they are, and as they were.
CREATE TABLE quilt_patches (
    type TEXT NOT NULL,
    name TEXT NOT NULL,
    data TEXT NOT NULL,                     -- JSON
    version INTEGER NOT NULL,               -- from 1
    author TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (type, name)
) STRICT;
CREATE TABLE quilt_history (
    type TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    data TEXT NOT NULL,
    author TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (type, name, version)
) STRICT;

-- The outbox. A nudge's id follows from what it is about, so the same one is never written twice.
CREATE TABLE nudge (
    id TEXT PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE,
    kind TEXT NOT NULL,                     -- threshold, exhausted, paused, overrun, unknown …
    budget TEXT NOT NULL,
    recipient TEXT NOT NULL,                -- a sibling
    title TEXT NOT NULL,
    data TEXT NOT NULL,                     -- JSON
    created_at INTEGER NOT NULL,
    acked_by TEXT NOT NULL,
    acked_at INTEGER NOT NULL               -- 0 until somebody acknowledges it
) STRICT;
CREATE TABLE nudge_delivery (
    nudge_id TEXT NOT NULL,
    channel TEXT NOT NULL,
    state TEXT NOT NULL,                    -- waiting, delivered, given_up
    tries INTEGER NOT NULL,
    next_at INTEGER NOT NULL,               -- not before this; moved on while somebody tries
    delivered_at INTEGER NOT NULL,
    error TEXT NOT NULL,
    PRIMARY KEY (nudge_id, channel)
) STRICT;
CREATE INDEX nudge_delivery_due ON nudge_delivery (next_at) WHERE state = 'waiting';
-- Up to which entry of each tree of budgets the books were read for nudges.
CREATE TABLE nudge_mark (
    tree TEXT PRIMARY KEY,
    seq INTEGER NOT NULL
) STRICT;

-- One row for each heartbeat by name: its lease, and what it says of itself.
CREATE TABLE agent (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,                   -- the process that has the lease; '' for none
    lease_until INTEGER NOT NULL,
    cycles INTEGER NOT NULL,
    state TEXT NOT NULL,                    -- JSON: the last cycle's report
    updated_at INTEGER NOT NULL
) STRICT;

-- Who may use the service. The token itself is kept nowhere.
CREATE TABLE token (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    scopes TEXT NOT NULL,                   -- separated by spaces
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,            -- 0 for never, as the next
    revoked_at INTEGER NOT NULL
) STRICT;

-- Requests that named an Idempotency-Key, and what they were answered.
CREATE TABLE request (
    token_id TEXT NOT NULL,
    "key" TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    at INTEGER NOT NULL,
    status INTEGER NOT NULL,                -- 0 while it is answered
    body TEXT NOT NULL,
    PRIMARY KEY (token_id, "key")
) STRICT;
CREATE INDEX request_by_age ON request (at);

-- Nudges follow on the alerts after the last one they know.
CREATE INDEX alert_by_seq ON alert (seq);
