-- The columns that Discogsography's queries use. A B-tree entry may not pass 2,704 bytes, and a longer text would make the row itself
-- be refused: so no B-tree on free text.

-- finding rows by content: verification, and readers that compare months
CREATE INDEX IF NOT EXISTS artists_hash ON artists (hash);
CREATE INDEX IF NOT EXISTS labels_hash ON labels (hash);
CREATE INDEX IF NOT EXISTS masters_hash ON masters (hash);
CREATE INDEX IF NOT EXISTS releases_hash ON releases (hash);

-- what changed since
CREATE INDEX IF NOT EXISTS artists_updated_at ON artists (updated_at);
CREATE INDEX IF NOT EXISTS labels_updated_at ON labels (updated_at);
CREATE INDEX IF NOT EXISTS masters_updated_at ON masters (updated_at);
CREATE INDEX IF NOT EXISTS releases_updated_at ON releases (updated_at);

-- equality on names and titles; a hash index takes texts of any length
CREATE INDEX IF NOT EXISTS artists_name ON artists USING hash ((data->>'name'));
CREATE INDEX IF NOT EXISTS labels_name ON labels USING hash ((data->>'name'));
CREATE INDEX IF NOT EXISTS masters_title ON masters USING hash ((data->>'title'));
CREATE INDEX IF NOT EXISTS releases_title ON releases USING hash ((data->>'title'));

-- years: a document's year is an integer, so its text is short
CREATE INDEX IF NOT EXISTS masters_year ON masters ((data->>'year'));
CREATE INDEX IF NOT EXISTS releases_year ON releases ((data->>'year'));

-- countries: few values with many rows each, for which a hash index degrades, in a free text; SP-GiST takes any length
CREATE INDEX IF NOT EXISTS releases_country ON releases USING spgist ((data->>'country'));

-- genres by ?, ?| and @>; long keys are hashed by the operator class
CREATE INDEX IF NOT EXISTS releases_genres ON releases USING gin ((data->'genres'));

-- labels by @>, the only operator that helps with a list of objects; hashes of paths are a third of the size of the default class
CREATE INDEX IF NOT EXISTS releases_labels ON releases USING gin ((data->'labels') jsonb_path_ops);

-- words of names and titles; words over 2 kB are left out by to_tsvector itself
CREATE INDEX IF NOT EXISTS artists_name_words ON artists USING gin (to_tsvector('english', data->>'name'));
CREATE INDEX IF NOT EXISTS labels_name_words ON labels USING gin (to_tsvector('english', data->>'name'));
CREATE INDEX IF NOT EXISTS masters_title_words ON masters USING gin (to_tsvector('english', data->>'title'));
CREATE INDEX IF NOT EXISTS releases_title_words ON releases USING gin (to_tsvector('english', data->>'title'));
