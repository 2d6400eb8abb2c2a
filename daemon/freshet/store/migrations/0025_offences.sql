-- How often in a row a sensor cost its evaluator, and the code with which it was quarantined for that.
ALTER TABLE tickers ADD COLUMN strikes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tickers ADD COLUMN struck_code TEXT;

-- What sensors did to their evaluators, the last ones of each.
CREATE TABLE offences (
    id        INTEGER PRIMARY KEY,
    ticker_id INTEGER NOT NULL REFERENCES tickers,
    at        REAL NOT NULL,
    kind      TEXT NOT NULL CHECK (kind IN ('held', 'blocked', 'overdue', 'ended', 'suspected')),
    seconds   REAL NOT NULL,
    stack     TEXT NOT NULL,
    moved     INTEGER NOT NULL
) STRICT;
CREATE INDEX offences_of ON offences (ticker_id, id);
