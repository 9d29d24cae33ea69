-- Documents: one row a record. Rowid tables: WITHOUT ROWID was measured slower and bigger with documents of this size.
CREATE TABLE IF NOT EXISTS artists (data_id TEXT PRIMARY KEY NOT NULL, hash TEXT NOT NULL, data TEXT NOT NULL, updated_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS labels (data_id TEXT PRIMARY KEY NOT NULL, hash TEXT NOT NULL, data TEXT NOT NULL, updated_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS masters (data_id TEXT PRIMARY KEY NOT NULL, hash TEXT NOT NULL, data TEXT NOT NULL, updated_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS releases (data_id TEXT PRIMARY KEY NOT NULL, hash TEXT NOT NULL, data TEXT NOT NULL, updated_at TEXT NOT NULL);

-- What each epoch changed: op is the state's verdict, fields the top-level fields that differ from the row that was replaced.
CREATE TABLE IF NOT EXISTS changes (
    epoch INTEGER NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    op TEXT NOT NULL CHECK (op IN ('insert', 'update', 'delete')),
    fields TEXT,
    at TEXT NOT NULL,
    PRIMARY KEY (epoch, kind, id)
) WITHOUT ROWID;

-- Which dumps were applied, and how that ended; completed_at is null while a kind is being applied.
CREATE TABLE IF NOT EXISTS snapshots (
    epoch INTEGER NOT NULL,
    kind TEXT NOT NULL,
    month TEXT NOT NULL,
    file TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    begun_at TEXT NOT NULL,
    completed_at TEXT,
    abandoned INTEGER NOT NULL DEFAULT 0,
    records INTEGER,
    deletes_withheld INTEGER,
    rejected INTEGER,
    PRIMARY KEY (epoch, kind)
);

-- Records that were rejected, with the bytes as they stood in the dump.
CREATE TABLE IF NOT EXISTS dead_letters (
    epoch INTEGER NOT NULL,
    kind TEXT NOT NULL,
    id TEXT,
    file TEXT NOT NULL,
    position INTEGER NOT NULL,
    stage TEXT NOT NULL,
    reason TEXT NOT NULL,
    raw BLOB NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (epoch, kind, file, position)
);

-- How far each writer has come, written in each of its transactions: decides an unanswered commit, and fences older runs.
CREATE TABLE IF NOT EXISTS watermarks (
    writer INTEGER PRIMARY KEY NOT NULL,
    state TEXT NOT NULL,
    run INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    tick INTEGER NOT NULL,
    batch INTEGER NOT NULL
);

-- The state that this file belongs to, the file's own id, the last run: one row.
CREATE TABLE IF NOT EXISTS binding (
    one INTEGER PRIMARY KEY NOT NULL CHECK (one = 1),
    state TEXT NOT NULL,
    store TEXT NOT NULL,
    run INTEGER NOT NULL
);

-- Per kind, the epoch that was last applied whole, and the one that was last begun.
CREATE TABLE IF NOT EXISTS applied (
    kind TEXT PRIMARY KEY NOT NULL,
    epoch INTEGER,
    id TEXT,
    begun_epoch INTEGER NOT NULL,
    begun_id TEXT NOT NULL
);
