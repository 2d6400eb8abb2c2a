"""Freshness: when an asset under a policy warns, lapses and is fresh again. Pure: no I/O, no clock."""

from __future__ import annotations

from freshet.engine.freshness.book import FreshnessBook
from freshet.engine.freshness.deadlines import lapse_deadline, next_deadline, state_at, warn_deadline

__all__ = ["FreshnessBook", "lapse_deadline", "next_deadline", "state_at", "warn_deadline"]
