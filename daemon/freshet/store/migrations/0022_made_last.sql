-- Which partition of an asset was made last: reports say of times that have passed, so that the last event is not it.
CREATE INDEX asset_state_made ON asset_state (asset_id, materialized_at, materialized_seq);
