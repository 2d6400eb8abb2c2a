-- What became of the nominal instants of schedules: a row each where it fired, a row a range where it was skipped.
-- `version` is that of the schedule's times; an instant is decided once, by constraint.
CREATE TABLE schedule_ticks (
    ticker_id  INTEGER NOT NULL REFERENCES tickers,
    version    TEXT NOT NULL,
    nominal    REAL NOT NULL,
    until      REAL NOT NULL,
    count      INTEGER NOT NULL,
    status     TEXT NOT NULL CHECK (status IN ('fired', 'skipped')),
    reason     TEXT,
    tick_id    INTEGER NOT NULL,
    decided_at REAL NOT NULL,
    PRIMARY KEY (ticker_id, version, nominal)
) STRICT, WITHOUT ROWID;
