-- The code in force of each asset, and what made each partition: of which data, by which code, begun when.
ALTER TABLE assets ADD COLUMN code_version TEXT;
ALTER TABLE asset_state ADD COLUMN data_version TEXT;
ALTER TABLE asset_state ADD COLUMN code_version TEXT;
ALTER TABLE asset_state ADD COLUMN begun_at REAL;

-- The digest of a kept value is its version; what has none begins to be compared when it is made again.
UPDATE asset_state SET data_version = json_extract(value, '$[3]') WHERE value IS NOT NULL;
UPDATE asset_state SET begun_at = coalesce((SELECT s.started_at FROM steps s WHERE s.run_id = asset_state.run_id
    AND s.asset_id = asset_state.asset_id AND s.partition = asset_state.partition), materialized_at)
WHERE materialized_seq IS NOT NULL;

UPDATE events SET data = json_object('metadata', json(data))
WHERE type IN ('materialized', 'released') AND data IS NOT NULL;
