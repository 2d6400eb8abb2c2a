"""What `ctx` knows and takes, and what of a program's own logging lands in the journal, through a real code host."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.executors.hosting import hosting

import freshet

pytestmark = pytest.mark.anyio

PLUGIN = """
import asyncio, contextvars, logging, sys, threading, warnings
import freshet
from freshet import StaticPartitions, asset, job

letters = StaticPartitions(["a"], name="letters")
here = logging.getLogger("here")

@asset(partitions=letters)
def of_run(ctx):
    run = ctx.run
    assert run.id == ctx.run_id
    return [run.target, run.origin, run.priority, run.partition, run.attempt, dict(run.params), dict(run.tags)]

def helper():
    ctx = freshet.current()
    ctx.metadata(seen=ctx.run.target)
    return ctx

@asset
def in_a_helper(ctx):
    return helper() is ctx

@job
def in_a_thread():
    thread = threading.Thread(target=helper)
    thread.start()
    thread.join()

@job
async def in_a_task(ctx):
    assert await asyncio.gather(asyncio.to_thread(helper), asyncio.sleep(0, helper())) == [ctx, ctx]

@job(executor="inline")
async def beside_another(ctx, number: int):
    for _ in range(20):
        await asyncio.sleep(0.005)
        assert freshet.current() is ctx
        assert freshet.current().run.params == {"number": number}

try:
    freshet.current()
except freshet.NoStep as error:
    while_loading = error.message

@asset
def before():
    return while_loading

@job
def logs(ctx):
    for level in ("debug", "info", "warning", "error", "critical"):
        getattr(here, level)("%s %d", level, 1)
    here.log(25, "notice")
    try:
        1 / 0
    except ZeroDivisionError:
        here.exception("caught")
    warnings.warn("old", stacklevel=1)

@job
def shows(ctx, image: str):
    ctx.artifact("report", markdown="# All well")
    ctx.artifact("report", markdown="# All very well")
    ctx.artifact("rows", table=[{"a": 1, "b": None}, {"a": 2.5, "c": "x"}])
    ctx.artifact("many", table=({"n": n} for n in range(10_002)))
    ctx.artifact("docs", link="https://example.org/a?b=c")
    ctx.artifact("picture", image=bytes.fromhex(image))

@job
def shows_wrongly(ctx, given: dict):
    ctx.artifact("x", **given)

@job
def too_many(ctx):
    for number in range(1001):
        ctx.artifact(f"a{number}", link="https://example.org")
"""
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


async def test_the_run_is_known(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        given: dict[str, Any] = {"params": {"p": 1}, "tags": {"t": "u"}}
        end = await site.asset(
            "of_run", key="a", partition=1, attempt=2, target="all", origin="retry:7", priority=3, **given
        )
        assert site.value(end) == ["all", "retry:7", 3, "a", 2, *given.values()]


async def test_the_context_is_there_without_being_handed_on(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        assert site.value(await site.asset("in_a_helper", target="t")) is True
        for name in ("in_a_thread", "in_a_task"):
            end = await site.run(name, target="t")
            assert (end.outcome, end.metadata) == ("succeeded", {"seen": "t"}), end
        several = [site.run("beside_another", params={"number": number}) for number in range(5)]
        assert {end.outcome for end in await asyncio.gather(*several)} == {"succeeded"}
        assert site.value(await site.asset("before")) == "freshet.current(): no step runs here"
    with pytest.raises(freshet.NoStep):
        freshet.current()


async def test_what_a_program_logs_is_in_the_journal_with_its_level(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        run_id = site.launch("logs")
        await site.end(run_id)
        lines = [line for line in site.journal(run_id) if line["stream"] == "log"]
        assert [(line["level"], line["message"]) for line in lines] == [
            *((level, f"{level} 1") for level in ("info", "warning", "error", "critical")),
            ("info", "notice"),
            ("error", "caught"),
        ]
        assert lines[4]["fields"] == {"logger": "here", "level": "Level 25"}
        assert "ZeroDivisionError" in lines[5]["fields"]["traceback"]
        assert any("UserWarning: old" in text for text in site.texts(run_id, "stderr"))


async def test_artifacts_lie_in_the_folder_of_the_run(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        run_id = site.launch("shows", params={"image": PNG.hex()})
        assert (await site.end(run_id)).outcome == "succeeded"
        folder = site.state_dir / "runs" / str(run_id) / "artifacts"
        index = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
        assert [(one["name"], one["kind"], one["step"], one["attempt"]) for one in index] == [
            ("report", "markdown", "shows", 1),
            ("report", "markdown", "shows", 1),
            ("rows", "table", "shows", 1),
            ("many", "table", "shows", 1),
            ("docs", "link", "shows", 1),
            ("picture", "image", "shows", 1),
        ]
        assert (folder / index[1]["file"]).read_text() == "# All very well"
        assert json.loads((folder / index[2]["file"]).read_bytes()) == {
            "columns": ["a", "b", "c"],
            "rows": [[1, None, None], [2.5, None, "x"]],
            "more": 0,
        }
        many = json.loads((folder / index[3]["file"]).read_bytes())
        assert (len(many["rows"]), many["more"]) == (10_000, 2)
        assert index[4]["href"] == "https://example.org/a?b=c"
        assert (index[5]["media"], (folder / index[5]["file"]).read_bytes()) == ("image/png", PNG)
        told = [line["fields"] for line in site.journal(run_id) if line["stream"] == "artifact"]
        assert told == [{key: one[key] for key in one if key not in ("t", "step", "attempt")} for one in index]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "give one of markdown=, table=, link= and image=; got none"),
        ({"markdown": "a", "link": "https://a.b"}, "got markdown and link"),
        ({"link": "javascript:alert(1)"}, "write it whole, as https://host/path"),
        ({"link": "no link"}, "write it whole"),
        ({"table": [1]}, "rows as dicts by column, not 1"),
        ({"markdown": 3}, "takes a text, not 3"),
        ({"image": "gone.png"}, "No such file"),
        ({"markdown": "x" * (16 * 2**20 + 1)}, "the limit is 16,777,216"),
    ],
)
async def test_what_is_no_artifact_is_refused(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        end = await site.run("shows_wrongly", params={"given": given})
        assert end.outcome == "failed"
        assert end.error is not None
        assert said in end.error.message


async def test_there_are_only_so_many(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        end = await site.run("too_many")
        assert end.error is not None
        assert "at most 1,000 artifacts" in end.error.message
