"""Starting a code host: what it loads, what it says of what it cannot load, and whether it forks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.executors.hosting import Recorder, hosting, write_plugins

from freshet.errors import HostError
from freshet.executors.base import LoadReport
from freshet.executors.codehost import ProcessCodeHost
from freshet.executors.hostsettings import HostSettings

pytestmark = pytest.mark.anyio

QUIET = """
from freshet import asset, job
import os

@asset
def answer():
    return 42

@asset
def above(answer):
    return answer + 1
"""
NOISY = """
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
"""
# Importing pyarrow starts no thread; computing with it starts its pool.
POOLED = """
import pyarrow as pa
pa.table({"x": list(range(9)), "y": [1] * 9}).group_by("y").aggregate([("x", "sum")])
"""


async def load(folder: Path, *, start_timeout: float = 20.0, **sources: str) -> LoadReport:
    """Start a host over plugins, and close it."""
    write_plugins(folder / "plugins", **sources)
    settings = HostSettings(folder / "plugins", folder, folder / "state", start_timeout=start_timeout)
    host = ProcessCodeHost(settings, Recorder())
    try:
        return await host.start()
    finally:
        await host.close(grace=0)


async def test_definitions_come_through_whole(tmp_path: Path) -> None:
    report = await load(
        tmp_path,
        orders="""
        from freshet import AutomationCondition, DynamicPartitions, Freshness, StaticPartitions, asset, sensor

        batches = DynamicPartitions("batches")

        @asset(partitions=batches, freshness=Freshness(within="1h", warn="45m"), retries=3, timeout="5m")
        def raw(ctx): ...

        @asset(automation=AutomationCondition.eager() | AutomationCondition.on_lapse(), tags={"a": "b"})
        def total(raw): ...

        @asset(partitions=StaticPartitions(["x", "y"]))
        def split(total): ...

        @sensor(interval="5s", partitions=batches, target=raw)
        def look(ctx): ...
        """,
    )
    assert report.problems == ()
    assert report.start_method == "fork"
    definitions = report.definitions
    assert definitions.order == ("raw", "total", "split")
    raw = definitions.asset["raw"]
    assert raw.freshness is not None
    assert (raw.freshness.within, raw.freshness.warn, raw.retries.max, raw.timeout) == (3600.0, 2700.0, 3, 300.0)
    assert definitions.sensor["look"].target == "raw"
    assert definitions.mapping(definitions.asset["total"], definitions.asset["total"].deps[0]).kind == "all"
    assert set(definitions.partition_set) == {"batches", definitions.asset["split"].partitions.name}  # type: ignore[union-attr]
    assert raw.source is not None
    assert (raw.source.file, raw.source.line) == (str(tmp_path / "plugins" / "orders.py"), 6)


async def test_the_version_is_that_of_the_contents(tmp_path: Path) -> None:
    first = await load(tmp_path, a=QUIET)
    again = await load(tmp_path, a=QUIET)
    edited = await load(tmp_path, a=QUIET + "\n")
    assert first.definitions.version == again.definitions.version != edited.definitions.version


async def test_every_broken_file_is_named_with_its_line(tmp_path: Path) -> None:
    report = await load(
        tmp_path,
        syntax="x = 1\ny = (\n",
        name="import math\n\nmath.nonsense\n",
        exits="import sys\n\nsys.exit(4)\n",
        absent="import not_installed_at_all\n",
        duration='from freshet import asset\n\n@asset(timeout="5 parsecs")\ndef far(): ...\n',
        unknown="from freshet import asset\n\n@asset\ndef below(abvoe): ...\n\n@asset\ndef above(): ...\n",
        bare="from freshet import check\n\n@check\ndef right(above): ...\n",
        fine=QUIET.replace("above", "higher"),
    )
    found = {Path(problem.file or "?").stem: problem for problem in report.problems}
    assert set(found) == {"syntax", "name", "exits", "absent", "duration", "unknown", "bare"}
    assert (found["syntax"].line, found["syntax"].message) == (2, "syntax error: '(' was never closed")
    assert (found["name"].line, "nonsense" in found["name"].message) == (3, True)
    assert "math.nonsense" in found["name"].traceback
    assert "freshet/host" not in found["name"].traceback
    assert (found["exits"].line, "sys.exit(4)" in found["exits"].message) == (3, True)
    assert "not_installed_at_all" in found["absent"].hint
    assert found["duration"].line == 3
    assert "30s" in found["duration"].hint
    assert (found["unknown"].line, found["unknown"].hint) == (3, "did you mean 'above'?")
    assert (found["bare"].line, found["bare"].hint) == (3, "write @check(asset=...)")


async def test_what_only_a_live_object_shows_is_refused_too(tmp_path: Path) -> None:
    report = await load(
        tmp_path,
        plugin="""
        from freshet import Sensor, asset, job

        @asset(io="parket")
        def values(): ...

        @job
        def call(thing: "Missing"): ...

        class Odd(Sensor):
            def evaluate(self, ctx): ...

        Odd("odd", options={"path": object()})
        """,
    )
    messages = sorted(problem.message for problem in report.problems)
    assert [message.partition(":")[0] for message in messages] == ["asset values", "job call", "odd"]
    assert all(problem.file and problem.line for problem in report.problems)


async def test_plugins_import_each_other_and_packages_once(tmp_path: Path) -> None:
    report = await load(
        tmp_path,
        a="from b import shared\nimport kit\nfrom kit.parts import part\nassert part is kit.part\n",
        b="from freshet import asset\n\n@asset\ndef shared(): ...\n",
        kit__init__="from .parts import part\n",
        kit__parts="from freshet import asset\n\n@asset\ndef part(shared): ...\n",
        lib__helper="VALUE = 1\n",
        c="""
        from __future__ import annotations
        import dataclasses, json, typing
        from lib.helper import VALUE

        json.dumps(VALUE)  # the standard library's, not the plugin of that name

        @dataclasses.dataclass
        class Postponed:
            x: typing.ClassVar[int] = VALUE
        """,
        json="",
    )
    assert report.problems == ()
    assert report.definitions.order == ("shared", "part")
    assert not list((tmp_path / "plugins").rglob("__pycache__"))


async def test_no_plugins_at_all(tmp_path: Path) -> None:
    report = await load(tmp_path)
    assert report.definitions.assets == ()
    assert report.problems == ()


async def test_a_plugin_that_hangs_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"stuck\.py did not load within 1 s") as caught:
        await load(tmp_path, start_timeout=1.0, a=QUIET, stuck="import time\n\n\ntime.sleep(600)\n")
    assert 'stuck.py", line 4' in caught.value.message


async def test_a_plugin_that_changes_signals_and_prints_changes_nothing(tmp_path: Path) -> None:
    source = """
    import os, signal, sys
    from freshet import asset

    print("while loading", end="")
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, lambda number, frame: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])

    @asset
    def handlers():
        numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
        print("in the step")
        return [[signal.getsignal(each) == signal.SIG_DFL for each in numbers], len(signal.pthread_sigmask(0, []))]
    """
    async with hosting(tmp_path, plugin=source) as site:
        run_id = site.launch("handlers", kind="asset")
        assert site.value(await site.end(run_id)) == [[True, True, True], 0]
        assert site.texts(run_id, "stdout") == ["in the step"]


async def test_the_host_carries_nothing_of_the_daemon(tmp_path: Path) -> None:
    source = """
    import sys
    import freshet_sensors
    from freshet import asset

    @asset
    def modules():
        return sorted(sys.modules)
    """
    async with hosting(tmp_path, plugin=source) as site:
        modules = set(site.value(await site.asset("modules")))
    assert "freshet.host.server" in modules
    daemon = ("freshet.store", "freshet.engine", "freshet.executors", "freshet.http", "freshet.cli")
    assert not {name for name in modules if name.startswith(daemon)}
    assert not modules & {"watchfiles", "aioboto3", "uvloop", "pydantic", "aiosqlite", "structlog"}


async def test_what_lies_in_the_root_does_not_shadow_libraries(tmp_path: Path) -> None:
    (tmp_path / "asyncio.py").write_text("raise RuntimeError")
    assert (await load(tmp_path, a=QUIET)).problems == ()


async def test_a_plugin_that_ends_the_host_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"while loading .*last\.py: exit status 5"):
        await load(tmp_path, a=QUIET, last="import os\nos._exit(5)\n")
    with pytest.raises(HostError, match=r"while loading .*last\.py: exit status 6"):  # its socket closes a while before
        await load(tmp_path, a=QUIET, last="import os, time\nos.closerange(3, 99)\ntime.sleep(0.1)\nos._exit(6)\n")
    with pytest.raises(HostError, match=r"while loading .*last\.py: killed by SIGSEGV"):
        await load(tmp_path, a=QUIET, last="import ctypes\nctypes.string_at(0)\n")


@pytest.mark.parametrize("library", ["numpy", "pandas", "pyarrow"])
async def test_numeric_libraries_still_fork(tmp_path: Path, library: str) -> None:
    source = f"""
    import {library}
    import os
    from freshet import asset, job

    @asset
    def threads():
        return [len(os.listdir("/proc/self/task")), os.environ.get("OPENBLAS_NUM_THREADS")]
    """
    async with hosting(tmp_path, library=source) as site:
        assert (site.report.start_method, site.report.warnings) == ("fork", ())
        assert site.value(await site.asset("threads")) == [1, os.environ.get("OPENBLAS_NUM_THREADS")]


async def test_forked_workers_do_not_share_random_numbers(tmp_path: Path) -> None:
    source = """
    import random
    import numpy.random
    from freshet import asset

    @asset
    def drawn():
        return [random.random(), numpy.random.random()]
    """
    async with hosting(tmp_path, plugin=source) as site:
        first, second = [site.value(await site.asset("drawn")) for _ in range(2)]
        assert first[0] != second[0]
        assert first[1] != second[1]


async def test_a_setting_of_a_wrong_type_is_named_with_its_place(tmp_path: Path) -> None:
    report = await load(
        tmp_path,
        sets='from freshet import asset\n\n@asset(partitions="batches")\ndef answer(): ...\n',
        deep="from dataclasses import replace\nfrom freshet import sensor\n\n@sensor\ndef look(ctx): ...\n\n"
        'look.spec = replace(look.spec, interval="often")\n',
    )
    deep, sets = sorted(report.problems, key=lambda problem: problem.file or "")
    assert (Path(sets.file or "").name, sets.line) == ("sets.py", 3)
    assert sets.message.startswith("asset answer: partitions takes DynamicPartitions, ")
    assert (Path(deep.file or "").name, deep.line) == ("deep.py", 4)
    assert deep.message.startswith("sensor look: interval: Input should be a valid number")


async def test_a_definition_that_cannot_be_described_is_a_problem_of_its_file(tmp_path: Path) -> None:
    report = await load(
        tmp_path,
        fine=QUIET,
        odd="from dataclasses import replace\nfrom freshet import asset\n\n@asset\ndef odd(): ...\n\n"
        'odd.spec = replace(odd.spec, partitions="batches")\n',
    )
    (problem,) = report.problems
    assert (Path(problem.file or "").name, problem.line) == ("odd.py", 4)
    assert problem.message == "<asset odd> cannot be described: AttributeError: 'str' object has no attribute 'name'"
    assert "_names" in problem.traceback


async def test_definitions_that_cannot_be_described_together_are_a_problem(tmp_path: Path) -> None:
    source = """
    from dataclasses import replace
    from freshet import asset

    class Picky(str):
        def __eq__(self, other):
            if other is not self:
                raise ValueError("incomparable")
            return True
        def __hash__(self):
            return 1

    @asset
    def one(): ...

    @asset
    def two(): ...

    one.spec, two.spec = replace(one.spec, name=Picky("one")), replace(two.spec, name=Picky("two"))
    """
    report = await load(tmp_path, picky=source)
    (problem,) = report.problems
    assert problem.message == "the definitions cannot be described: ValueError: incomparable"
    assert report.definitions.assets == ()


async def test_polars_has_threads_from_its_import_on_so_its_workers_are_spawned(tmp_path: Path) -> None:
    source = """
    import polars
    from freshet import asset

    @asset
    def total():
        frame = polars.DataFrame({"key": [n % 10 for n in range(100_000)], "n": range(100_000)})
        return frame.group_by("key").agg(polars.col("n").sum())["n"].sum()
    """
    async with hosting(tmp_path, frames=source) as site:
        assert site.report.start_method == "spawn"
        assert [warning.file for warning in site.report.warnings] == [str(tmp_path / "plugins" / "frames.py")]
        assert site.value(await site.asset("total")) == sum(range(100_000))


async def test_pyarrow_computes_in_forked_workers(tmp_path: Path) -> None:
    source = """
    import io
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
    from freshet import asset

    @asset
    def total():
        table = pa.table({"x": list(range(1000)), "y": ["a", "b"] * 500})
        file = io.BytesIO()
        pq.write_table(table, file)
        file.seek(0)
        read = pq.read_table(file, use_threads=True)
        return pc.sum(read.group_by("y").aggregate([("x", "sum")])["x_sum"]).as_py()
    """
    async with hosting(tmp_path, plugin=source) as site:
        assert site.report.start_method == "fork"
        assert [site.value(await site.asset("total")) for _ in range(3)] == [499500] * 3


@pytest.mark.parametrize("noise", [NOISY, POOLED], ids=["threading", "pyarrow"])
async def test_a_plugin_that_starts_threads_makes_workers_spawn(tmp_path: Path, noise: str) -> None:
    async with hosting(tmp_path, workers=1, a_quiet=QUIET, b_noisy=noise) as site:
        assert site.report.start_method == "spawn"
        (warning,) = site.report.warnings
        assert (warning.file or "").endswith("b_noisy.py")
        end = await site.asset("answer")
        assert site.value(end) == 42
        assert end.value is not None
        assert site.value(await site.asset("above", inputs={"answer": {None: end.value}})) == 43


async def test_spawned_workers_load_what_the_host_loaded(tmp_path: Path) -> None:
    async with hosting(tmp_path, workers=1, a_quiet=QUIET, b_noisy=NOISY) as site:
        write_plugins(tmp_path / "plugins", a_quiet="this is broken", c_new="so is this")
        for _ in range(3):  # the first may have been waiting already
            assert site.value(await site.asset("answer")) == 42
