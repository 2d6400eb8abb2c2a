"""What a FileSensor says of a file that would arrive, held against what it says of one that does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshet import AddPartitions, DynamicPartitions, PartitionKeyError, RunRequest
from freshet.definitions.sensor import FunctionSensor
from freshet.testing import tick
from freshet.testing.ticking import Ticked
from freshet_sensors import FileSensor

keys = DynamicPartitions("keys")
AT = 1_790_000_000.5


def _said(found: Ticked) -> list[tuple[Any, ...]]:
    """Without what only a real file has: size, time and inode."""
    told: list[tuple[Any, ...]] = [
        ("add", key, metadata["path"]) for delta in found.partitions for key, metadata in delta.add
    ]
    assert not [delta for delta in found.partitions if delta.delete]
    runs = [(one.target, one.partition, one.tags, (one.run_key or "").partition("@")[0]) for one in found.runs]
    return told + runs


names = st.text("ab.-_~", min_size=1, max_size=6).filter(lambda name: name not in (".", "..") and "--" not in name)
paths = st.lists(names, min_size=1, max_size=3).map("/".join)


@settings(max_examples=150, deadline=None)
@given(
    path=paths,
    pattern=st.sampled_from(["*", "{name}.b", "**/*", "**/{name}-{part}", "{folder}/{name}", "a*/?"]),
    partitioned=st.booleans(),
)
def test_it_says_what_a_look_at_the_real_file_says(
    tmp_path_factory: pytest.TempPathFactory, path: str, pattern: str, partitioned: bool
) -> None:
    root = tmp_path_factory.mktemp("watched")
    sensor = FileSensor(
        "landing", path=root, pattern=pattern, partitions=keys if partitioned else None, target="load", settle="0s"
    )
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("x")
    try:
        said: list[object] = list(sensor.arrival(str(file), AT))
    except PartitionKeyError:
        said = []

    def say(ctx: Any) -> list[object]:
        return said

    assert _said(tick(FunctionSensor(say, name="told"))) == _said(tick(sensor))


def test_paths_are_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sensor = FileSensor("landing", path="inbox", pattern="{name}.csv", partitions=keys, target="load")
    (added, run) = sensor.arrival("inbox/a.csv", AT)
    assert added == AddPartitions(keys, {"a": {"path": f"{tmp_path}/inbox/a.csv", "size": 0, "mtime": AT}})
    assert run == RunRequest("load", partition="a", run_key=f"a.csv@0:{round(AT * 1e9)}:0")
    assert list(sensor.arrival("inbox/../inbox/a.csv", AT)) == [added, run]
    for other in ("a.csv", "inbox", "inbox/a.txt", "inbox/.a.csv", "inbox/b/a.csv", "inboxes/a.csv", "/inbox/a.csv"):
        assert list(sensor.arrival(other, AT)) == []


def test_a_change_that_does_not_count_says_nothing(tmp_path: Path) -> None:
    gone = FileSensor("gone", path=tmp_path, on="deleted", target="load")  # type: ignore[arg-type]
    assert list(gone.arrival(f"{tmp_path}/a", AT)) == []
    again = FileSensor("again", path=tmp_path, on={"modified"}, target="load")
    (run,) = again.arrival(f"{tmp_path}/a", AT)
    assert isinstance(run, RunRequest)
    assert dict(run.tags) == {"file": "a", "change": "modified"}


def test_a_key_that_no_set_may_hold_is_refused(tmp_path: Path) -> None:
    sensor = FileSensor("landing", path=tmp_path, partitions=keys)
    with pytest.raises(PartitionKeyError):
        list(sensor.arrival(f"{tmp_path}/{'x' * 201}", AT))
