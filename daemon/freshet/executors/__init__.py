"""Where a step runs, as the daemon sees it."""
