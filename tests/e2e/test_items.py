"""`ctx.map`: each item by itself, through failures, cancels and the end of the daemon."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.daemon import Daemon, Site

from freshet.http.models import CallBody, CancelItemBody, ItemAnswer, MapAnswer, RunAnswer

PLUGIN = """
import asyncio
import os
import subprocess
import time
from pathlib import Path

from freshet import ItemsFailed, Retries, job


def note(name, text=""):
    with open(f"did-{name}", "a") as file:
        file.write(f"{text}.")


def work(ctx, name):
    ctx.log.info("at work", name=name)
    note(name)
    if name == "fails" and not Path("mended").exists():
        raise ValueError("no such region")
    if name == "dies" and not Path("mended").exists():
        os._exit(3)
    if name == "hangs" and not Path("mended").exists():
        time.sleep(600)
    if name == "second" and len(Path("did-second").read_text()) == 1:
        raise ConnectionError("try again")
    return {name, name}


@job
def regions(ctx):
    found = ctx.map(work, ["fine", "fails", "dies", "hangs", "second"], retries=Retries(1, delay="10ms"), timeout="1s")
    assert found == [{"fine"}, {"fails"}, {"dies"}, {"hangs"}, {"second"}], found


@job
async def waits(ctx):
    async def wait(item):
        note(item)
        while not Path(f"go-{item}").exists():
            await asyncio.sleep(0.01)
        return item

    first, second = await asyncio.gather(
        ctx.map(wait, ["a", "b", "c"], limit=3, raising=False), ctx.map(str.upper, ["x"], limit=1)
    )
    Path("found").write_text(repr([type(one).__name__ for one in first]) + repr(second))


@job
def long(ctx):
    def each(number):
        note(number)
        while number >= 3 and not Path("go").exists():
            time.sleep(0.01)
        return number

    assert ctx.map(each, range(6), limit=2) == list(range(6))


def program(name):
    note(f"{name}-begun")
    subprocess.run(["sh", "-c", "echo $$ > pid-" + name + "; sleep 600; true"])


@job
def programs(ctx):
    ctx.map(program, ["one", "two"], limit=2)


class Odd:
    def __reduce__(self):
        return int, ("no number",)


@job
def odd(ctx):
    ctx.map(lambda item: Odd(), [1, 2], raising=True)


@job
def wrong(ctx):
    ctx.map("no function", [1])
