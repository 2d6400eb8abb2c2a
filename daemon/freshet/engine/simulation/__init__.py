"""`freshet simulate`: what would tick, run and lapse when, without doing it."""
