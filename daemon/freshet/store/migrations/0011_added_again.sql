-- Keys that come back keep their number. In which order keys were added is told by their numbers and, for those, by the
-- transaction (`again`) and the highest number there was (`behind`): a clock that is set back changes no order.
ALTER TABLE partitions ADD COLUMN behind INTEGER;
ALTER TABLE partitions ADD COLUMN again INTEGER;

-- What is known of earlier ones is when they came; they stand before all that are still to come.
UPDATE partitions SET behind = placed.behind, again = placed.place FROM (
    SELECT set_id, number, generation, row_number() OVER (ORDER BY added_at, number) - count(*) OVER () AS place,
        coalesce(max(CASE generation WHEN 1 THEN number END)
            OVER (PARTITION BY set_id ORDER BY added_at, number ROWS UNBOUNDED PRECEDING), 0) AS behind
    FROM partitions WHERE set_id IN (SELECT id FROM partition_sets WHERE kind = 'dynamic')
) placed
WHERE partitions.set_id = placed.set_id AND partitions.number = placed.number AND placed.generation > 1;

CREATE INDEX partitions_again ON partitions (set_id, behind, again, number) WHERE again IS NOT NULL;
