-- Outcomes too large for one transaction: written down in pieces, decided by one small commit, then carried out piece by
-- piece; a piece goes in the transaction that carries it out. Start-up drops what was not decided and ends what was.
CREATE TABLE stages (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    ticker_id  INTEGER REFERENCES tickers,
    tick_id    INTEGER,
    begun_at   REAL NOT NULL,
    decided_at REAL
) STRICT;

CREATE TABLE stage_pieces (
    id       INTEGER PRIMARY KEY,
    stage_id INTEGER NOT NULL REFERENCES stages,
    position INTEGER NOT NULL,
    body     TEXT NOT NULL,
    UNIQUE (stage_id, position)
) STRICT;
