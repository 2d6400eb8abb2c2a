"""Deliveries through kill -9 and full disks: each is admitted once, and answered alike for ever."""

from __future__ import annotations

import os
import random
import resource
import string
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import httpx
import pytest
from tests.crash.points import BOUNDARIES, STORE_BOUNDARIES, Boundary, Point
from tests.crash.senders import BAD, PICKY, PLUGIN, Memory, address, at_rest, send
from tests.support.daemon import IMPORT_TESTS, Daemon, Site, site_at
from tests.support.signers import SECRET

from freshet.http.models import ReplayBody

IDS, BODIES = "abcdefgh", (BAD, 1, 1, 2)


class Program:
    """Deliveries, the same again, other and bad bodies, replays, pauses, full disks and crashes, in any order."""

    def __init__(self, site: Site, rng: random.Random) -> None:
        self.site = site
        self.rng = rng
        self.memory = Memory()
        self.paused = False
        self.daemon: Daemon
        self.url = ""
        self.start()

    def run(self, rounds: int) -> None:
        """In each round everything happens once, in another order, among deliveries."""
        rare = [self.crash_while_many_come, self.stop, self.pause_or_resume, self.fill_the_disk, self.replay]
        for _ in range(rounds):
            for step in self.rng.sample([*rare, *[self.deliver] * 2 * len(rare)], k=3 * len(rare)):
                step()
        self.end()

    def start(self) -> None:
        self.daemon = self.site.start().ready()
        self.url = address(self.daemon)

    def perhaps_crash(self) -> bool:
        if crash := self.rng.random() < 0.5:
            self.daemon.kill()
            self.start()
        return crash

    def deliver(self) -> None:
        id, body = self.rng.choice(IDS), self.rng.choice(BODIES)
        answer = send(self.url, id, body)
        assert answer is not None
        assert answer.status_code != 503
        self.memory.heard(id, body, answer)

    def crash_while_many_come(self) -> None:
        # of one id, one body at a time: which of two came first, no sender could know
        sent = {id: self.rng.choice(BODIES) for id in self.rng.sample(string.ascii_lowercase, k=16)}
        answered = self.rng.randint(0, 6)
        with ThreadPoolExecutor(len(sent)) as pool:
            waiting = {pool.submit(send, self.url, id, body): (id, body) for id, body in sent.items()}
            for count, done in enumerate(as_completed(waiting)):
                if count == answered:
                    self.daemon.kill()
                self.memory.heard(*waiting[done], done.result())
        self.start()

    def stop(self) -> None:
        assert self.daemon.stop() == 0
        self.start()

    def pause_or_resume(self) -> None:
        self.paused = not self.paused
        (self.daemon.client.pause if self.paused else self.daemon.client.resume)("hook")

    def fill_the_disk(self) -> None:
        before = resource.prlimit(self.daemon.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.daemon.pid, resource.RLIMIT_FSIZE, (4096, before[1]))
        body = self.rng.choice(BODIES)
        for id in self.rng.sample(string.ascii_lowercase, k=3):
            if id not in self.memory.taken:
                answer = send(self.url, id, body)
                assert answer is not None
                assert answer.status_code == 503
                self.memory.heard(id, body, answer)
        if not self.perhaps_crash():
            resource.prlimit(self.daemon.pid, resource.RLIMIT_FSIZE, before)

    def replay(self) -> None:
        if self.paused:
            self.pause_or_resume()
        self.daemon.wait_until(lambda: at_rest(self.daemon), "everything has been looked at")
        ids = [id for id in self.memory.taken if self.rng.random() < 0.5]
        again = self.rng.random() < 0.5
        numbers = tuple(self.memory.numbers[id] for id in ids)
        self.daemon.client.replay("hook", ReplayBody(ids=numbers, again=again))
        if again:
            self.memory.again.update(id for id in ids if self.memory.taken[id][0] != BAD)
        self.perhaps_crash()

    def end(self) -> None:
        if self.paused:
            self.pause_or_resume()
        self.daemon.wait_until(lambda: at_rest(self.daemon), "everything has been looked at")
        for id, (body, _) in list(self.memory.taken.items()):
            self.memory.heard(id, body, send(self.url, id, body))
        assert self.daemon.stop() == 0
        self.memory.check(self.site)


def _seeds(count: int) -> list[str]:
    """Others each time, unless one is asked for."""
    if (asked := os.environ.get("FRESHET_CRASH_SEED")) is not None:
        return [asked]
    return [f"{random.SystemRandom().getrandbits(32):x}" for _ in range(count)]