"""
MakeSite = Callable[..., Site]


def begin(daemon: Daemon, job: str) -> int:
    (number,) = daemon.client.call(job, CallBody()).runs
    return number


def ended(daemon: Daemon, number: int) -> RunAnswer:
    daemon.wait_until(lambda: daemon.client.run(number).ended, f"run {number} has ended")
    return daemon.client.run(number)


def items(daemon: Daemon, number: int) -> dict[int, ItemAnswer]:
    return {one.number: one for call in daemon.client.items(number, None, 100) for one in call.items}


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def did(site: Site, name: object) -> int:
    path = Path(site.folder, f"did-{name}")
    return path.read_text().count(".") if path.exists() else 0


def test_each_item_is_tried_again_timed_out_and_shown_by_itself(make_site: MakeSite) -> None:
    site = make_site(PLUGIN)
    daemon = site.start().ready()
    number = begin(daemon, "regions")
    (step,) = ended(daemon, number).steps
    assert step.state == "failed" and step.error["type"] == "ItemsFailed"
    said = step.error["message"]
    assert "3 of 5 items of work failed: [1] ValueError: no such region; [2] WorkerDied:" in said
    assert "exit status 3; [3] TimeoutError: timed out after 1s" in said
    found = items(daemon, number)
    assert [found[one].state for one in range(5)] == ["succeeded", "failed", "failed", "failed", "succeeded"]
    assert [found[one].attempts for one in range(5)] == [1, 2, 2, 2, 2]
    assert [did(site, name) for name in ("fine", "fails", "dies", "hangs", "second")] == [1, 2, 2, 2, 2]
    assert "ValueError: no such region" in site.cli("items", str(number), "--state", "failed").stdout
    logs = site.cli("logs", str(number)).stdout
    assert logs.count("at work") == 9 and "regions started" in logs.splitlines()[0]
    # A run that retries it does what failed, and nothing again that was made.
    Path(site.folder, "mended").touch()
    again = daemon.client.retry(number).runs[0]
    assert ended(daemon, again).state == "succeeded"
    assert [did(site, name) for name in ("fine", "fails", "dies", "hangs", "second")] == [1, 3, 3, 3, 2]
    assert [items(daemon, again)[one].attempts for one in range(5)] == [0, 1, 1, 1, 0]
    assert daemon.stop() == 0


def test_one_item_is_canceled_and_the_others_go_on(make_site: MakeSite) -> None:
    site = make_site(PLUGIN)
    daemon = site.start().ready()
    number = begin(daemon, "waits")

    def maps() -> list[MapAnswer]:
        return daemon.client.items(number, None, 100)

    daemon.wait_until(lambda: len(maps()) == 2 and maps()[0].counts.get("running") == 3, "all three are at work")
    assert "in 2 calls" in site.cli("items", str(number), "--cancel", "1").stderr
    assert "has no item 7" in site.cli("items", str(number), "--cancel", "7", "--call", "0").stderr
    assert site.cli("items", str(number), "--cancel", "1", "--call", "0").returncode == 0
    daemon.wait_until(lambda: maps()[0].counts.get("canceled") == 1, "one is canceled")
    assert maps()[0].counts == {"running": 2, "canceled": 1}
    Path(site.folder, "go-a").touch()
    daemon.wait_until(lambda: maps()[0].counts.get("succeeded") == 1, "one is made")
    said = site.cli("items", str(number), "--cancel", "0", "--call", "0")
    assert said.returncode == 0 and "item 0 of waits.<locals>.wait is over: succeeded" in said.stdout
    assert site.cli("items", str(number), "--cancel", "2", "--call", "1").stderr  # that call has one item
    assert daemon.client.cancel_item(number, CancelItemBody(position=0, call=0, item=0)).ended_at is None
    Path(site.folder, "go-c").touch()
    assert ended(daemon, number).state == "succeeded"
    assert Path(site.folder, "found").read_text() == "['str', 'ItemsFailed', 'str']['X']"
    assert daemon.stop() == 0


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_what_was_made_is_not_made_again_after_the_daemon_ended(make_site: MakeSite, how: str) -> None:
    site = make_site(PLUGIN)
    daemon = site.start().ready()
    number = begin(daemon, "long")
    daemon.wait_until(
        lambda: items(daemon, number).keys() >= {3, 4} and items(daemon, number)[2].state == "succeeded",
        "the first three are made",
    )
    if how == "kill":
        daemon.kill()
    else:
        daemon.stop()
    Path(site.folder, "go").touch()
    daemon = site.start().ready()
    assert ended(daemon, number).state == "succeeded"
    assert [did(site, one) for one in range(6)] == [1, 1, 1, 2, 2, 1]
    assert daemon.stop() == 0


def test_a_cancel_of_the_run_leaves_no_process(make_site: MakeSite) -> None:
    site = make_site(PLUGIN)
    daemon = site.start().ready()
    before = len(site.processes())
    number = begin(daemon, "long")
    daemon.wait_until(lambda: did(site, 4), "it is at work")
    daemon.client.cancel(number)
    assert ended(daemon, number).state == "canceled"
    daemon.wait_until(lambda: len(site.processes()) <= before, "its processes are gone")
    assert daemon.stop() == 0


def test_an_item_that_is_ended_takes_along_what_it_started(make_site: MakeSite) -> None:
    site = make_site(PLUGIN)
    daemon = site.start().ready()
    number = begin(daemon, "programs")
    pids = [Path(site.folder, f"pid-{name}") for name in ("one", "two")]
    daemon.wait_until(lambda: all(path.exists() and path.read_text().strip() for path in pids), "both are at work")
    one, two = (int(path.read_text()) for path in pids)
    assert site.cli("items", str(number), "--cancel", "0").returncode == 0
    daemon.wait_until(lambda: not runs(one), "the program of the first has ended")
    assert runs(two) and not daemon.client.run(number).ended
    daemon.client.cancel(number)
    assert ended(daemon, number).state == "canceled"
    assert daemon.stop() == 0


def test_an_item_whose_value_cannot_be_read_back_has_failed(make_site: MakeSite) -> None:
    site = make_site(PLUGIN)
    daemon = site.start().ready()
    (step,) = ended(daemon, begin(daemon, "odd")).steps
    assert "2 of 2 items" in step.error["message"] and "no number" in step.error["message"]
    assert daemon.stop() == 0


def test_a_wrong_call_says_what_is_wrong(make_site: MakeSite) -> None:
    site = make_site(PLUGIN)
    daemon = site.start().ready()
    (step,) = ended(daemon, begin(daemon, "wrong")).steps
    assert "ctx.map('no function', ...): not a function (ctx.map(function, items))" in step.error["message"]
    assert daemon.stop() == 0
