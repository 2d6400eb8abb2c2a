-- The moment from which the next deadline counts, and what a materialization since the last commit of a state has ended.
ALTER TABLE freshness ADD COLUMN counts_from REAL;

UPDATE freshness SET state = 'fresh', baseline_seq = latest.seq, baseline_at = max(baseline_at, latest.at)
FROM (SELECT asset_id, max(materialized_seq) AS seq, materialized_at AS at FROM asset_state
      WHERE materialized_seq IS NOT NULL GROUP BY asset_id) latest
WHERE latest.asset_id = freshness.asset_id AND latest.seq > freshness.baseline_seq;
UPDATE freshness SET counts_from = baseline_at;

-- With a policy for each partition: which deadline comes next, and what is not fresh.
CREATE INDEX freshness_due ON freshness (asset_id, state, counts_from) WHERE partition > 0;
