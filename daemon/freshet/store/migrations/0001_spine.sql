-- The first migration: all tables of the spine. A released migration never changes: its checksum is recorded.
-- Names are interned once (assets, partition keys, tickers); everything else speaks numbers.
-- Partition number 0 is 'without partitions'; keys of a set are numbered from 1.
-- Times are seconds since 1970 in UTC. JSON columns hold what orjson writes.

-- What was applied to this file. Each row commits together with its migration.
CREATE TABLE migrations (
    number     INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    checksum   TEXT NOT NULL,
    applied_at REAL NOT NULL
) STRICT;

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One row: the writer's last committed batch. When COMMIT's outcome is unknown, this row tells.
CREATE TABLE batches (
    writer TEXT PRIMARY KEY,
    batch  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE partition_sets (
    id          INTEGER PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    kind        TEXT NOT NULL CHECK (kind IN ('dynamic', 'static', 'time', 'multi')),
    next_number INTEGER NOT NULL DEFAULT 1
) STRICT;

-- set_id: the set its partition numbers belong to, by the definitions in force; NULL without partitions.
CREATE TABLE assets (
    id     INTEGER PRIMARY KEY,
    name   TEXT NOT NULL UNIQUE,
    set_id INTEGER REFERENCES partition_sets
) STRICT;
CREATE INDEX assets_of_set ON assets (set_id) WHERE set_id IS NOT NULL;

CREATE TABLE partitions (
    set_id     INTEGER NOT NULL REFERENCES partition_sets,
    number     INTEGER NOT NULL,
    key        TEXT NOT NULL,
    generation INTEGER NOT NULL DEFAULT 1,
    metadata   TEXT NOT NULL DEFAULT '{}',
    added_at   REAL NOT NULL,
    deleted_at REAL,
    PRIMARY KEY (set_id, number),
    UNIQUE (set_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX partitions_live ON partitions (set_id, number) WHERE deleted_at IS NULL;

-- What decides: sensors, and the daemon's own tickers (freshness, automation).
CREATE TABLE tickers (
    id              INTEGER PRIMARY KEY,
    kind            TEXT NOT NULL,
    name            TEXT NOT NULL,
    cursor          TEXT NOT NULL DEFAULT 'null',
    revision        INTEGER NOT NULL DEFAULT 0,
    ledger_revision INTEGER NOT NULL DEFAULT 0,
    last_tick       INTEGER NOT NULL DEFAULT 0,
    paused          INTEGER NOT NULL DEFAULT 0,
    quarantined     TEXT,
    failures        INTEGER NOT NULL DEFAULT 0,
    retry_at        REAL,
    last_error      TEXT,
    last_tick_at    REAL,
    last_ok_at      REAL,
    ticks           INTEGER NOT NULL DEFAULT 0,
    idle_ticks      INTEGER NOT NULL DEFAULT 0,
    refused         INTEGER NOT NULL DEFAULT 0,
    UNIQUE (kind, name)
) STRICT;

-- Ticks with effects or errors. Those that did nothing are only counted, in tickers.
CREATE TABLE ticks (
    id               INTEGER PRIMARY KEY,
    ticker_id        INTEGER NOT NULL REFERENCES tickers,
    status           TEXT NOT NULL CHECK (status IN ('committed', 'failed', 'timed_out', 'given_up', 'later', 'refused')),
    started_at       REAL NOT NULL,
    ended_at         REAL NOT NULL,
    cursor_before    TEXT,
    cursor           TEXT,
    skip             TEXT,
    error            TEXT,
    runs             INTEGER NOT NULL DEFAULT 0,
    partitions_added INTEGER NOT NULL DEFAULT 0,
    ledger_added     INTEGER NOT NULL DEFAULT 0,
    dropped          TEXT
) STRICT;
CREATE INDEX ticks_of ON ticks (ticker_id, id);

CREATE TABLE ledger (
    ticker_id INTEGER NOT NULL REFERENCES tickers,
    digest    BLOB NOT NULL,
    version   BLOB NOT NULL,
    key       TEXT NOT NULL,
    tick_id   INTEGER NOT NULL,
    PRIMARY KEY (ticker_id, digest)
) STRICT, WITHOUT ROWID;

-- Outlives the runs: retention never touches it. partition is the key's text, '' without one.
CREATE TABLE run_keys (
    target    TEXT NOT NULL,
    partition TEXT NOT NULL,
    run_key   TEXT NOT NULL,
    run_id    INTEGER NOT NULL,
    tick_id   INTEGER,
    PRIMARY KEY (target, partition, run_key)
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    kind          TEXT NOT NULL CHECK (kind IN ('asset', 'job')),
    target        TEXT NOT NULL,
    set_id        INTEGER REFERENCES partition_sets,
    partition     INTEGER NOT NULL DEFAULT 0,
    generation    INTEGER NOT NULL DEFAULT 0,
    state         TEXT NOT NULL CHECK (state IN
                  ('queued', 'started', 'succeeded', 'failed', 'canceling', 'canceled', 'interrupted')),
    priority      INTEGER NOT NULL DEFAULT 0,
    params        TEXT NOT NULL DEFAULT '{}',
    tags          TEXT NOT NULL DEFAULT '{}',
    run_key       TEXT,
    origin        TEXT NOT NULL,
    ticker_id     INTEGER REFERENCES tickers,
    tick_id       INTEGER,
    version       TEXT,
    interruptions INTEGER NOT NULL DEFAULT 0,
    created_at    REAL NOT NULL,
    started_at    REAL,
    ended_at      REAL,
    error         TEXT
) STRICT;
CREATE INDEX runs_active ON runs (state, id) WHERE state IN ('queued', 'started', 'canceling', 'interrupted');
CREATE INDEX runs_of ON runs (target, id);

-- One row an asset (or the job) of a run, in dependency order.
CREATE TABLE steps (
    run_id     INTEGER NOT NULL REFERENCES runs,
    position   INTEGER NOT NULL,
    name       TEXT NOT NULL,
    asset_id   INTEGER REFERENCES assets,
    partition  INTEGER NOT NULL DEFAULT 0,
    state      TEXT NOT NULL CHECK (state IN
               ('queued', 'started', 'retrying', 'succeeded', 'failed', 'canceled', 'interrupted', 'skipped')),
    attempt    INTEGER NOT NULL DEFAULT 0,
    failures   INTEGER NOT NULL DEFAULT 0,
    needs      TEXT NOT NULL DEFAULT '[]',
    not_before REAL,
    started_at REAL,
    ended_at   REAL,
    pid        INTEGER,
    error      TEXT,
    metadata   TEXT,
    PRIMARY KEY (run_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX steps_active ON steps (asset_id, partition) WHERE state IN ('queued', 'started', 'retrying', 'interrupted');

-- The state of an asset's partition: which value is valid, and how the last try ended.
CREATE TABLE asset_state (
    asset_id         INTEGER NOT NULL REFERENCES assets,
    partition        INTEGER NOT NULL,
    materialized_seq INTEGER,
    materialized_at  REAL,
    run_id           INTEGER,
    value            TEXT,
    metadata         TEXT,
    failed_seq       INTEGER,
    failed_run       INTEGER,
    PRIMARY KEY (asset_id, partition)
) STRICT, WITHOUT ROWID;

-- What happened, in the order in which it was committed. Events of one caller's transaction share txn.
CREATE TABLE events (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    txn       INTEGER NOT NULL,
    at        REAL NOT NULL,
    type      TEXT NOT NULL,
    asset_id  INTEGER REFERENCES assets,
    set_id    INTEGER REFERENCES partition_sets,
    partition INTEGER,
    run_id    INTEGER,
    tick_id   INTEGER,
    idle      INTEGER NOT NULL DEFAULT 1,
    data      TEXT
) STRICT;

-- One row an asset under a policy (partition 0: its latest activity).
CREATE TABLE freshness (
    asset_id     INTEGER NOT NULL REFERENCES assets,
    partition    INTEGER NOT NULL DEFAULT 0,
    policy       TEXT NOT NULL,
    since        REAL NOT NULL,
    baseline_seq INTEGER NOT NULL DEFAULT 0,
    baseline_at  REAL NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('fresh', 'warn', 'lapsed')),
    PRIMARY KEY (asset_id, partition)
) STRICT, WITHOUT ROWID;

-- One lapse an episode, by constraint.
CREATE TABLE lapses (
    asset_id     INTEGER NOT NULL REFERENCES assets,
    partition    INTEGER NOT NULL,
    baseline_seq INTEGER NOT NULL,
    deadline     REAL NOT NULL,
    seq          INTEGER NOT NULL,
    PRIMARY KEY (asset_id, partition, baseline_seq)
) STRICT, WITHOUT ROWID;

-- The memory of condition nodes: bitmaps over partitions, in chunks of 65,536, so that a change writes little.
CREATE TABLE condition_state (
    asset_id INTEGER NOT NULL REFERENCES assets,
    node     TEXT NOT NULL,
    chunk    INTEGER NOT NULL,
    bits     BLOB NOT NULL,
    PRIMARY KEY (asset_id, node, chunk)
) STRICT, WITHOUT ROWID;
