"""Steps in one event loop: the process that is kept for them, and how the host looks after it."""
