"""Schedules on the command line, against a whole engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.served import served_engine

from freshet import RunRequest, job, schedule


@job
def work() -> int:
    return 1


def test_one_schedule_as_json_tells_its_last_error_and_its_history(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = [False]

    @schedule(every="60s")
    def often(ctx: Any) -> RunRequest:
        if broken[0]:
            raise ValueError("the moon is down")
        return RunRequest("work")

    with served_engine(tmp_path, [work, often], capsys) as served:
        served.advance(61)
        broken[0] = True
        served.advance(60)
        found = served.cli("schedules", "often", "--json").json
        assert (found["name"], found["status"], found["failures"]) == ("often", "failing", 1)
        assert found["last_error"]["message"] == "the moon is down"
        assert [one["status"] for one in found["history"]] == ["fired"]
        assert "the moon is down" in served.cli("schedules", "often").out
