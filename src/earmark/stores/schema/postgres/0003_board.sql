-- The board and its tasks, the quilt, nudges on their way, agents, tokens: what a heartbeat and the
-- service keep beside the books. Instants are nanoseconds since the epoch. Statements are written
-- once for every database, so names and types are those that all of them have.

CREATE TABLE {schema}.task (
    id text COLLATE "C" PRIMARY KEY,                    -- UUID
    number bigint NOT NULL UNIQUE,         -- in the order of addition, from 1
    title text NOT NULL,
    description text NOT NULL,              -- Markdown
    type text COLLATE "C" NOT NULL,
    priority bigint NOT NULL CHECK (priority BETWEEN 0 AND 3),
    labels text NOT NULL,                   -- JSON array
    destructive bigint NOT NULL,           -- 1: a person approves it first, nothing repeats it
    assignee text NOT NULL,                 -- the one agent that may claim it; '' for any
    work text NOT NULL,                     -- JSON: a model stage or a composition
    status text COLLATE "C" NOT NULL,
    approval text NOT NULL,                 -- '', wanted, given, denied
    approved_by text NOT NULL,
    waiting bigint NOT NULL,               -- tasks it needs that are not accepted yet
    attempts bigint NOT NULL,              -- made so far
    max_attempts bigint NOT NULL,
    agent text NOT NULL,                    -- who claimed it: `Cloud Lu`
    model text NOT NULL,                    -- to whom that agent gave it: `anthropic/claude-…`
    lease_until bigint NOT NULL,           -- 0 where nobody claims it
    due_at bigint NOT NULL,                -- not before this
    created_at bigint NOT NULL,
    created_by text NOT NULL,
    claimed_at bigint NOT NULL,            -- 0 where not yet, as the next two
    started_at bigint NOT NULL,
    completed_at bigint NOT NULL,
    result text,                            -- JSON
    error text NOT NULL,
    quality text,                           -- JSON: overall, passed, graded_by, graded_at, note
    version bigint NOT NULL                -- one more with each change
);
CREATE INDEX task_next ON {schema}.task (approval, assignee, priority, number)
    WHERE status = 'pending' AND waiting = 0;
CREATE INDEX task_lease ON {schema}.task (lease_until) WHERE lease_until > 0;
CREATE INDEX task_by_status ON {schema}.task (status, number);

CREATE TABLE {schema}.task_need (
    task_id text COLLATE "C" NOT NULL,
    needs_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (task_id, needs_id)
);
CREATE INDEX task_need_back ON {schema}.task_need (needs_id);

-- One try of a task: what leads from it to the books.
CREATE TABLE {schema}.task_attempt (
    task_id text COLLATE "C" NOT NULL,
    number bigint NOT NULL,                -- from 1
    agent text NOT NULL,
    model text NOT NULL,
    "key" text COLLATE "C" NOT NULL,                    -- of its reservation; '' for a composition
    run_id text NOT NULL,                   -- of its run; '' for a model stage
    budget text NOT NULL,                   -- who paid
    started_at bigint NOT NULL,
    ended_at bigint NOT NULL,              -- 0 while it runs
    outcome text NOT NULL,                  -- '', completed, failed, unknown, lost, parked
    input_tokens bigint,
    output_tokens bigint,
    PRIMARY KEY (task_id, number)
);

-- Every decision about a task, in the order they were taken.
CREATE TABLE {schema}.task_event (
    number bigint PRIMARY KEY,
    task_id text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    actor text NOT NULL,
    move text NOT NULL,                     -- added, claimed, started, completed …
    status text COLLATE "C" NOT NULL,                   -- of the task, after it
    note text NOT NULL,
    operation text COLLATE "C" NOT NULL UNIQUE          -- a repeat of the write finds it done
);
CREATE INDEX task_event_by_task ON {schema}.task_event (task_id, number);

-- The agents' shared memory: the patches as they are, and as they were.
CREATE TABLE {schema}.quilt_patches (
    type text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    data text NOT NULL,                     -- JSON
    version bigint NOT NULL,               -- from 1
    author text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    PRIMARY KEY (type, name)
);
CREATE TABLE {schema}.quilt_history (
    type text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    data text NOT NULL,
    author text NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (type, name, version)
);

-- The outbox. A nudge's id follows from what it is about, so the same one is never written twice.
CREATE TABLE {schema}.nudge (
    id text COLLATE "C" PRIMARY KEY,
    number bigint NOT NULL UNIQUE,
    kind text NOT NULL,                     -- threshold, exhausted, paused, overrun, unknown …
    budget text NOT NULL,
    recipient text NOT NULL,                -- a sibling
    title text NOT NULL,
    data text NOT NULL,                     -- JSON
    created_at bigint NOT NULL,
    acked_by text NOT NULL,
    acked_at bigint NOT NULL               -- 0 until somebody acknowledges it
);
CREATE TABLE {schema}.nudge_delivery (
    nudge_id text COLLATE "C" NOT NULL,
    channel text COLLATE "C" NOT NULL,
    state text NOT NULL,                    -- waiting, delivered, given_up
    tries bigint NOT NULL,
    next_at bigint NOT NULL,               -- not before this; moved on while somebody tries
    delivered_at bigint NOT NULL,
    error text NOT NULL,
    PRIMARY KEY (nudge_id, channel)
);
CREATE INDEX nudge_delivery_due ON {schema}.nudge_delivery (next_at) WHERE state = 'waiting';
-- Up to which entry of each tree of budgets the books were read for nudges.
CREATE TABLE {schema}.nudge_mark (
    tree text COLLATE "C" PRIMARY KEY,
    seq bigint NOT NULL
);

-- One row for each heartbeat by name: its lease, and what it says of itself.
CREATE TABLE {schema}.agent (
    name text COLLATE "C" PRIMARY KEY,
    holder text NOT NULL,                   -- the process that has the lease; '' for none
    lease_until bigint NOT NULL,
    cycles bigint NOT NULL,
    state text NOT NULL,                    -- JSON: the last cycle's report
    updated_at bigint NOT NULL
);

-- Who may use the service. The token itself is kept nowhere.
CREATE TABLE {schema}.token (
    id text COLLATE "C" PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    digest text COLLATE "C" NOT NULL UNIQUE,
    scopes text NOT NULL,                   -- separated by spaces
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,            -- 0 for never, as the next
    revoked_at bigint NOT NULL
);

-- Requests that named an Idempotency-Key, and what they were answered.
CREATE TABLE {schema}.request (
    token_id text COLLATE "C" NOT NULL,
    "key" text COLLATE "C" NOT NULL,
    fingerprint text NOT NULL,
    at bigint NOT NULL,
    status bigint NOT NULL,                -- 0 while it is answered
    body text NOT NULL,
    PRIMARY KEY (token_id, "key")
);
CREATE INDEX request_by_age ON {schema}.request (at);

-- Nudges follow on the alerts after the last one they know.
CREATE INDEX alert_by_seq ON {schema}.alert (seq);
