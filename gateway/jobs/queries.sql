-- put --
-- Insert a job unless its id or its idempotency key is taken.
INSERT INTO jobs (
    id, seq, state, priority, queued_at, rank, attempt, created_at, deadline, is_anonymous,
    needs_fetch, needs_secrets, owner, fingerprint, idempotency_key, shape, inputs, request, graph,
    models, warnings
) VALUES (
    :id, (SELECT coalesce(max(seq), 0) + 1 FROM jobs), 'queued', :priority, :queued_at,
    :queued_at - :priority * 600.0, 1, :created_at, :deadline, :is_anonymous, :needs_fetch,
    :needs_secrets, :owner, :fingerprint, :idempotency_key, :shape, :inputs, :request, :graph,
    :models, :warnings
)
ON CONFLICT DO NOTHING
RETURNING id;

-- get --
-- One job by its id.
SELECT * FROM jobs WHERE id = :id;

-- by_key --
-- One job by its idempotency key.
SELECT * FROM jobs WHERE idempotency_key = :idempotency_key;

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
-- End a leased job as failed; how far it came is kept.
UPDATE jobs SET
    state = :state, error = :error, finished_at = :now, lease = NULL,
    started_at = coalesce(started_at, :started_at), prompt_id = coalesce(prompt_id, :prompt_id),
    result = json_set(result, '$.progress', json(:progress))
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
UPDATE jobs SET state = 'queued', lease = NULL
WHERE id = :id AND lease = :lease
RETURNING *;

-- sweep_leases --
-- Queue the jobs again whose owner is gone.
UPDATE jobs SET state = 'queued', lease = NULL
WHERE lease IS NOT NULL AND lease_until < :now AND cancel_asked = 0
RETURNING *;

-- sweep_deadlines --
-- Fail the jobs whose time ran out in the queue.
UPDATE jobs INDEXED BY jobs_deadline
SET state = 'failed', error = :error, finished_at = :now
WHERE state = 'queued' AND deadline IS NOT NULL AND deadline <= :now
RETURNING *;

-- leased --
-- Jobs that run, or are being delivered.
SELECT * FROM jobs WHERE lease IS NOT NULL;

-- recover --
-- At a start: every lease is of a gateway that is gone; a job goes back to the queue.
UPDATE jobs SET state = 'queued', lease = NULL
WHERE lease IS NOT NULL AND cancel_asked = 0
RETURNING *;

-- sweep_cancelled --
-- A cancel that nobody was left to carry out.
UPDATE jobs SET state = 'cancelled', finished_at = :now, lease = NULL
WHERE lease IS NOT NULL AND lease_until < :until AND cancel_asked = 1
RETURNING *;

-- cancel_leased --
-- End a leased job that would go back to the queue, where its end was asked for.
UPDATE jobs SET state = 'cancelled', finished_at = :now, lease = NULL
WHERE id = :id AND lease = :lease AND cancel_asked = 1
RETURNING *;

-- recover_anonymous --
-- At a start: the clients of anonymous jobs are gone.
UPDATE jobs SET state = 'cancelled', error = :error, finished_at = :now, lease = NULL
WHERE is_anonymous = 1 AND finished_at IS NULL
RETURNING *;

-- expired --
-- Jobs over for long whose files are still there, and that nobody is owed a call about.
SELECT * FROM jobs
WHERE finished_at IS NOT NULL AND has_files = 1 AND is_owed = 0 AND finished_at <= :before
LIMIT 500;

-- forget_files --
-- A job's files are gone.
UPDATE jobs SET has_files = 0 WHERE id = :id;

-- delete --
-- Delete a job that is over.
DELETE FROM jobs WHERE id = :id AND finished_at IS NOT NULL RETURNING id;

-- delete_deliveries --
-- Delete the calls that were owed about a job.
DELETE FROM deliveries WHERE job_id = :id;

-- expire --
-- Delete the records of jobs over for long; those with files, or owed a call, stay until then.
DELETE FROM jobs WHERE id IN (
    SELECT id FROM jobs
    WHERE finished_at IS NOT NULL AND has_files = 0 AND is_owed = 0 AND finished_at <= :before
    LIMIT 500
)
RETURNING id;

-- newest_queued --
-- When the newest job was queued: the clock may have been set back since.
SELECT queued_at FROM jobs ORDER BY seq DESC LIMIT 1;

