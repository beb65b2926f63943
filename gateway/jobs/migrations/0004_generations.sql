-- What was made: a row for each output, found by the words of its prompts.

-- `seq` tells when, and the order: milliseconds since 1970, times 65536, and a number within one.
CREATE TABLE generations (
    seq INTEGER PRIMARY KEY,
    job_id TEXT NOT NULL,
    -- The prompts as they are searched, and what is looked for as a whole: each value a word.
    prompt TEXT NOT NULL,
    negative_prompt TEXT NOT NULL,
    tags TEXT NOT NULL,
    sidecar TEXT NOT NULL
) STRICT;

CREATE INDEX generations_job ON generations (job_id);

-- Apart, and small: ranges are looked for through many rows. `seed` is less 2^63, to fit.
CREATE TABLE generation_numbers (seq INTEGER PRIMARY KEY, seed INTEGER, score REAL) STRICT;

CREATE VIRTUAL TABLE generation_words USING fts5 (
    prompt, negative_prompt, tags,
    content = 'generations', content_rowid = 'seq', columnsize = 0,
    tokenize = "unicode61 remove_diacritics 2 categories 'L* N* Co So'"
);

-- Rows that are not in the index yet: a few at a time cost it little more than one.
CREATE TABLE generations_unindexed (seq INTEGER PRIMARY KEY) STRICT;

CREATE TRIGGER generations_insert AFTER INSERT ON generations BEGIN
    INSERT INTO generations_unindexed (seq) VALUES (NEW.seq);
END;
CREATE TRIGGER generations_delete AFTER DELETE ON generations BEGIN
    INSERT INTO generation_words (generation_words, rowid, prompt, negative_prompt, tags)
    SELECT 'delete', OLD.seq, OLD.prompt, OLD.negative_prompt, OLD.tags
    WHERE NOT EXISTS (SELECT 1 FROM generations_unindexed WHERE seq = OLD.seq);
    DELETE FROM generations_unindexed WHERE seq = OLD.seq;
    DELETE FROM generation_numbers WHERE seq = OLD.seq;
END;
