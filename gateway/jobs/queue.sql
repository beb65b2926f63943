-- The queue. `+state` keeps the planner from an index of all queued jobs, where ids are given.

-- depth --
-- How many jobs are in each state: from the tally that triggers keep.
SELECT state, sum(jobs) AS jobs FROM job_tally GROUP BY state;

-- list --
-- A page of jobs, newest first.
SELECT * FROM jobs WHERE seq < :before ORDER BY seq DESC LIMIT :limit;

-- list_in_state --
-- A page of the jobs in one state, newest first.
SELECT * FROM jobs INDEXED BY jobs_state
WHERE state = :state AND seq < :before
ORDER BY seq DESC LIMIT :limit;

-- owners --
-- Whoever has queued jobs: how many, how many run, and the number of the last claim.
SELECT
    queued.owner AS name, queued.jobs AS queued, coalesce(running.jobs, 0) AS running,
    coalesce(turn.served, 0) AS served
FROM job_tally AS queued
LEFT JOIN job_tally AS running ON running.owner = queued.owner AND running.state = 'running'
LEFT JOIN owner_turns AS turn ON turn.owner = queued.owner
WHERE queued.state = 'queued' AND queued.jobs > 0;

-- queued --
-- How many jobs are queued.
SELECT coalesce(sum(jobs), 0) AS jobs FROM job_tally WHERE state = 'queued';

-- queued_of_owner --
-- How many jobs of one owner are queued.
SELECT coalesce(sum(jobs), 0) AS jobs FROM job_tally WHERE owner = :owner AND state = 'queued';

-- oldest --
-- Since when the oldest queued job waits.
SELECT queued_at FROM jobs WHERE state = 'queued' ORDER BY seq LIMIT 1;

-- reprioritise --
-- Move a job in the queue: one level of priority is worth ten minutes of waiting.
UPDATE jobs SET priority = :priority, rank = queued_at - :priority * 600.0
WHERE id = :id AND state = 'queued'
RETURNING *;

-- claim --
-- Lease the first job that needs nothing fetched, or that this worker has prepared.
UPDATE jobs SET state = 'running', lease = :lease, lease_until = :lease_until
WHERE id = (
    SELECT id FROM (
        SELECT * FROM (
            SELECT id, rank, seq FROM jobs INDEXED BY jobs_ready
            WHERE state = 'queued' AND needs_fetch = 0 AND not_before <= :now
            ORDER BY rank, seq LIMIT 1
        )
        UNION ALL
        SELECT id, rank, seq FROM jobs
        WHERE id IN (SELECT value FROM json_each(:prepared))
            AND +state = 'queued' AND needs_fetch = 1 AND not_before <= :now
    )
    ORDER BY rank, seq LIMIT 1
)
RETURNING *;

-- ready_of_owner --
-- The first job of one owner that needs nothing fetched.
SELECT id, rank, seq, :owner AS owner FROM jobs INDEXED BY jobs_of_owner
WHERE state = 'queued' AND coalesce(owner, '') = :owner AND needs_fetch = 0 AND not_before <= :now
ORDER BY rank, seq LIMIT 1;

-- prepared --
-- The jobs that this worker has prepared, in the queue's order.
SELECT id, rank, seq, coalesce(owner, '') AS owner FROM jobs
WHERE id IN (SELECT value FROM json_each(:prepared))
    AND +state = 'queued' AND needs_fetch = 1 AND not_before <= :now
ORDER BY rank, seq;

-- claim_one --
-- Lease this job.
UPDATE jobs SET state = 'running', lease = :lease, lease_until = :lease_until
WHERE id = :id
RETURNING *;

-- serve --
-- Note that an owner had its turn.
INSERT INTO owner_turns (owner, served)
VALUES (:owner, (SELECT coalesce(max(served), 0) + 1 FROM owner_turns))
ON CONFLICT (owner) DO UPDATE SET served = excluded.served;

-- fetching --
-- Whether any queued job needs something fetched.
SELECT 1 FROM jobs INDEXED BY jobs_fetching WHERE state = 'queued' AND needs_fetch = 1 LIMIT 1;

-- nth --
-- The place of the n-th queued job, from 0.
SELECT rank, seq FROM jobs INDEXED BY jobs_queue
WHERE state = 'queued'
ORDER BY rank, seq LIMIT 1 OFFSET :n;

-- blocks --
-- What is queued, by block and shape, in the queue's order.
SELECT number, shape, jobs FROM queue_blocks ORDER BY number;