@pytest.mark.parametrize("rounds", [1, pytest.param(6, marks=pytest.mark.slow)])
def test_any_order_of_what_can_happen(tmp_path: Path, rounds: int) -> None:
    """`FRESHET_INBOX_PROGRAMS`: how many orders; `FRESHET_CRASH_SEED`: the one that failed."""
    for seed in _seeds(int(os.environ.get("FRESHET_INBOX_PROGRAMS", "1"))):
        print(f"FRESHET_CRASH_SEED={seed}")  # noqa: T201  # shown by pytest on failure
        with site_at(tmp_path / seed, plugins={"hook.py": PICKY}, grace="2s", env={"SECRET": SECRET}) as site:
            Program(site, random.Random(seed)).run(rounds)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_at(tmp_path / "site", plugins={"hook.py": PLUGIN}, grace="2s", env={"SECRET": SECRET}) as made:
        yield made


PLAN: dict[str, tuple[Boundary, ...]] = {
    "keep_deliveries": STORE_BOUNDARIES,
    "commit_tick": tuple(one for one in BOUNDARIES if one != "before publish"),  # runs of jobs are no events
}


@pytest.mark.parametrize("kind", PLAN)
def test_killed_at_each_boundary(site: Site, kind: str) -> None:
    """Resent until it is answered, each delivery is taken once, wherever the daemon was killed."""
    memory, rng = Memory(), random.Random(kind)
    for number, boundary in enumerate(PLAN[kind]):
        report = site.folder / f"killed-{number}"
        point = Point(boundary, kind, rng.randint(1, 3))
        daemon = site.start(("-m", "tests.crash.child", str(point), str(report)), env=IMPORT_TESTS)
        url, count = address(daemon), 0
        while daemon.process.poll() is None:
            id = f"{kind} {number} {count}"
            memory.heard(id, 1, send(url, id, 1))
            memory.heard(id, 1, send(url, id, 1))
            count += 1
        assert daemon.process.returncode == -9
        assert report.read_text() == f"{point}\n"
    daemon = site.start().ready()
    url = address(daemon)
    for id in list(memory.unsure):
        memory.heard(id, 1, send(url, id, 1))
    assert memory.unsure.keys() <= memory.taken.keys()
    daemon.wait_until(lambda: at_rest(daemon), "everything has been looked at")
    assert daemon.stop() == 0
    memory.check(site)


def test_a_full_disk_is_told_and_loses_nothing_that_was_acknowledged(site: Site) -> None:
    daemon, memory = site.start().ready(), Memory()
    url = address(daemon)
    for number in range(5):
        memory.heard(f"before {number}", 1, send(url, f"before {number}", 1))
    daemon.wait_until(lambda: at_rest(daemon), "all has been looked at")
    before = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (4096, before[1]))
    codes = set[int]()
    for number in range(5):
        answer = send(url, f"full {number}", 1)
        assert answer is not None
        codes.add(answer.status_code)
        memory.heard(f"full {number}", 1, answer)
        if answer.status_code == 503:
            assert answer.headers["retry-after"] == "5"
    assert codes == {503}
    health = httpx.get(url.replace("/hooks/hook", "/readyz"), timeout=60)
    assert health.status_code == 503
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, before)
    for number in range(5):
        memory.heard(f"full {number}", 1, send(url, f"full {number}", 1))
    assert len(memory.taken) == 10
    daemon.wait_until(lambda: at_rest(daemon), "all has been looked at")
    assert daemon.stop() == 0
    memory.check(site)


POISON = """
import os
from freshet import RunRequest, job
from freshet_sensors import WebhookSensor


@job
def note(ctx, id: str): ...


def kill(payload):
    if payload["id"] == "poison":
        os._exit(3)
    return RunRequest(params={"id": payload["id"]})


WebhookSensor("hook", path="hook", scheme="hmac-sha256", secret="env:SECRET", id_from="header:X-Delivery", target=note,
              map=kill, interval="50ms")
"""


def test_a_delivery_that_kills_every_look_is_parked_and_those_behind_it_go_on(tmp_path: Path) -> None:
    with site_at(tmp_path / "site", plugins={"hook.py": POISON}, env={"SECRET": SECRET}) as site:
        daemon = site.start().ready()
        url, ids = address(daemon), ["one", "poison", *(f"behind {number}" for number in range(20))]
        daemon.client.pause("hook")
        for id in ids:
            answer = send(url, id, 1)
            assert answer is not None
            assert answer.status_code == 202
        daemon.client.resume("hook")

        def settled() -> dict[str, str] | None:
            rows = daemon.client.deliveries("hook", limit=100)
            found: dict[str, str] = {one.delivery: one.state for one in rows}
            return found if "waiting" not in found.values() else None

        states = daemon.wait_until(settled, "nothing waits any more")
        assert states == {id: "parked" if id == "poison" else "admitted" for id in ids}
        assert sorted(run.params["id"] for run in daemon.runs("note")) == sorted(set(ids) - {"poison"})
