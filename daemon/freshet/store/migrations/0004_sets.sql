-- Sets whose partitions are computed. `numbering`: what the numbers mean (cadence and zone, or the dimensions); another
-- one is another set. `declared`: the rest of the declaration that decides what is live. `first` to `last`: the windows
-- of a set in time that are live; `last` grows as windows close.
ALTER TABLE partition_sets ADD COLUMN numbering TEXT;
ALTER TABLE partition_sets ADD COLUMN declared TEXT;
ALTER TABLE partition_sets ADD COLUMN first INTEGER;
ALTER TABLE partition_sets ADD COLUMN last INTEGER;

-- The dimensions of a set, in order, and the set of each.
CREATE TABLE dimensions (
    set_id   INTEGER NOT NULL REFERENCES partition_sets,
    position INTEGER NOT NULL,
    name     TEXT NOT NULL,
    of_set   INTEGER NOT NULL REFERENCES partition_sets,
    PRIMARY KEY (set_id, position)
) STRICT, WITHOUT ROWID;

-- The numbered combinations of a set, found by the number that each has in a dimension.
CREATE TABLE combinations (
    set_id   INTEGER NOT NULL REFERENCES partition_sets,
    position INTEGER NOT NULL,
    value    INTEGER NOT NULL,
    number   INTEGER NOT NULL,
    PRIMARY KEY (set_id, position, value, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX combinations_places ON combinations (set_id, number, position, value);

CREATE INDEX partitions_deleted ON partitions (set_id, number) WHERE deleted_at IS NOT NULL;

-- What an asset made last is looked up, however many partitions it has.
CREATE INDEX asset_state_latest ON asset_state (asset_id, materialized_seq);
