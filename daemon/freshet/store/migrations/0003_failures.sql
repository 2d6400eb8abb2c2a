-- What failed, for `freshet status`: found without a walk over all partitions and runs.
CREATE INDEX asset_state_failed ON asset_state (asset_id, partition) WHERE failed_seq IS NOT NULL;
CREATE INDEX runs_failed ON runs (ended_at) WHERE state = 'failed';
