-- A backfill is a ticker over a range: its cursor is what of each asset is wanted, asked for, done, failed.
-- `boxes`: combinations of several dimensions that it is still to number and want.
-- `low_run`: runs of it with a smaller id are accounted for in these bits.
CREATE TABLE backfills (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    state      TEXT NOT NULL CHECK (state IN ('running', 'paused', 'succeeded', 'failed', 'canceled')),
    request    TEXT NOT NULL,
    priority   INTEGER NOT NULL DEFAULT 0,
    tags       TEXT NOT NULL DEFAULT '{}',
    boxes      TEXT NOT NULL DEFAULT '[]',
    low_run    INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    ended_at   REAL,
    error      TEXT
) STRICT;
CREATE INDEX backfills_active ON backfills (state) WHERE state IN ('running', 'paused');

-- Bitmaps over partitions, in chunks of 65,536.
CREATE TABLE backfill_bits (
    backfill_id INTEGER NOT NULL REFERENCES backfills,
    asset_id    INTEGER NOT NULL REFERENCES assets,
    what        TEXT NOT NULL CHECK (what IN ('wanted', 'asked', 'done', 'failed')),
    chunk       INTEGER NOT NULL,
    bits        BLOB NOT NULL,
    PRIMARY KEY (backfill_id, asset_id, what, chunk)
) STRICT, WITHOUT ROWID;

-- The runs of a backfill, by what asked for them.
CREATE INDEX runs_of_origin ON runs (origin, id) WHERE origin LIKE 'backfill:%';
