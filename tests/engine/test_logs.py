"""What the daemon's log lines look like."""

from __future__ import annotations

import json
import subprocess
import sys

_SAY = """
import structlog
from freshet.engine.logs import configure_logs

configure_logs("info", "json")
structlog.get_logger().warning("a step failed", retry_at=1_800_000_000.25)
structlog.get_logger().warning("a step failed", retry_at=None)
"""


def test_a_moment_is_said_as_a_time() -> None:
    said = subprocess.run([sys.executable, "-c", _SAY], capture_output=True, text=True, check=True).stderr
    assert [json.loads(line)["retry_at"] for line in said.splitlines()] == ["2027-01-15T08:00:00.250+00:00", None]
