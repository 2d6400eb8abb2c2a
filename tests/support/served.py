"""The CLI and the API against a whole engine: real sockets, plugins in this process, virtual time."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import pytest
from structlog.testing import capture_logs
from tests.engine.rig import Rig, rig

from freshet.cli.app import run
from freshet.configuration import Settings, load_settings
from freshet.http.serve import serve
from freshet.http.sockets import Sockets, bind

__all__ = ["Said", "ServedEngine", "served_engine"]


@dataclass(frozen=True)
class Said:
    """What a command said."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output, read."""
        return json.loads(self.out)


@dataclass(frozen=True)
class ServedEngine:
    """An engine behind its socket, on a loop of another thread."""

    rig: Rig
    config: Path
    portal: anyio.from_thread.BlockingPortal
    capsys: pytest.CaptureFixture[str]

    def cli(self, *argv: str) -> Said:
        """Run a command to its end."""
        status = run(["--config", str(self.config), *argv])
        captured = self.capsys.readouterr()
        return Said(status, captured.out, captured.err)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.portal.call(self.rig.advance, seconds)

    def settle(self) -> None:
        """All that is under way has ended."""
        self.portal.call(self.rig.settle)


@contextmanager
def served_engine(
    folder: Path, objects: Iterable[object], capsys: pytest.CaptureFixture[str], **options: Any
) -> Generator[ServedEngine, None, None]:
    """An engine on `objects` for as long as the block lasts. `options`: of `rig`."""
    config = folder / "freshet.toml"
    config.write_text(f'state_dir = "{folder}/state"\nplugins_dir = "."\n[http]\nport = 0\n')
    settings = load_settings(config)
    settings.state_dir.mkdir(exist_ok=True)
    with (
        capture_logs(),
        anyio.from_thread.start_blocking_portal(backend_options={"use_uvloop": True}) as portal,
        portal.wrap_async_context_manager(rig(folder, objects, **options)) as one,
    ):
        sockets, scope = bind(settings), portal.call(_scope)
        serving = portal.start_task_soon(_serve, scope, one, settings, sockets)
        try:
            yield ServedEngine(one, config, portal, capsys)
        finally:
            portal.call(scope.cancel)
            serving.result(timeout=10)


async def _scope() -> anyio.CancelScope:
    return anyio.CancelScope()


async def _serve(scope: anyio.CancelScope, one: Rig, settings: Settings, sockets: Sockets) -> None:
    ready = anyio.Event()
    ready.set()
    with scope:
        await serve(one.control, settings, ready=ready, sockets=sockets)
