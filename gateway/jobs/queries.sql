-- put --
-- Insert a job unless its id or its idempotency key is taken.
INSERT INTO jobs (
    id, seq, state, priority, attempt, created_at, deadline, is_anonymous, needs_fetch,
    needs_secrets, owner, fingerprint, idempotency_key, request, graph, models, warnings
) VALUES (
    :id, (SELECT coalesce(max(seq), 0) + 1 FROM jobs), 'queued', :priority, 1, :created_at,
    :deadline, :is_anonymous, :needs_fetch, :needs_secrets, :owner, :fingerprint,
    :idempotency_key, :request, :graph, :models, :warnings
)
ON CONFLICT DO NOTHING
RETURNING id;

-- get --
-- One job by its id.
SELECT * FROM jobs WHERE id = :id;

-- by_key --
-- One job by its idempotency key.
SELECT * FROM jobs WHERE idempotency_key = :idempotency_key;

-- list --
-- A page of jobs, newest first.
SELECT * FROM jobs
WHERE (:state IS NULL OR state = :state) AND (:before IS NULL OR seq < :before)
ORDER BY seq DESC
LIMIT :limit;

-- depth --
-- How many jobs are in each state.
SELECT state, count(*) AS jobs FROM jobs GROUP BY state;

-- position --
-- How many queued jobs come before this one.
SELECT count(*) AS ahead FROM jobs
WHERE state = 'queued' AND (
    priority > :priority
    OR (priority = :priority AND seq < (SELECT seq FROM jobs WHERE id = :id))
);

-- cancel_queued --
-- End a job that waits.
UPDATE jobs SET state = 'cancelled', finished_at = :now, error = :error
WHERE id = :id AND state = 'queued'
RETURNING *;

-- ask_cancel --
-- Ask the owner of a running job to end it.
UPDATE jobs SET cancel_asked = 1, error = coalesce(error, :error)
WHERE id = :id AND state IN ('running', 'delivering')
RETURNING *;

-- reprioritise --
-- Move a job in the queue.
UPDATE jobs SET priority = :priority WHERE id = :id AND state = 'queued' RETURNING *;

-- claim --
-- Lease the first job that needs nothing fetched, or that this worker has prepared.
UPDATE jobs SET state = 'running', lease = :lease, lease_until = :lease_until
WHERE id = (
    SELECT id FROM jobs
    WHERE state = 'queued' AND not_before <= :now
        AND (needs_fetch = 0 OR id IN (SELECT value FROM json_each(:prepared)))
    ORDER BY priority DESC, seq
    LIMIT 1
)
RETURNING *;

-- peek --
-- The first jobs that need something fetched.
SELECT * FROM jobs
WHERE state = 'queued' AND needs_fetch = 1
ORDER BY priority DESC, seq
LIMIT :limit;

-- renew --
-- Keep a lease alive.
UPDATE jobs SET lease_until = :lease_until WHERE lease = :lease RETURNING cancel_asked;

-- finish --
-- Enter delivering or a terminal state; refused when the lease is another's.
UPDATE jobs SET
    state = :state, graph = :graph, result = :result, warnings = :warnings, error = :error,
    prompt_id = :prompt_id, started_at = coalesce(:started_at, started_at),
    finished_at = :finished_at, has_files = :has_files,
    lease = CASE WHEN :finished_at IS NULL THEN lease END
WHERE id = :id AND lease = :lease
RETURNING *;

-- fail --
-- End a leased job as failed.
UPDATE jobs SET state = :state, error = :error, finished_at = :now, lease = NULL
WHERE id = :id AND lease = :lease
RETURNING *;

-- retry --
-- Queue a leased job again, one attempt further.
UPDATE jobs SET
    state = 'queued', attempt = attempt + 1, not_before = :not_before, lease = NULL,
    prompt_id = NULL
WHERE id = :id AND lease = :lease AND cancel_asked = 0
RETURNING *;

-- release --
-- Give a leased job back.
UPDATE jobs SET state = 'queued', lease = NULL, prompt_id = NULL
WHERE id = :id AND lease = :lease
RETURNING *;

-- sweep_leases --
-- Queue the jobs again whose owner is gone.
UPDATE jobs SET state = 'queued', lease = NULL, prompt_id = NULL
WHERE lease IS NOT NULL AND lease_until < :now
RETURNING *;

-- sweep_deadlines --
-- Fail the jobs whose time ran out in the queue.
UPDATE jobs SET state = 'failed', error = :error, finished_at = :now
WHERE state = 'queued' AND deadline IS NOT NULL AND deadline <= :now
RETURNING *;

-- recover --
-- At a start: every lease is of a gateway that is gone; a job goes back to the queue.
UPDATE jobs SET state = 'queued', lease = NULL, prompt_id = NULL
WHERE lease IS NOT NULL AND cancel_asked = 0
RETURNING *;

-- recover_cancelled --
-- At a start: a cancel that nobody was left to carry out.
UPDATE jobs SET state = 'cancelled', finished_at = :now, lease = NULL
WHERE lease IS NOT NULL AND cancel_asked = 1
RETURNING *;

-- recover_anonymous --
-- At a start: the clients of anonymous jobs are gone.
UPDATE jobs SET state = 'cancelled', error = :error, finished_at = :now, lease = NULL
WHERE is_anonymous = 1 AND state IN ('queued', 'running', 'delivering')
RETURNING *;

-- expired --
-- Jobs over for long whose files are still there.
SELECT * FROM jobs WHERE has_files = 1 AND finished_at <= :before LIMIT 500;

-- forget_files --
-- A job's files are gone.
UPDATE jobs SET has_files = 0 WHERE id = :id;

-- delete --
-- Delete a job that is over.
DELETE FROM jobs WHERE id = :id AND finished_at IS NOT NULL RETURNING id;

-- expire --
-- Delete the records of jobs over for long; those with files stay until these are gone.
DELETE FROM jobs WHERE finished_at <= :before AND has_files = 0 RETURNING id;
