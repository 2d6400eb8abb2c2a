-- Which partitions are being made: no two runs make the same one at once.
CREATE INDEX steps_under_way ON steps (asset_id, partition) WHERE state = 'started' AND asset_id IS NOT NULL;

-- Of runs that do not go beside others of their target, those that have not ended.
CREATE INDEX runs_alone ON runs (target, id)
    WHERE state IN ('queued', 'started', 'canceling', 'interrupted') AND overlap <> 'allow';
