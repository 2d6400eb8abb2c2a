-- Pools of which no step may start until they are resumed.
CREATE TABLE paused_pools (
    name      TEXT PRIMARY KEY,
    paused_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
