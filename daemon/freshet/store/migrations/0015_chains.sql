-- How many automatic runs led to a run, to what a tick asked for, and to a request that waits.
ALTER TABLE runs ADD COLUMN depth INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ticks ADD COLUMN depth INTEGER NOT NULL DEFAULT 0;
ALTER TABLE pending ADD COLUMN depth INTEGER NOT NULL DEFAULT 0;

-- Which condition asked for a run: of each of its steps, where they are not all the same. Conditions are kept for ever.
ALTER TABLE runs ADD COLUMN condition TEXT;
CREATE TABLE conditions (
    digest TEXT PRIMARY KEY,
    expression TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What happened last to a partition of an asset.
CREATE INDEX events_of ON events (asset_id, partition, type) WHERE asset_id IS NOT NULL;
CREATE INDEX events_of_set ON events (set_id, partition) WHERE type = 'partition_added';
CREATE INDEX events_stopped ON events (at) WHERE type = 'chain_stopped';
