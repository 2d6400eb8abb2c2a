"""`ctx.call`: jobs and assets that let others run, through failures, cancels and the end of the daemon."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.daemon import Daemon, Site

from freshet.http.models import CallBody, RunAnswer

PLUGIN = """
import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from freshet import Inline, Process, Retries, RunFailed, asset, current, job, StaticPartitions


def note(name, text=""):
    with open(f"did-{name}", "a") as file:
        file.write(f"{text}.")


def until(path):
    while not Path(path).exists():
        time.sleep(0.01)


@job(retries=Retries(1, delay="10ms"))
def child(ctx, name: str, number: int = 0):
    note(name)
    if name == "second" and ctx.attempt == 1:
        raise ConnectionError("try again")
    if name == "fails" and not Path("mended").exists():
        raise ValueError("no such region")
    if name == "waits":
        until("go")


@asset(partitions=StaticPartitions(["a", "b"]))
def made(ctx) -> str:
    note(f"made-{ctx.partition.key}")
    return ctx.partition.key


@job
def parent(ctx, number: int = 0):
    note("parent")
    first = ctx.call(child, name="fine", number=number)
    second = ctx.call("child", name="second", number=number)
    third = ctx.call(made, partition="b")
    assert first < second < third, (first, second, third)
    Path("found").write_text(f"{first} {second} {third}")


@job
async def gathers(ctx):
    names = [f"g{number}" for number in range(5)]
    found = await asyncio.gather(*(ctx.call(child, name=name) for name in names))
    Path("found").write_text(" ".join(map(str, found)))


@job
def threads(ctx):
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda number: current().call(child, name=f"t{number}"), range(4)))
    assert len(set(found)) == 4


@job(executor=Inline())
async def inlined(ctx):
    await asyncio.gather(*(ctx.call(child_inlined, name=f"i{number}") for number in range(3)))


@job(executor=Inline())
async def child_inlined(ctx, name: str):
    note(name)


@job(executor=Process(reuse=True))
def keeps(ctx, deep: int):
    note(f"keeps-{deep}")
    if deep:
        ctx.call(keeps, deep=deep - 1)


@job(retries=Retries(3, delay="10ms"))
def tries(ctx):
    note("tries")
    ctx.call(child, name="fine")
    try:
        ctx.call(child, name="fails")
    except RunFailed as error:
        note("error", f"{error.state} {error.error['type']} {error}")
        Path("mended").touch()
        raise
    ctx.call(child, name="fine")


@job
def waits(ctx):
    note("parent")
    ctx.call(child, name="fine")
    Path("called").touch()
    ctx.call(child, name="waits")
    note("after")


@job
def leaves(ctx):
    number = ctx.call(child, name="waits", wait=False)
    Path("found").write_text(str(number))
    until("let-go")


@job
def wrong(ctx, what: str):
    if what == "no job":
        ctx.call("chidl", name="x")
    if what == "no key":
        ctx.call(made, partition="z")
    if what == "no partition":
        ctx.call(made)
    if what == "partition":
        ctx.call(child, name="x", partition="a")
    if what == "missing":
        ctx.call(child)
    if what == "type":
        ctx.call(child, name="x", number="many")
    if what == "not JSON":
        ctx.call(child, name={1, 2})
    if what == "parameters":
        ctx.call(made, partition="a", name="x")
    if what == "item":
        ctx.map(lambda item: ctx.call(child, name="x"), [1])


@job
def endless(ctx, deep: int = 0):
    ctx.call(endless, deep=deep + 1)


@job
async def gives_up(ctx):
    try:
        async with asyncio.timeout(0.2):
            await ctx.call(child, name="waits")
    except TimeoutError:
        note("gave-up")
    until("let-go")
