-- Documents: one row a record, as Discogsography's readers expect them.
CREATE TABLE IF NOT EXISTS artists (data_id text PRIMARY KEY, hash text NOT NULL, data jsonb NOT NULL, updated_at timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS labels (data_id text PRIMARY KEY, hash text NOT NULL, data jsonb NOT NULL, updated_at timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS masters (data_id text PRIMARY KEY, hash text NOT NULL, data jsonb NOT NULL, updated_at timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS releases (data_id text PRIMARY KEY, hash text NOT NULL, data jsonb NOT NULL, updated_at timestamptz NOT NULL);

-- lz4 compresses large documents at a fraction of pglz's cost; a server that was built without it, or is older than 14, keeps pglz.
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['artists', 'labels', 'masters', 'releases'] LOOP
        EXECUTE format('ALTER TABLE %I ALTER COLUMN data SET COMPRESSION lz4', name);
    END LOOP;
EXCEPTION WHEN feature_not_supported OR syntax_error OR invalid_parameter_value THEN NULL;
END $$;

-- What each epoch changed: op is the state's verdict, fields the top-level fields that differ from the row that was replaced.
CREATE TABLE IF NOT EXISTS changes (
    epoch bigint NOT NULL,
    kind text NOT NULL,
    id text NOT NULL,
    op text NOT NULL CHECK (op IN ('insert', 'update', 'delete')),
    fields jsonb,
    at timestamptz NOT NULL,
    PRIMARY KEY (epoch, kind, id)
);

-- Which dumps were applied, and how that ended; completed_at is null while a kind is being applied.
CREATE TABLE IF NOT EXISTS snapshots (
    epoch bigint NOT NULL,
    kind text NOT NULL,
    month text NOT NULL,
    file text NOT NULL,
    sha256 text NOT NULL,
    begun_at timestamptz NOT NULL,
    completed_at timestamptz,
    abandoned boolean NOT NULL DEFAULT false,
    records bigint,
    deletes_withheld bigint,
    rejected bigint,
    PRIMARY KEY (epoch, kind)
);

-- Records that were rejected, with the bytes as they stood in the dump.
CREATE TABLE IF NOT EXISTS dead_letters (
    epoch bigint NOT NULL,
    kind text NOT NULL,
    id text,
    file text NOT NULL,
    position bigint NOT NULL,
    stage text NOT NULL,
    reason text NOT NULL,
    raw bytea NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (epoch, kind, file, position)
);

-- How far each writer has come, written in each of its transactions: decides an unanswered commit, and fences older runs.
CREATE TABLE IF NOT EXISTS watermarks (
    writer integer PRIMARY KEY,
    state uuid NOT NULL,
    run bigint NOT NULL,
    epoch bigint NOT NULL,
    tick bigint NOT NULL,
    batch bigint NOT NULL
);

-- The state that this database belongs to, its own id, the last run: one row.
CREATE TABLE IF NOT EXISTS binding (
    one integer PRIMARY KEY CHECK (one = 1),
    state uuid NOT NULL,
    store uuid NOT NULL,
    run bigint NOT NULL
);

-- Per kind, the epoch that was last applied whole, and the one that was last begun.
CREATE TABLE IF NOT EXISTS applied (
    kind text PRIMARY KEY,
    epoch bigint,
    id uuid,
    begun_epoch bigint NOT NULL,
    begun_id uuid NOT NULL
);
