-- The queue's order as one number, lower first; and the calls that jobs owe when they are over.
ALTER TABLE jobs ADD COLUMN queued_at REAL NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN rank REAL NOT NULL DEFAULT 0;
-- Somebody is still owed a call about the job, or it has a dead letter.
ALTER TABLE jobs ADD COLUMN is_owed INTEGER NOT NULL DEFAULT 0;
UPDATE jobs SET queued_at = created_at, rank = created_at - priority * 600.0;

DROP INDEX IF EXISTS jobs_queue;
CREATE INDEX jobs_queue ON jobs (rank, seq) WHERE state = 'queued';
CREATE INDEX jobs_fetching ON jobs (rank, seq) WHERE state = 'queued' AND needs_fetch = 1;
CREATE INDEX jobs_ready ON jobs (rank, seq) WHERE state = 'queued' AND needs_fetch = 0;
CREATE INDEX jobs_anonymous ON jobs (id) WHERE is_anonymous = 1 AND finished_at IS NULL;
DROP INDEX IF EXISTS jobs_finished;
CREATE INDEX jobs_with_files ON jobs (finished_at)
    WHERE finished_at IS NOT NULL AND has_files = 1 AND is_owed = 0;
CREATE INDEX jobs_without_files ON jobs (finished_at)
    WHERE finished_at IS NOT NULL AND has_files = 0 AND is_owed = 0;

CREATE TABLE deliveries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    job_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    url TEXT NOT NULL,
    destination TEXT NOT NULL,
    output INTEGER,
    state TEXT NOT NULL DEFAULT 'pending',
    attempts TEXT NOT NULL DEFAULT '[]',
    tries INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    tried_at REAL,
    next_at REAL,
    ended_at REAL
) STRICT;

CREATE INDEX deliveries_due ON deliveries (destination, next_at) WHERE state = 'pending';
CREATE INDEX deliveries_next ON deliveries (next_at) WHERE state = 'pending';
CREATE INDEX deliveries_dead ON deliveries (ended_at) WHERE state = 'dead';
CREATE INDEX deliveries_state ON deliveries (state, seq);
CREATE INDEX deliveries_job ON deliveries (job_id);
