"""What is remembered. Only here is SQL."""
