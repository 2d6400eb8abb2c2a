-- What was delivered to hooks, kept before it was answered; in the order of arrival.
-- `digest`: of the body. `signed`: of what was signed where the id is not: a copy under another id is the same delivery.
-- `unsigned`: why the signature would have been refused, where an intake only observes. `asked`: what a look made of it.
CREATE TABLE inbox (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    ticker_id    INTEGER NOT NULL REFERENCES tickers,
    delivery     TEXT NOT NULL,
    digest       BLOB NOT NULL,
    signed       BLOB,
    state        TEXT NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'admitted', 'filtered', 'rejected', 'parked')),
    attempts     INTEGER NOT NULL DEFAULT 0,
    received_at  REAL NOT NULL,
    unsigned     TEXT,
    decided_at   REAL,
    tick_id      INTEGER,
    reason       TEXT,
    asked        TEXT,
    content_type TEXT,
    headers      TEXT NOT NULL DEFAULT '{}',
    size         INTEGER NOT NULL,
    body         BLOB NOT NULL,
    UNIQUE (ticker_id, delivery)
) STRICT;
CREATE UNIQUE INDEX inbox_signed ON inbox (ticker_id, signed) WHERE signed IS NOT NULL;
CREATE INDEX inbox_waiting ON inbox (ticker_id, id) WHERE state = 'waiting';
CREATE INDEX inbox_parked ON inbox (ticker_id, id) WHERE state = 'parked';