-- in_block --
-- The queued jobs of one block in their order.
SELECT rank, seq, shape FROM jobs INDEXED BY jobs_queue
WHERE state = 'queued' AND rank >= :begin AND CAST(rank / 2.0 AS INTEGER) = :number
ORDER BY rank, seq;

-- peek --
-- The first jobs that need something fetched, up to a place in the queue.
SELECT id FROM jobs INDEXED BY jobs_fetching
WHERE state = 'queued' AND needs_fetch = 1 AND (rank, seq) <= (:rank, :seq)
ORDER BY rank, seq LIMIT :limit;

-- fetching_of_owner --
-- The first jobs of one owner that need something fetched.
SELECT id, rank, seq FROM jobs INDEXED BY jobs_of_owner
WHERE state = 'queued' AND coalesce(owner, '') = :owner AND needs_fetch = 1
ORDER BY rank, seq LIMIT :limit;

-- instant_before --
-- How many jobs of one owner that need nothing fetched come before a place; counted up to a limit.
SELECT count(*) AS jobs FROM (
    SELECT 1 FROM jobs INDEXED BY jobs_of_owner
    WHERE state = 'queued' AND coalesce(owner, '') = :owner AND needs_fetch = 0
        AND (rank, seq) < (:rank, :seq)
    LIMIT :limit
);

-- keys --
-- Where queued jobs stand, in the queue's order.
SELECT id, rank, seq, shape, coalesce(owner, '') AS owner FROM jobs
WHERE id IN (SELECT value FROM json_each(:ids)) AND +state = 'queued'
ORDER BY rank, seq;

-- blocks_between --
-- How many jobs of each shape are queued in some blocks.
SELECT shape, sum(jobs) AS jobs FROM queue_blocks
WHERE number >= :first AND number < :last
GROUP BY shape;

-- queued_between --
-- How many jobs of each shape stand between two places of one block.
SELECT shape, count(*) AS jobs FROM jobs INDEXED BY jobs_queue
WHERE state = 'queued' AND (rank, seq) >= (:from_rank, :from_seq) AND (rank, seq) < (:rank, :seq)
    AND CAST(rank / 2.0 AS INTEGER) = :number
GROUP BY shape;

-- owned_between --
-- How many jobs of one owner stand between two places.
SELECT count(*) AS jobs FROM jobs INDEXED BY jobs_of_owner
WHERE state = 'queued' AND coalesce(owner, '') = :owner AND needs_fetch IN (0, 1)
    AND (rank, seq) >= (:from_rank, :from_seq) AND (rank, seq) < (:rank, :seq);

-- first_of_owner --
-- The first queued job of one owner.
SELECT * FROM (
    SELECT id, rank, seq, shape, :owner AS owner FROM jobs INDEXED BY jobs_of_owner
    WHERE state = 'queued' AND coalesce(owner, '') = :owner AND needs_fetch = 0
    ORDER BY rank, seq LIMIT 1
)
UNION ALL
SELECT * FROM (
    SELECT id, rank, seq, shape, :owner AS owner FROM jobs INDEXED BY jobs_of_owner
    WHERE state = 'queued' AND coalesce(owner, '') = :owner AND needs_fetch = 1
    ORDER BY rank, seq LIMIT 1
)
ORDER BY rank, seq LIMIT 1;

-- active --
-- The jobs that are claimed and not yet delivering.
SELECT id, shape FROM jobs WHERE state = 'running';

-- durations --
-- What jobs of each shape took lately.
SELECT shape, seconds, runs FROM shape_durations;

-- durations_of --
-- What jobs of one shape took lately, and those of all.
SELECT shape, seconds, runs FROM shape_durations WHERE shape IN (:shape, 0);

-- learn --
-- Remember what jobs of a shape took lately.
INSERT INTO shape_durations (shape, seconds, runs, ran)
VALUES (:shape, :seconds, :runs, :ran)
ON CONFLICT (shape) DO UPDATE SET
    seconds = excluded.seconds, runs = excluded.runs, ran = excluded.ran;

-- forget_durations --
-- Forget the shapes that ran longest ago; all shapes together are row 0.
DELETE FROM shape_durations WHERE shape <> 0 AND shape NOT IN (
    SELECT shape FROM shape_durations WHERE shape <> 0 ORDER BY ran DESC LIMIT :most
);

-- holdings --
-- Queued jobs that hold input files, and their names; NULL where an earlier release did not say.
SELECT seq, id, inputs, CASE WHEN inputs IS NULL THEN graph END AS graph
FROM jobs INDEXED BY jobs_inputs
WHERE state = 'queued' AND inputs IS NOT '[]' AND seq > :after
ORDER BY seq LIMIT :limit;
