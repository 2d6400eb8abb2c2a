-- When steps started that have started again since, or are to: the latest, for rates, which count every start.
CREATE TABLE earlier_starts (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    at   REAL NOT NULL
) STRICT;

CREATE TRIGGER steps_started_again AFTER UPDATE OF started_at ON steps
WHEN OLD.started_at IS NOT NULL AND OLD.started_at IS NOT NEW.started_at BEGIN
    INSERT INTO earlier_starts (name, at) VALUES (OLD.name, OLD.started_at);
    DELETE FROM earlier_starts WHERE id <= (SELECT max(id) FROM earlier_starts) - 100000;
END;
