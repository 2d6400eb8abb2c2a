"""Backfills: what is wanted, what is next, and the loop that carries them on."""
