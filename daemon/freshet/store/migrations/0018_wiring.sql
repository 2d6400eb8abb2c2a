-- What each asset depends on and how, as a digest: what is not known yet is no change.
ALTER TABLE assets ADD COLUMN wiring TEXT;
