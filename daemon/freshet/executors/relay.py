"""What steps on a cluster say while they run, brought home: their journals, and the records of their items.

It is asked for, some times a second, of all workers at once: nothing waits for it there, and what is missed is asked
for again. Lines are whole, and appended in one piece, as any process of the run appends its own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from freshet.executors.spawning import Tasks
from freshet.host import remote
from freshet.io.files import ensure_folder, write_durable

__all__ = ["Home", "Relay"]

_EVERY = 0.25
_WITHIN = 10.0
_LINES = ".jsonl"


class Home:
    """Where the words of one step come to: the state directory."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._lock = threading.Lock()
        self._start = ""
        self._heard: dict[str, int] = {}
        self._over = False

    @property
    def heard(self) -> remote.Said:
        """What has come."""
        with self._lock:
            return self._start, dict(self._heard)

    def take(self, start: str, lines: Mapping[str, bytes]) -> None:
        """Some more."""
        with self._lock:
            if not self._over:
                self._append(start, lines)

    def finish(self, start: str, files: Mapping[str, bytes]) -> None:
        """All that the step wrote: lines behind those that have come, values durably."""
        with self._lock:
            self._over = True
            heard = self._heard if start == self._start else {}
            lines = {name: data[heard.get(name, 0) :] for name, data in files.items() if name.endswith(_LINES)}
            self._append(start, {name: data for name, data in lines.items() if data})
            for name, data in files.items():
                if name not in lines:
                    self._put(name, data)

    def _append(self, start: str, lines: Mapping[str, bytes]) -> None:
        if start != self._start:
            self._start, self._heard = start, {}
        for name, data in lines.items():
            path = self._state_dir / name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with path.open("ab", buffering=0) as out:
                out.write(data)
            self._heard[name] = self._heard.get(name, 0) + len(data)

    def _put(self, name: str, data: bytes) -> None:
        folder, _, file = f"{self._state_dir}/{name}".rpartition("/")
        if name.startswith("values/"):
            ensure_folder(folder, top=f"{self._state_dir}/values")
            write_durable(folder, file, data)
        else:
            Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
            Path(folder, file).write_bytes(data)


class Relay:
    """Of one client of a cluster. `tasks`: who holds the one that asks."""

    def __init__(self, client: Any, state_dir: Path, tasks: Tasks) -> None:
        self._client = client
        self._state_dir = state_dir
        self._tasks = tasks
        self._homes: dict[str, Home] = {}
        self._asking: asyncio.Task[None] | None = None

    @contextmanager
    def home(self, token: str) -> Generator[Home]:
        """Inside, what the step with this token says is brought home."""
        home = self._homes[token] = Home(self._state_dir)
        if self._asking is None or self._asking.done():
            self._asking = self._tasks.spawn(self._ask())
        try:
            yield home
        finally:
            del self._homes[token]

    async def _ask(self) -> None:
        while self._homes and self._client.status != "closed":
            await asyncio.sleep(_EVERY)
            asked = {token: home.heard for token, home in self._homes.items()}
            for token, (start, lines) in await self._answers(asked):
                home = self._homes.get(token)
                if lines and home is not None:
                    await asyncio.to_thread(_take, home, start, lines)

    async def _answers(self, asked: dict[str, remote.Said]) -> list[tuple[str, tuple[str, dict[str, bytes]]]]:
        try:
            answers = self._client.run(remote.said_since, asked, on_error="ignore")
            found: dict[str, Any] = await asyncio.wait_for(answers, _WITHIN)
        except Exception:  # a worker, or the scheduler, is lost: whoever waits for the step hears of it
            return []
        return [one for answer in found.values() for one in answer.items()]


def _take(home: Home, start: str, lines: Mapping[str, bytes]) -> None:
    with suppress(OSError):  # a full disk costs lines, and no step
        home.take(start, lines)
