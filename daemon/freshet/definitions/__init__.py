"""What a user declares, as plain data."""
