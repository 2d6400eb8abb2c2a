-- What was made, to be taken again: by what it was made of. Its run may be gone by then.
CREATE TABLE cached (
    asset_id INTEGER NOT NULL REFERENCES assets,
    partition INTEGER NOT NULL,
    key TEXT NOT NULL,
    at REAL NOT NULL,
    run_id INTEGER NOT NULL,
    value TEXT,
    metadata TEXT,
    data_version TEXT,
    code_version TEXT,
    PRIMARY KEY (asset_id, partition, key)
) STRICT, WITHOUT ROWID;

-- The run whose making a step took again instead of running.
ALTER TABLE steps ADD COLUMN cached INTEGER;
