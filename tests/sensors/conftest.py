"""Shared by the sensors' tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.moto import Moto, moto_server


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """An empty folder to watch."""
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@pytest.fixture(scope="session")
def moto() -> Iterator[Moto]:
    """S3 and SQS on loopback."""
    with moto_server() as server:
        yield server
