-- A delivery that asked for patience is handed out again once this has passed; the failures of others are counted.
ALTER TABLE inbox ADD COLUMN later REAL;
