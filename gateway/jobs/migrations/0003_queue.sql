-- The queue's order, what is counted as it changes, and what jobs of a shape took.

ALTER TABLE jobs ADD COLUMN shape INTEGER NOT NULL DEFAULT 0;
-- Names of the input files that it holds; NULL = not told.
ALTER TABLE jobs ADD COLUMN inputs TEXT;

DROP INDEX IF EXISTS jobs_finished;
DROP INDEX IF EXISTS jobs_queue;
CREATE INDEX jobs_queue ON jobs (rank, seq, shape) WHERE state = 'queued';
CREATE INDEX jobs_of_owner ON jobs (coalesce(owner, ''), needs_fetch, rank, seq)
    WHERE state = 'queued';
CREATE INDEX jobs_inputs ON jobs (seq) WHERE state = 'queued' AND inputs IS NOT '[]';

-- How many jobs each owner has in each state.
CREATE TABLE job_tally (
    owner TEXT NOT NULL,
    state TEXT NOT NULL,
    jobs INTEGER NOT NULL,
    PRIMARY KEY (owner, state)
) STRICT, WITHOUT ROWID;

-- How many jobs of each shape stand in each block of the queue: two seconds of rank.
CREATE TABLE queue_blocks (
    number INTEGER NOT NULL,
    shape INTEGER NOT NULL,
    jobs INTEGER NOT NULL,
    PRIMARY KEY (number, shape)
) STRICT, WITHOUT ROWID;

-- The number of each owner's last claim.
CREATE TABLE owner_turns (owner TEXT PRIMARY KEY, served INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- A moving mean of what jobs of a shape took; shape 0 is all of them together.
CREATE TABLE shape_durations (
    shape INTEGER PRIMARY KEY,
    seconds REAL NOT NULL,
    runs INTEGER NOT NULL,
    ran INTEGER NOT NULL
) STRICT;

INSERT INTO job_tally SELECT coalesce(owner, ''), state, count(*) FROM jobs GROUP BY 1, 2;
INSERT INTO queue_blocks SELECT CAST(rank / 2.0 AS INTEGER), shape, count(*) FROM jobs
    WHERE state = 'queued' GROUP BY 1, 2;

CREATE TRIGGER job_tally_insert AFTER INSERT ON jobs BEGIN
    INSERT INTO job_tally VALUES (coalesce(NEW.owner, ''), NEW.state, 1)
    ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER job_tally_delete AFTER DELETE ON jobs BEGIN
    UPDATE job_tally SET jobs = jobs - 1
    WHERE owner = coalesce(OLD.owner, '') AND state = OLD.state;
END;
CREATE TRIGGER job_tally_update AFTER UPDATE OF state ON jobs WHEN OLD.state <> NEW.state BEGIN
    UPDATE job_tally SET jobs = jobs - 1
    WHERE owner = coalesce(OLD.owner, '') AND state = OLD.state;
    INSERT INTO job_tally VALUES (coalesce(NEW.owner, ''), NEW.state, 1)
    ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;

CREATE TRIGGER queue_blocks_enter AFTER INSERT ON jobs WHEN NEW.state = 'queued' BEGIN
    INSERT INTO queue_blocks VALUES (CAST(NEW.rank / 2.0 AS INTEGER), NEW.shape, 1)
    ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER queue_blocks_leave AFTER UPDATE OF state, rank ON jobs
WHEN OLD.state = 'queued' AND (NEW.state <> 'queued' OR NEW.rank <> OLD.rank) BEGIN
    UPDATE queue_blocks SET jobs = jobs - 1
    WHERE number = CAST(OLD.rank / 2.0 AS INTEGER) AND shape = OLD.shape;
    DELETE FROM queue_blocks
    WHERE number = CAST(OLD.rank / 2.0 AS INTEGER) AND shape = OLD.shape AND jobs <= 0;
END;
CREATE TRIGGER queue_blocks_return AFTER UPDATE OF state, rank ON jobs
WHEN NEW.state = 'queued' AND (OLD.state <> 'queued' OR NEW.rank <> OLD.rank) BEGIN
    INSERT INTO queue_blocks VALUES (CAST(NEW.rank / 2.0 AS INTEGER), NEW.shape, 1)
    ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER queue_blocks_delete AFTER DELETE ON jobs WHEN OLD.state = 'queued' BEGIN
    UPDATE queue_blocks SET jobs = jobs - 1
    WHERE number = CAST(OLD.rank / 2.0 AS INTEGER) AND shape = OLD.shape;
    DELETE FROM queue_blocks
    WHERE number = CAST(OLD.rank / 2.0 AS INTEGER) AND shape = OLD.shape AND jobs <= 0;
END;
