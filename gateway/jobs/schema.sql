CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY,
    seq INTEGER NOT NULL UNIQUE,
    state TEXT NOT NULL,
    priority INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    created_at REAL NOT NULL,
    started_at REAL,
    finished_at REAL,
    not_before REAL NOT NULL DEFAULT 0,
    deadline REAL,
    is_anonymous INTEGER NOT NULL,
    needs_fetch INTEGER NOT NULL,
    needs_secrets INTEGER NOT NULL,
    cancel_asked INTEGER NOT NULL DEFAULT 0,
    has_files INTEGER NOT NULL DEFAULT 0,
    owner TEXT,
    fingerprint TEXT NOT NULL,
    idempotency_key TEXT UNIQUE,
    prompt_id TEXT,
    lease TEXT,
    lease_until REAL,
    request TEXT NOT NULL,
    graph TEXT NOT NULL,
    result TEXT NOT NULL DEFAULT '{}',
    warnings TEXT NOT NULL DEFAULT '[]',
    error TEXT
) STRICT;

CREATE INDEX IF NOT EXISTS jobs_queue ON jobs (priority DESC, seq) WHERE state = 'queued';
CREATE INDEX IF NOT EXISTS jobs_leased ON jobs (lease_until) WHERE lease IS NOT NULL;
CREATE INDEX IF NOT EXISTS jobs_deadline ON jobs (deadline)
    WHERE state = 'queued' AND deadline IS NOT NULL;
CREATE INDEX IF NOT EXISTS jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS jobs_state ON jobs (state, seq);
