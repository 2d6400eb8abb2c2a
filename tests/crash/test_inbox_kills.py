"""Deliveries through kill -9 and full disks: each is admitted once, and answered alike for ever."""

from __future__ import annotations

import random
import resource
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from tests.crash.points import BOUNDARIES, STORE_BOUNDARIES, Boundary, Point
from tests.crash.senders import PLUGIN, Memory, address, at_rest, new_site, send
from tests.support.daemon import IMPORT_TESTS, Daemon, Site, site_at
from tests.support.signers import SECRET


class Senders(RuleBasedStateMachine):
    """Any order of deliveries, the same again, other bodies, and crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="freshet-inbox-"))
        self.site = new_site(self.folder / "site")
        self.memory = Memory()
        self.daemon: Daemon
        self.url = ""

    @initialize()
    def start(self) -> None:
        self.daemon = self.site.start().ready()
        self.url = address(self.daemon)

    @rule(id=st.sampled_from("abcdefgh"), body=st.integers(1, 2))
    def deliver(self, id: str, body: int) -> None:
        answer = send(self.url, id, body)
        assert answer is not None
        assert answer.status_code != 503
        self.memory.heard(id, body, answer)

    @rule(
        ids=st.lists(
            st.tuples(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), st.integers(1, 2)), min_size=6, max_size=20
        ),
        answered=st.integers(0, 6),
    )
    def crash_while_many_come(self, ids: list[tuple[str, int]], answered: int) -> None:
        sent = dict(ids)  # of one id, one body at a time: which of two came first, no sender could know
        with ThreadPoolExecutor(len(sent)) as pool:
            waiting = {pool.submit(send, self.url, id, body): (id, body) for id, body in sent.items()}
            for count, done in enumerate(as_completed(waiting)):
                if count == answered:
                    self.daemon.kill()
                self.memory.heard(*waiting[done], done.result())
        if self.daemon.process.poll() is None:
            self.daemon.kill()
        self.start()

    @rule()
    def stop_in_good_order(self) -> None:
        assert self.daemon.stop() == 0
        self.start()

    def teardown(self) -> None:
        try:
            self.daemon.wait_until(lambda: at_rest(self.daemon), "everything has been looked at")
            for id, (body, _) in list(self.memory.taken.items()):
                self.memory.heard(id, body, send(self.url, id, body))
            assert self.daemon.stop() == 0
            self.memory.check(self.site)
        finally:
            self.site.close()
            shutil.rmtree(self.folder)


def _hypothesis(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        derandomize=examples < 10,
    )


def test_any_order_of_deliveries_and_crashes() -> None:
    run_state_machine_as_test(Senders, settings=_hypothesis(2, 15))


@pytest.mark.slow
def test_any_order_of_deliveries_and_crashes_for_longer() -> None:
    run_state_machine_as_test(Senders, settings=_hypothesis(25, 40))


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
    health = httpx.get(url.replace("/hooks/hook", "/readyz"), timeout=20)
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
