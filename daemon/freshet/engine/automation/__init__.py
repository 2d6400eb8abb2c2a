"""Automation: from committed events to requested runs. Pure: no I/O, no clock.

events -> state.World (facts) -> agenda (what lies below) -> look (conditions) -> waves (runs) -> Evaluation
"""

from __future__ import annotations

from freshet.engine.automation.automation import Automation
from freshet.engine.automation.evaluation import Evaluation, Request, Told
from freshet.engine.automation.explain import Explanation, Standing
from freshet.engine.automation.state import AssetCounts

__all__ = ["AssetCounts", "Automation", "Evaluation", "Explanation", "Request", "Standing", "Told"]
