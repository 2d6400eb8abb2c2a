"""Steps on a disk without room: what they cannot keep fails them, what they print does not. Needs a right to mount."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.executors.hosting import hosting

pytestmark = pytest.mark.anyio

PLUGIN = """
import os
from freshet import asset, job

@asset
def large():
    return "x" * (8 << 20)

@asset
def small():
    return 1

@job
def prints():
    for _ in range(100_000):
        print("x" * 99)
    os.write(1, b"also below\\n" * 10_000)

@job
def says(text: str):
    print(text)

@job
def shows(ctx):
    ctx.artifact("large", markdown="x" * (8 << 20))
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A state folder of 2 MiB."""
    state = tmp_path / "state"
    state.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(state)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("no right to mount")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "-l", str(state)], check=True)


async def test_what_cannot_be_kept_fails_its_step_and_no_other(small_disk: Path) -> None:
    async with hosting(small_disk, plugin=PLUGIN) as site:
        for end in (await site.asset("large"), await site.run("shows")):
            assert end.error is not None
            assert (end.outcome, end.error.type) == ("failed", "OSError")
            assert "No space left on device" in end.error.message
            _sweep(site.state_dir)
        assert (await site.run("prints")).outcome == "succeeded"
        _fill(site.state_dir)
        end = await site.asset("small")
        assert end.error is not None
        assert (end.outcome, end.error.type) == ("failed", "OSError")
        assert (await site.run("says", params={"text": "into the void"})).outcome == "succeeded"

        _sweep(site.state_dir)
        assert site.value(await site.asset("small")) == 1
        run_id = site.launch("says", params={"text": "there is room again"})
        assert (await site.end(run_id)).outcome == "succeeded"
        assert site.texts(run_id, "stdout") == ["there is room again"]


def _fill(state: Path) -> None:
    """To the last byte."""
    with (state / "filling").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


def _sweep(state: Path) -> None:
    """Make room."""
    for pattern in ("runs/*/journal.jsonl", "runs/*/artifacts/*", "values/**/*.*", "filling"):
        for found in state.glob(pattern):
            if found.is_file():
                found.unlink()