-- owe --
-- Owe a call.
INSERT INTO deliveries (id, job_id, kind, url, destination, output, created_at, next_at)
VALUES (:id, :job_id, :kind, :url, :destination, :output, :created_at, :next_at);

-- mark_owed --
-- A job's files and record stay while a call about it is owed.
UPDATE jobs SET is_owed = 1 WHERE id = :id;

-- destinations --
-- Where calls are due: one look into the index for each, however many wait there.
WITH RECURSIVE places (name) AS (
    SELECT min(destination) FROM deliveries INDEXED BY deliveries_due WHERE state = 'pending'
    UNION ALL
    SELECT (
        SELECT min(destination) FROM deliveries INDEXED BY deliveries_due
        WHERE state = 'pending' AND destination > places.name
    )
    FROM places WHERE places.name IS NOT NULL
)
SELECT name, (
    SELECT min(next_at) FROM deliveries WHERE state = 'pending' AND destination = places.name
) AS next_at
FROM places WHERE name IS NOT NULL;

-- due --
-- The first calls that are due at one destination.
SELECT * FROM deliveries
WHERE state = 'pending' AND destination = :destination AND next_at <= :now
ORDER BY next_at
LIMIT :limit;

-- next_due --
-- When the next call is due.
SELECT min(next_at) AS next_at FROM deliveries INDEXED BY deliveries_next
WHERE state = 'pending' AND next_at > :now;

-- outbox_depth --
-- How many calls are owed, and since when.
SELECT count(*) AS pending, (
    SELECT created_at FROM deliveries WHERE state = 'pending' ORDER BY seq LIMIT 1
) AS oldest
FROM deliveries WHERE state = 'pending';

-- delivery --
-- One delivery by its id.
SELECT * FROM deliveries WHERE id = :id;

-- tried --
-- Note what became of a call; only what is pending is changed.
UPDATE deliveries SET
    state = :state, attempts = :attempts, tries = tries + 1, tried_at = :now, next_at = :next_at,
    ended_at = CASE WHEN :state = 'pending' THEN NULL ELSE :now END
WHERE id = :id AND state = 'pending'
RETURNING job_id;

-- settle_owed --
-- Let go of a job that owes nothing any more, and has no dead letter.
UPDATE jobs SET is_owed = 0
WHERE id = :job_id AND NOT EXISTS (
    SELECT 1 FROM deliveries
    WHERE deliveries.job_id = :job_id AND deliveries.state IN ('pending', 'dead')
);

-- deliveries --
-- A page of deliveries, newest first.
SELECT * FROM deliveries
WHERE seq < coalesce(:before, 9223372036854775807)
ORDER BY seq DESC
LIMIT :limit;

-- deliveries_in_state --
-- A page of the deliveries in one state.
SELECT * FROM deliveries
WHERE state = :state AND seq < coalesce(:before, 9223372036854775807)
ORDER BY seq DESC
LIMIT :limit;

-- deliveries_of_job --
-- A page of the deliveries about one job.
SELECT * FROM deliveries
WHERE job_id = :job_id AND (:state IS NULL OR state = :state)
    AND seq < coalesce(:before, 9223372036854775807)
ORDER BY seq DESC
LIMIT :limit;

-- replay --
-- Owe a call again, at once.
UPDATE deliveries SET state = 'pending', tries = 0, next_at = :now, ended_at = NULL
WHERE id = :id
RETURNING *;

-- bury --
-- Forget dead letters of long ago.
DELETE FROM deliveries WHERE id IN (
    SELECT id FROM deliveries INDEXED BY deliveries_dead
    WHERE state = 'dead' AND ended_at <= :before LIMIT 500
)
RETURNING job_id;

-- correct_deadlines --
-- At a start: the clock was set back since these jobs came; their time counts anew.
UPDATE jobs INDEXED BY jobs_deadline SET deadline = :now + (deadline - created_at)
WHERE state = 'queued' AND deadline IS NOT NULL AND deadline > :now AND created_at > :now;

-- correct_clock --
-- At a start: the clock was set back since the last call; what was to be waited is waited.
UPDATE deliveries SET next_at = :now + (next_at - tried_at), tried_at = :now
WHERE state = 'pending' AND tried_at > :now;
