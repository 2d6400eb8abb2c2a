-- The runs of a schedule that may overlap with its next.
CREATE INDEX runs_of_schedules ON runs (origin, id)
    WHERE state IN ('queued', 'started', 'canceling', 'interrupted') AND origin LIKE 'schedule:%';

-- What a schedule skipped last.
CREATE INDEX schedule_ticks_skipped ON schedule_ticks (ticker_id, nominal) WHERE status = 'skipped';

-- Which keys are the oldest of a set, for those that keep only so many or for so long.
CREATE INDEX partitions_by_age ON partitions (set_id, added_at, number) WHERE deleted_at IS NULL;
