-- Requests of sensors that wait before they become runs (debounce, batch, throttle). Their run keys are claimed when they
-- come: until there is a run, `run_keys.run_id` is the number of the request below zero.
-- `folded`: another request stands for it, `into`; `refused`: it came to nothing, `reason`.
CREATE TABLE pending (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    ticker_id  INTEGER NOT NULL REFERENCES tickers,
    tick_id    INTEGER NOT NULL,
    target     TEXT NOT NULL,
    key        TEXT,
    run_key    TEXT,
    params     TEXT NOT NULL,
    tags       TEXT NOT NULL,
    priority   INTEGER NOT NULL,
    came_at    REAL NOT NULL,
    state      TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'admitted', 'folded', 'refused')),
    settled_at REAL,
    run_id     INTEGER,
    into_id    INTEGER,
    reason     TEXT
) STRICT;
CREATE INDEX pending_waiting ON pending (ticker_id, id) WHERE state = 'waiting';
CREATE INDEX pending_begun ON pending (ticker_id, settled_at) WHERE state = 'admitted';

-- Runs that may not overlap with others of their sensor, target and partition.
ALTER TABLE runs ADD COLUMN overlap TEXT NOT NULL DEFAULT 'allow';
CREATE INDEX runs_overlapping ON runs (origin, id)
    WHERE state IN ('queued', 'started', 'canceling', 'interrupted') AND overlap <> 'allow';

-- Entries of ledgers as they were until a tick replaced or removed them: what a rollback brings back.
CREATE TABLE ledger_past (
    ticker_id INTEGER NOT NULL REFERENCES tickers,
    until     INTEGER NOT NULL,
    digest    BLOB NOT NULL,
    version   BLOB NOT NULL,
    key       TEXT NOT NULL,
    tick_id   INTEGER NOT NULL,
    PRIMARY KEY (ticker_id, until, digest)
) STRICT, WITHOUT ROWID;
