-- keep_generation --
-- Remember an output: the first number of its millisecond that is free.
INSERT OR IGNORE INTO generations (seq, job_id, prompt, negative_prompt, tags, sidecar) VALUES (
    (
        SELECT coalesce(max(seq) + 1, :first) FROM generations
        WHERE seq >= :first AND seq < :first + 65536
    ),
    :job_id, :prompt, :negative_prompt, :tags, :sidecar
)
RETURNING seq;

-- keep_numbers --
-- Remember what is looked for by range.
INSERT INTO generation_numbers (seq, seed, score) VALUES (:seq, :seed, :score);

-- unindexed_generations --
-- How many rows are not in the index of words yet; few.
SELECT count(*) AS number FROM generations_unindexed;

-- index_generations --
-- Put into the index of words what is not there yet.
INSERT INTO generation_words (rowid, prompt, negative_prompt, tags)
SELECT generations.seq, prompt, negative_prompt, tags FROM generations_unindexed
CROSS JOIN generations ON generations.seq = generations_unindexed.seq
ORDER BY generations_unindexed.seq;

-- indexed_generations --
-- Note that all are there.
DELETE FROM generations_unindexed;

-- forget_generations --
-- Forget what a job has made.
DELETE FROM generations WHERE job_id = :id RETURNING seq;

-- expire_generations --
-- Forget what was made before a moment: a piece, for others write too.
DELETE FROM generations WHERE seq IN (
    SELECT seq FROM generations WHERE seq < :before ORDER BY seq LIMIT 200
)
RETURNING seq;

-- generations --
-- A page of all that was made, newest first.
SELECT seq, sidecar FROM generations
WHERE seq >= :after AND seq < :before
ORDER BY seq DESC
LIMIT :limit;

-- generations_within --
-- A page of what lies in a range of seeds and of scores.
SELECT generations.seq, sidecar FROM generation_numbers
CROSS JOIN generations ON generations.seq = generation_numbers.seq
WHERE generation_numbers.seq >= :after AND generation_numbers.seq < :before
    AND (:seed_min IS NULL OR seed >= :seed_min) AND (:seed_max IS NULL OR seed <= :seed_max)
    AND (:min_score IS NULL OR score >= :min_score)
ORDER BY generation_numbers.seq DESC
LIMIT :limit;

-- generations_found --
-- A page of what has these words.
SELECT generations.seq, sidecar FROM generation_words
CROSS JOIN generations ON generations.seq = generation_words.rowid
WHERE generation_words MATCH :words
    AND generation_words.rowid >= :after AND generation_words.rowid < :before
ORDER BY generation_words.rowid DESC
LIMIT :limit;

-- generations_found_within --
-- A page of what has these words, and lies in a range.
SELECT generations.seq, sidecar FROM generation_words
CROSS JOIN generation_numbers ON generation_numbers.seq = generation_words.rowid
CROSS JOIN generations ON generations.seq = generation_words.rowid
WHERE generation_words MATCH :words
    AND generation_words.rowid >= :after AND generation_words.rowid < :before
    AND (:seed_min IS NULL OR seed >= :seed_min) AND (:seed_max IS NULL OR seed <= :seed_max)
    AND (:min_score IS NULL OR score >= :min_score)
ORDER BY generation_words.rowid DESC
LIMIT :limit;
