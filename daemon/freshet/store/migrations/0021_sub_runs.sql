-- Runs that the step at `position` of the run `parent` asked for. `call`: which of the calls of the step; `attempt`: how
-- many runs came of that call before, none of which succeeded; `waited`: the step waits for it, and it is canceled with
-- that run.
CREATE TABLE sub_runs (
    run_id   INTEGER PRIMARY KEY REFERENCES runs,
    parent   INTEGER NOT NULL REFERENCES runs,
    position INTEGER NOT NULL,
    call     TEXT    NOT NULL,
    attempt  INTEGER NOT NULL,
    waited   INTEGER NOT NULL,
    UNIQUE (parent, position, call, attempt)
) STRICT;
