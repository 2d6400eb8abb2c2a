"""What the definitions warn of is in the log and on show, and does not keep the daemon from starting."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.engine.rig import rig

from freshet import DynamicPartitions, asset

pytestmark = pytest.mark.anyio


@asset(partitions=DynamicPartitions("batches"))
def raw() -> int:
    return 1


@asset
def total(raw: int) -> int:
    return raw


async def test_warnings_are_logged_at_the_start_and_reported(tmp_path: Path) -> None:
    with capture_logs() as said:
        async with rig(tmp_path, [raw, total]) as one:
            (warning,) = one.control.load_report.warnings
    assert "asset 'total': the parameter 'raw' is annotated as int" in warning.message
    assert warning.hint.startswith("write raw: dict[str, int]")
    (logged,) = [one for one in said if one["event"] == warning.message]
    assert (logged["log_level"], logged["line"]) == ("warning", warning.line)
