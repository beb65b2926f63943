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

CREATE TRIGGER generation_words_insert AFTER INSERT ON generations BEGIN
    INSERT INTO generation_words (rowid, prompt, negative_prompt, tags)
    VALUES (NEW.seq, NEW.prompt, NEW.negative_prompt, NEW.tags);
END;
CREATE TRIGGER generation_words_delete AFTER DELETE ON generations BEGIN
    INSERT INTO generation_words (generation_words, rowid, prompt, negative_prompt, tags)
    VALUES ('delete', OLD.seq, OLD.prompt, OLD.negative_prompt, OLD.tags);
    DELETE FROM generation_numbers WHERE seq = OLD.seq;
END;
