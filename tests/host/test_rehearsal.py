"""What a worker runs while it waits: whole, and without a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from freshet.host.messages import WorkerEnded
from freshet.host.rehearsal import Rehearsal
from freshet.host.step import perform


def test_it_goes_all_the_way_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ends = list[WorkerEnded]()

    def watched(*args: Any, **options: Any) -> WorkerEnded:
        ends.append(perform(*args, **options))
        return ends[-1]

    files = len(list(Path("/proc/self/fd").iterdir()))
    rehearsal = Rehearsal(watched, tmp_path / "values")
    for _ in range(2):
        rehearsal.play()
    assert [end["error"] for end in ends] == [None, None]
    assert list(tmp_path.iterdir()) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == files
    assert capfd.readouterr() == ("", "")
