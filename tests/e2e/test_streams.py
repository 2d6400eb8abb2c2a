"""A stream with acknowledgements, through kill -9: the sample plugin on a real TCP source."""

from __future__ import annotations

import json
import random
import socket
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from tests.support.daemon import Site, wait_until

PLUGIN = (Path(__file__).parents[2] / "samples" / "lines.py").read_text()
MakeSite = Callable[..., Site]


class Source:
    """Delivers every message that is not acknowledged at each connection, and new ones as they are put."""

    def __init__(self, database: Path) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.at = f"127.0.0.1:{self.server.getsockname()[1]}"
        self.unacknowledged: dict[str, bytes] = {}
        self.delivered: Counter[str] = Counter()
        self.early: list[str] = []
        """Acknowledged before there was a run for it."""
        self._database = database
        self._news = threading.Condition()
        self._connections: list[socket.socket] = []
        self._count = 0

    def put(self, count: int) -> None:
        with self._news:
            for _ in range(count):
                self._count += 1
                line = json.dumps({"id": f"m{self._count}", "params": {"number": self._count}})
                self.unacknowledged[f"m{self._count}"] = line.encode() + b"\n"
            self._news.notify_all()

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.server.accept()
                self._connections.append(connection)
                for work in (self._deliver, self._listen):
                    threading.Thread(target=work, args=(connection,), daemon=True).start()

    def cut(self) -> None:
        """End every connection."""
        with self._news:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                connection.close()
            self._connections.clear()
            self._news.notify_all()

    def _deliver(self, connection: socket.socket) -> None:
        sent: set[str] = set()
        while connection.fileno() >= 0:
            with self._news:
                fresh = {key: line for key, line in self.unacknowledged.items() if key not in sent}
                if not fresh:
                    self._news.wait(0.1)
                    continue
            sent |= fresh.keys()
            self.delivered.update(fresh.keys())
            try:
                connection.sendall(b"".join(fresh.values()))
            except OSError:
                return

    def _listen(self, connection: socket.socket) -> None:
        with suppress(OSError, ValueError), connection.makefile("rb") as answers:
            for line in answers:
                key = line.decode().removeprefix("ack ").strip()
                if key not in run_keys(self._database):
                    self.early.append(key)
                with self._news:
                    self.unacknowledged.pop(key, None)


@contextmanager
def source_for(site: Site) -> Generator[Source]:
    source = Source(site.state / "freshet.db")
    thread = threading.Thread(target=source.serve, daemon=True)
    thread.start()
    try:
        yield source
    finally:
        source.cut()
        with suppress(OSError):
            source.server.shutdown(socket.SHUT_RDWR)
        source.server.close()
        thread.join()


def run_keys(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as db:
        return [key.removeprefix("lines:") for (key,) in db.execute("SELECT run_key FROM runs ORDER BY id")]


def test_each_message_is_admitted_once_through_any_crash(make_site: MakeSite) -> None:
    """The daemon is killed while messages come, and the connection cut; what was not acknowledged comes again."""
    site = make_site(PLUGIN)
    rng = random.Random(3)
    with source_for(site) as source:
        put = 0
        for _ in range(4):
            daemon = site.start(env={"LINES_AT": source.at}).ready()
            source.put(120)
            put += 120
            wanted = len(run_keys(site.state / "freshet.db")) + rng.randint(1, 100)
            wait_until(lambda: len(run_keys(site.state / "freshet.db")) >= wanted, "some are admitted", every=0.001)  # noqa: B023
            daemon.kill()
        daemon = site.start(env={"LINES_AT": source.at}).ready()
        source.put(50)
        source.cut()
        source.put(50)
        daemon.wait_until(lambda: not source.unacknowledged, "all is acknowledged")
        assert Counter(run_keys(site.state / "freshet.db")) == Counter(f"m{n}" for n in range(1, put + 101))
        assert source.early == []
        assert max(source.delivered.values()) > 1, "something was delivered again"
        daemon.wait_until(daemon.idle, "all has run")
        assert daemon.stop() == 0


def test_a_source_that_is_away_is_told_and_found_again(make_site: MakeSite) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"
    site = make_site(PLUGIN)
    daemon = site.start(env={"LINES_AT": nobody}).ready()
    daemon.wait_until(lambda: "the stream was lost" in daemon.log_text(), "it is told")
    assert daemon.client.sensor("lines").failures == 0
    with source_for(site) as source:
        host, _, port = nobody.rpartition(":")
        with socket.create_server((host, int(port))) as again:
            connection, _ = again.accept()
            with connection:
                connection.sendall(b'{"id": "a", "params": {"number": 1}}\n')
                assert connection.makefile().readline() == "ack a\n"
        assert source.early == []
    daemon.wait_until(lambda: "over: the stream was lost" in daemon.log_text(), "it is told")
    assert run_keys(site.state / "freshet.db") == ["a"]
