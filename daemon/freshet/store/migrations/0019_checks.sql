-- A step that checks an asset rather than makes it.
ALTER TABLE steps ADD COLUMN check_of INTEGER REFERENCES assets;

-- The last result of each check of a partition (0: of an asset without partitions, or of all of them together).
-- of_seq: the materialization that was looked at. source: who says so, NULL for a check of ours.
CREATE TABLE check_results (
    asset_id  INTEGER NOT NULL REFERENCES assets,
    name      TEXT NOT NULL,
    partition INTEGER NOT NULL,
    passed    INTEGER NOT NULL,
    severity  TEXT NOT NULL CHECK (severity IN ('error', 'warn')),
    blocking  INTEGER NOT NULL DEFAULT 0,
    of_seq    INTEGER,
    seq       INTEGER NOT NULL,
    at        REAL NOT NULL,
    run_id    INTEGER,
    metadata  TEXT,
    error     TEXT,
    source    TEXT,
    PRIMARY KEY (asset_id, name, partition)
) STRICT, WITHOUT ROWID;
CREATE INDEX check_results_of ON check_results (asset_id, partition);
CREATE INDEX check_results_failed ON check_results (asset_id, name) WHERE passed = 0;

-- Made, and not let through by its blocking checks; 2: with the data that was let through before.
ALTER TABLE asset_state ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
CREATE INDEX asset_state_held ON asset_state (asset_id, partition) WHERE held > 0;
