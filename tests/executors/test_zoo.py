"""The zoo: bad steps again and again in every executor, and healthy ones beside them that do not notice.

`make zoo` lets each come twenty times; else they come once, and few of those that are costly.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.executors.zoo.animals import ANIMALS, Animal
from tests.executors.zoo.visit import zoo
from tests.support.cluster import Cluster

pytestmark = pytest.mark.anyio

_VISITS = int(os.environ.get("FRESHET_ZOO", "1"))
_MEGABYTES = 100 if _VISITS > 1 else 20
_NEAR = ("process", "reused", "inline", "command")
_ALL = [pytest.param(executor, one, id=f"{executor}-{one.name}") for executor in ANIMALS for one in ANIMALS[executor]]
_COSTLY = ("prints_a_lot", "writes_short_lines")
_FAR = ("raises", "forks_twice", "ignores_sigterm", "exits", "closes_everything")
"""What comes where each step is an interpreter of its own."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[str]:
    """A small one: of 2 MiB where there is a right to mount; else none, and steps limit themselves (RLIMIT_FSIZE)."""
    small = tmp_path / "small"
    small.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield str(small) if mounted else ""
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(small)], check=True)


@pytest.fixture
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Of a scheduler, where one is needed."""
    if "dask" not in request.node.name:
        yield ""
        return
    pytest.importorskip("distributed")
    monkeypatch.setenv("ZOO", str(tmp_path))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "cluster").mkdir()
    cluster = Cluster(tmp_path / "cluster")
    try:
        yield cluster.address
    finally:
        cluster.close()


@pytest.mark.parametrize("executor", ANIMALS)
async def test_the_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: str, address: str, executor: str) -> None:
    async with zoo(tmp_path, executor, disk, address, monkeypatch) as site:
        before = await site.opened()
        for animal in ANIMALS[executor]:
            if animal.name in (_FAR if executor not in _NEAR else {one.name for one in ANIMALS[executor]}):
                await site.visit(animal, megabytes=_MEGABYTES)
        await site.nothing_is_left(before)
        site.kept_their_latency()


@pytest.mark.slow
@pytest.mark.parametrize(("executor", "animal"), _ALL)
async def test_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: str, address: str, executor: str, animal: Animal
) -> None:
    async with zoo(tmp_path, executor, disk, address, monkeypatch) as site:
        before = await site.opened()
        for _ in range(_VISITS):
            await site.visit(animal, megabytes=_MEGABYTES)
        await site.nothing_is_left(before)
        site.kept_their_latency()
