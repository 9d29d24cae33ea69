-- The epoch from which on a dead letter is no longer open: its kind was read whole again, or its key was heard of; null while it is open.
ALTER TABLE dead_letters ADD COLUMN cleared_epoch bigint;

-- what is open: few, of many that the years leave behind
CREATE INDEX dead_letters_open ON dead_letters (kind, epoch, file, position) WHERE cleared_epoch IS NULL;

-- since when a record has been rejected
CREATE INDEX dead_letters_id ON dead_letters (kind, id, epoch) WHERE id IS NOT NULL;
