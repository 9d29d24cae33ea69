-- What a reader looks records up by. An index on an expression is used where a query has the same expression:
-- SELECT data FROM artists WHERE json_extract(data, '$.name') = 'Aphex Twin'. Each costs a quarter to a third of the load rate of
-- its table. None on releases: with 19 million of them it would outgrow the page cache, and every insert would wait for the disk;
-- who wants it makes it in one go after the first load, on json_extract(data, '$.title').
CREATE INDEX IF NOT EXISTS artists_name ON artists (json_extract(data, '$.name'));
CREATE INDEX IF NOT EXISTS labels_name ON labels (json_extract(data, '$.name'));
CREATE INDEX IF NOT EXISTS masters_title ON masters (json_extract(data, '$.title'));
