"""Freshness: when an asset under a policy warns, lapses and is fresh again. Pure: no I/O, no clock."""

from __future__ import annotations

from freshet.definitions.deadlines import lapse_deadline, next_deadline, state_at, warn_deadline
from freshet.engine.freshness.book import FreshnessBook, by_partition

__all__ = ["FreshnessBook", "by_partition", "lapse_deadline", "next_deadline", "state_at", "warn_deadline"]