"""
MakeSite = Callable[..., Site]


def begin(daemon: Daemon, job: str, **params: object) -> int:
    (number,) = daemon.client.call(job, CallBody.model_validate({"params": params})).runs
    return number


def ended(daemon: Daemon, number: int) -> RunAnswer:
    daemon.wait_until(lambda: daemon.client.run(number).ended, f"run {number} has ended")
    return daemon.client.run(number)


def did(site: Site, name: object) -> int:
    path = Path(site.folder, f"did-{name}")
    return path.read_text().count(".") if path.exists() else 0


def test_runs_are_asked_for_and_waited_for_with_one_slot(make_site: MakeSite) -> None:
    site = make_site(PLUGIN, workers=1)
    daemon = site.start().ready()
    number = begin(daemon, "parent")
    run = ended(daemon, number)
    assert run.state == "succeeded", run
    below = [daemon.client.run(one.id) for one in run.sub_runs]
    assert Path(site.folder, "found").read_text() == " ".join(str(one.id) for one in below)
    assert [(one.target, one.partition, one.state) for one in below] == [
        ("child", None, "succeeded"),
        ("child", None, "succeeded"),
        ("made", "b", "succeeded"),
    ]
    assert {(one.parent, one.origin, one.depth) for one in below} == {(number, f"run:{number}", 1)}
    assert [one.steps[0].attempt for one in below] == [1, 2, 1]
    assert (did(site, "parent"), did(site, "fine"), did(site, "second"), did(site, "made-b")) == (1, 1, 2, 1)
    assert daemon.stop() == 0


@pytest.mark.parametrize("how", ["gathers", "threads", "inlined", "keeps"])
def test_several_are_waited_for_at_once_whatever_runs_them(make_site: MakeSite, how: str) -> None:
    site = make_site(PLUGIN, workers=1)
    daemon = site.start().ready()
    number = begin(daemon, how, **({"deep": 5} if how == "keeps" else {}))
    run = ended(daemon, number)
    assert run.state == "succeeded", run
    names = {
        "gathers": [f"g{one}" for one in range(5)],
        "threads": [f"t{one}" for one in range(4)],
        "inlined": [f"i{one}" for one in range(3)],
        "keeps": [f"keeps-{one}" for one in range(6)],
    }
    assert [did(site, name) for name in names[how]] == [1] * len(names[how])
    assert daemon.stop() == 0


def test_what_succeeded_is_not_done_again_when_the_caller_is_tried_again(make_site: MakeSite) -> None:
    site = make_site(PLUGIN, workers=1)
    daemon = site.start().ready()
    run = ended(daemon, begin(daemon, "tries"))
    assert run.state == "succeeded" and run.steps[0].attempt == 2, run
    assert [(one.target, one.state) for one in run.sub_runs] == [
        ("child", "succeeded"),
        ("child", "failed"),
        ("child", "succeeded"),  # the one that failed, anew
        ("child", "succeeded"),  # the same as the first, asked for once more
    ]
    said = Path(site.folder, "did-error").read_text()
    failed = run.sub_runs[1].id
    assert said.startswith(
        f"failed ValueError run {failed} of 'child' failed: ValueError: no such region (freshet logs"
    )
    assert (did(site, "tries"), did(site, "fine"), did(site, "fails")) == (2, 2, 3)
    assert daemon.stop() == 0


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_run_is_asked_for_once_though_the_daemon_ends(make_site: MakeSite, how: str) -> None:
    site = make_site(PLUGIN, workers=1)
    daemon = site.start().ready()
    number = begin(daemon, "waits")
    daemon.wait_until(lambda: did(site, "waits") == 1, "the second is at work")
    shown = daemon.client.run(number)
    assert [one.state for one in shown.sub_runs] == ["succeeded", "started"]
    assert shown.blocked_by == f"waits for run {shown.sub_runs[1].id}"
    listed = site.cli("runs", str(number)).stdout
    assert (shown.blocked_by or "") in listed and "of step" in listed
    if how == "kill":
        daemon.kill()
    else:
        assert daemon.stop() == 0
    daemon = site.start().ready()
    daemon.wait_until(lambda: did(site, "waits") == 2 and did(site, "parent") == 2, "both are tried again")
    Path(site.folder, "go").touch()
    run = ended(daemon, number)
    assert run.state == "succeeded" and run.steps[0].attempt == 2, run
    assert [one.id for one in run.sub_runs] == [one.id for one in shown.sub_runs]
    assert (did(site, "fine"), did(site, "waits"), did(site, "after")) == (1, 2, 1)
    assert daemon.stop() == 0


def test_a_run_that_retries_another_takes_over_what_that_asked_for(make_site: MakeSite) -> None:
    site = make_site(PLUGIN, workers=1)
    daemon = site.start().ready()
    number = begin(daemon, "waits")
    daemon.wait_until(lambda: did(site, "waits") == 1, "the second is at work")
    daemon.client.cancel(number)
    assert ended(daemon, number).state == "canceled"
    again = daemon.client.retry(number).runs[0]
    Path(site.folder, "go").touch()
    assert ended(daemon, again).state == "succeeded"
    assert (did(site, "fine"), did(site, "waits"), did(site, "after")) == (1, 2, 1)
    assert daemon.stop() == 0


def test_a_canceled_run_takes_those_with_it_that_it_waits_for(make_site: MakeSite) -> None:
    site = make_site(PLUGIN, workers=3)
    daemon = site.start().ready()
    left = begin(daemon, "leaves")
    daemon.wait_until(lambda: did(site, "waits") == 1, "what it does not wait for is at work")
    number = begin(daemon, "waits")
    daemon.wait_until(lambda: Path(site.folder, "called").exists(), "the first has ended")
    daemon.wait_until(lambda: len(daemon.client.run(number).sub_runs) == 2, "the second is asked for")
    for one in (number, left):
        daemon.client.cancel(one)
        assert ended(daemon, one).state == "canceled"
    assert [ended(daemon, one.id).state for one in daemon.client.run(number).sub_runs] == ["succeeded", "canceled"]
    (kept,) = daemon.client.run(left).sub_runs
    assert Path(site.folder, "found").read_text() == str(kept.id) and kept.state == "started"
    Path(site.folder, "go").touch()
    assert ended(daemon, kept.id).state == "succeeded"
    assert daemon.stop() == 0


def test_a_canceled_sub_run_is_an_error_of_its_caller(make_site: MakeSite) -> None:
    site = make_site(PLUGIN, workers=3)
    daemon = site.start().ready()
    number = begin(daemon, "waits")
    daemon.wait_until(lambda: did(site, "waits") == 1, "the second is at work")
    below = daemon.client.run(number).sub_runs[1].id
    daemon.client.cancel(below)
    run = ended(daemon, number)
    assert run.state == "failed" and run.steps[0].error["type"] == "RunFailed"
    assert f"run {below} of 'child' was canceled" in run.steps[0].error["message"]
    assert daemon.stop() == 0


def test_who_does_not_wait_any_more_goes_on(make_site: MakeSite) -> None:
    site = make_site(PLUGIN, workers=2)
    daemon = site.start().ready()
    number = begin(daemon, "gives_up")
    daemon.wait_until(lambda: did(site, "gave-up") == 1, "it has given up")
    daemon.wait_until(lambda: daemon.client.run(number).blocked_by is None, "it is under way")
    Path(site.folder, "let-go").touch()
    assert ended(daemon, number).state == "succeeded"
    assert daemon.client.run(daemon.client.run(number).sub_runs[0].id).state == "started"
    daemon.client.cancel(daemon.client.run(number).sub_runs[0].id)
    assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("no job", "there is no job and no asset 'chidl' (did you mean 'child'?)"),
        ("no key", "'z'"),
        ("no partition", "partitioned by"),
        ("partition", "the job 'child' has no partitions (leave partition= out of ctx.call)"),
        ("missing", "needs the parameter 'name' (give it: name=...)"),
        ("type", "the parameter 'number'"),
        ("not JSON", "ctx.call('child', name={1, 2}): not JSON"),
        ("parameters", "takes no parameters, found 'name'"),
        ("item", "in another process than the step's"),
    ],
)
def test_a_call_that_cannot_be_says_why(make_site: MakeSite, what: str, said: str) -> None:
    site = make_site(PLUGIN, workers=1)
    daemon = site.start().ready()
    run = ended(daemon, begin(daemon, "wrong", what=what))
    assert run.state == "failed" and said in run.steps[0].error["message"], run.steps[0].error
    assert not run.sub_runs
    assert daemon.stop() == 0
