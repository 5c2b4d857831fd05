-- compatible: 1
-- Programs of before change head as well, and read it first.

ALTER TABLE sessions ADD COLUMN facts INTEGER NOT NULL DEFAULT 0; -- hash of what in head never changes; 0: not known
