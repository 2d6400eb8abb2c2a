-- The generation of the step's partition when it was admitted: what it makes of another one does not count.
ALTER TABLE steps ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
UPDATE steps SET generation = coalesce((
    SELECT p.generation FROM runs r JOIN assets a ON a.id = steps.asset_id
    JOIN partitions p ON p.set_id = coalesce(r.set_id, a.set_id) AND p.number = steps.partition
    WHERE r.id = steps.run_id), 0)
WHERE state IN ('queued', 'started', 'retrying', 'interrupted') AND partition > 0;

-- The runs that keep a key from going.
CREATE INDEX runs_of_partition ON runs (set_id, partition)
    WHERE state IN ('queued', 'started', 'canceling', 'interrupted') AND set_id IS NOT NULL;
