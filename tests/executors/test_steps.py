"""Steps through a real code host: arguments, values, journals, and every way to end."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from tests.executors.hosting import Hosting, hosting, ref
from tests.support import processes

from freshet.host.frames import encode, wrap

pytestmark = pytest.mark.anyio

PLUGIN = """
import asyncio, ctypes, logging, os, signal, stat, subprocess, sys, threading, time
from pathlib import Path
from freshet import DynamicPartitions, GiveUp, RetryLater, StaticPartitions, asset, job

letters = StaticPartitions(["a", "b", "c"], name="letters")

@asset
def one(ctx):
    ctx.metadata(rows=3)
    return {"a": 1}

@asset
async def two(one):
    await asyncio.sleep(0)
    return one["a"] + 1

@asset
def lenient(one=7):
    return one

@asset(partitions=letters)
def letter(ctx):
    return [ctx.partition.key, ctx.partition.metadata["size"], ctx.attempt, ctx.asset, dict(ctx.tags)]

@asset(partitions=letters)
def capital(letter):
    return letter[0].upper()

@asset
def alphabet(ctx, letter):
    return [letter, {name: list(keys) for name, keys in ctx.missing_inputs.items()}]

@asset
def unpartitioned_asks(ctx):
    return ctx.partition.key

@asset
def unkept():
    return threading.Lock()

@job
async def notify(ctx, order_id: int, urgent: bool = False, json: list[str] | None = None):
    print(type(order_id).__name__, order_id, urgent, json, ctx.params["order_id"])

@job
def talks(ctx):
    print("out")
    print("err", file=sys.stderr)
    print("no end", end="")
    ctx.log.warning("careful", rows=3)
    logging.getLogger("lib").info("from a library", extra={"shard": 4})
    ctx.progress(1, 2)
    os.write(1, b"native out\\n")
    os.write(2, b"native err\\n")
    subprocess.run(["sh", "-c", "echo below"], check=True)
    sys.stdout.buffer.write(b"bytes\\n")

@job
def raises():
    def inner():
        raise KeyError("gone")
    try:
        inner()
    except KeyError as error:
        raise ValueError("no good") from error

@asset
def gives_up():
    raise GiveUp("the file is broken")

@job
async def asks_for_patience():
    raise RetryLater("busy", after="2m")

@job
def asks_for_nonsense():
    error = RetryLater()
    error.after = "soon"
    raise error

@job
def leaves():
    print("before I go")
    os.write(1, b"native, without an end")
    os._exit(3)

@job
def exits():
    sys.exit(0)

@job
def crashes():
    print("about to crash")
    ctypes.string_at(0)

@job
def sleeps():
    time.sleep(600)

@job
def deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    while True:
        time.sleep(600)

@job
def catches():
    def stop(number, frame):
        raise SystemExit("asked to stop")
    signal.signal(signal.SIGTERM, stop)
    time.sleep(600)

@job(timeout="200ms")
def slow():
    where_it_hangs()

def where_it_hangs():
    time.sleep(600)

@job
def leaves_a_grandchild():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            Path("grandchild").write_text(str(os.getpid()))
            time.sleep(600)
        os._exit(0)
    os.wait()
    while not Path("grandchild").exists() or not Path("grandchild").read_text():
        time.sleep(0.001)

@job
def leaves_a_grandchild_and_dies():
    leaves_a_grandchild.function()
    os._exit(9)

@job
def asks_for_little():
    pass

@job
def returns_twice():
    os.fork()
    print("here")

@job
def closes_everything():
    os.closerange(0, 1000)

@job
def writes_on_sockets(data: str, more: bool = True):
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            found = stat.S_ISSOCK(os.fstat(fd).st_mode)
        except OSError:
            continue
        if found:
            os.write(fd, bytes.fromhex(data))
    while more:
        time.sleep(600)

@job
def waits_for_file():
    while not Path("go").exists():
        time.sleep(0.005)

@job
def shows_itself():
    print(os.getpid() == os.getsid(0), signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, os.getcwd())
    print(sorted(int(name) for name in os.listdir("/proc/self/fd"))[-1])
    print(os.environ.get("OPENBLAS_NUM_THREADS"), sys.stdin.read() == "")

@job
def nothing():
    pass
"""


async def test_a_value_goes_from_step_to_step(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        first = await site.asset("one")
        assert first.metadata == {"rows": 3}
        assert site.value(first) == {"a": 1}
        assert site.value(await site.asset("two", inputs={"one": ref(first)})) == 2
        assert site.value(await site.asset("lenient", missing={"one": (None,)})) == 7


async def test_partitions_arrive_by_key_and_what_is_missing_is_named(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        made = {
            key: await site.asset(
                "letter", key=key, partition=1, partition_metadata={"size": 5}, tags={"t": "u"}, attempt=2
            )
            for key in ("a", "b")
        }
        assert site.value(made["a"]) == ["a", 5, 2, "letter", {"t": "u"}]
        below = await site.asset("capital", key="b", partition=2, inputs={"letter": {"b": made["b"].value}})
        assert site.value(below) == "B"
        refs = {key: end.value for key, end in made.items()}
        whole = site.value(await site.asset("alphabet", inputs={"letter": refs}, missing={"letter": ("c",)}))
        assert [*whole[0]] == ["a", "b"]
        assert whole[1] == {"letter": ["c"]}

        lacking = await site.asset("capital", key="c", partition=3, missing={"letter": ("c",)})
        assert lacking.outcome == "failed"
        assert lacking.error is not None
        assert lacking.error.type == "MissingInput"
        assert "'letter' in partition 'c'" in lacking.error.message
        assert lacking.error.traceback == ""


async def test_a_step_may_say_what_is_to_follow_its_failure(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        final = await site.asset("gives_up")
        assert (final.outcome, final.final, final.after) == ("failed", True, None)
        assert final.error is not None
        assert (final.error.type, final.error.message) == ("GiveUp", "the file is broken")
        later = await site.run("asks_for_patience")
        assert (later.outcome, later.final, later.after) == ("failed", False, 120.0)
        nonsense = await site.run("asks_for_nonsense")
        assert (nonsense.outcome, nonsense.final, nonsense.after) == ("failed", False, None)


async def test_errors_say_what_and_where_in_the_users_code(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        failed = await site.run("raises")
        assert failed.outcome == "failed"
        assert failed.error is not None
        assert (failed.error.type, failed.error.message) == ("ValueError", "no good")
        assert "in inner" in failed.error.traceback
        assert "freshet/host" not in failed.error.traceback

        left = await site.run("exits")
        assert left.error is not None
        assert left.error.message == "the step called sys.exit(0)"

        lookup = await site.asset("unpartitioned_asks")
        assert lookup.error is not None
        assert "has no partitions" in lookup.error.message

        unkept = await site.asset("unkept")
        assert unkept.error is not None
        assert unkept.error.type == "ValueFormatError"

        unknown = await site.run("nobody")
        assert unknown.error is not None
        assert "'nobody' is not among the definitions" in unknown.error.message


async def test_parameters_are_checked_by_their_annotations(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        run_id = site.launch("notify", params={"order_id": "12", "json": ["x"]})
        assert (await site.end(run_id)).outcome == "succeeded"
        assert site.texts(run_id, "stdout") == ["int 12 False ['x'] 12"]
        refused = await site.run("notify", params={"order_id": "many", "who": 1})
        assert refused.error is not None
        assert "parameter 'order_id'" in refused.error.message
        assert "there is no parameter 'who'" in refused.error.message
        missing = await site.run("notify")
        assert missing.error is not None
        assert "parameter 'order_id' is missing" in missing.error.message
        schema = site.report.definitions.job["notify"].parameters
        assert schema["required"] == ["order_id"]
        assert set(schema["properties"]) == {"order_id", "urgent", "json"}


async def test_all_output_is_in_the_journal_before_the_end(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        run_id = site.launch("talks")
        assert (await site.end(run_id)).outcome == "succeeded"
        lines = site.journal(run_id)
        assert set(site.texts(run_id, "stdout")) == {"out", "no end", "native out", "below", "bytes"}
        assert set(site.texts(run_id, "stderr")) == {"err", "native err"}
        logged = [(line["level"], line["message"], line["fields"]) for line in lines if line["stream"] == "log"]
        library = ("info", "from a library", {"logger": "lib", "shard": 4})
        assert logged == [("warning", "careful", {"rows": 3}), library]
        assert [line["fields"] for line in lines if line["stream"] == "progress"] == [{"done": 1, "total": 2}]
        assert [line["message"] for line in lines if line["stream"] == "state"] == ["started", "succeeded"]
        assert {(line["step"], line["attempt"]) for line in lines} == {("talks", 1)}


async def test_a_worker_that_ends_itself_has_died_and_its_output_is_kept(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        run_id = site.launch("leaves")
        gone = await site.end(run_id)
        assert gone.outcome == "died"
        assert gone.error is not None
        assert "exit status 3" in gone.error.message
        assert set(site.texts(run_id, "stdout")) == {"before I go", "native, without an end"}
        assert site.journal(run_id)[-1]["message"] == "died"

        run_id = site.launch("crashes")
        crashed = await site.end(run_id)
        assert crashed.outcome == "died"
        assert crashed.error is not None
        assert "SIGSEGV" in crashed.error.message
        assert site.texts(run_id, "stdout") == ["about to crash"]
        assert any("in crashes" in text for text in site.texts(run_id, "stderr"))

        lost = await site.run("closes_everything")
        assert lost.outcome == "died"
        assert (await site.run("nothing")).outcome == "succeeded"


GARBAGE = [
    b"\xff\xff\xff\xff",
    wrap(b"no json"),
    wrap(b"[]"),
    encode({"op": "ended"}),
    encode({"op": "ended", "value": {"path": 1}, "metadata": {}, "error": None, "version": None, "code": None}),
    encode({"op": "ended", "value": None, "metadata": {}, "error": {"type": "E"}, "version": None, "code": None}),
]


async def test_what_user_code_writes_on_the_socket_costs_its_own_worker(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        host = site.pid
        beside, _ = await site.begun("waits_for_file")
        for data in GARBAGE:
            end = await site.run("writes_on_sockets", params={"data": data.hex()})
            assert (end.outcome, end.error is not None and "wrote on its socket" in end.error.message) == ("died", True)
        for data in (encode({"op": "ready", "problem": None}), encode({"op": "received"})):
            assert (
                await site.run("writes_on_sockets", params={"data": data.hex(), "more": False})
            ).outcome == "succeeded"
        (tmp_path / "go").touch()
        assert (await site.end(beside)).outcome == "succeeded"
        assert (await site.run("nothing")).outcome == "succeeded"
        assert site.pid == host


async def test_a_timeout_ends_the_step_and_shows_where_it_hung(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        slow = await site.run("slow")
        assert slow.outcome == "failed"
        assert slow.error is not None
        assert slow.error.message == "timed out after 200ms"
        assert "where_it_hangs" in slow.error.traceback
        assert "freshet/host/" not in slow.error.traceback  # nor what lies below the user's in the worker
        said = (tmp_path / "state" / "runs" / str(slow.run_id) / "journal.jsonl").read_text()
        assert "where_it_hangs" in said and "freshet/host/worker" not in said


async def test_cancel_ends_the_whole_tree(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        run_id, pid = await site.begun("sleeps")
        site.host.cancel(run_id, 0, grace=20)
        assert (await site.end(run_id)).outcome == "canceled"

        run_id, pid = await site.begun("catches")
        await _until(lambda: _catches(pid, signal.SIGTERM))
        site.host.cancel(run_id, 0, grace=20)
        assert (await site.end(run_id)).outcome == "canceled"

        run_id, pid = await site.begun("deaf")
        await _until(lambda: len(processes.children(pid)) == 1)
        (below,) = processes.children(pid)
        site.host.cancel(run_id, 0, grace=0.05)
        assert (await site.end(run_id)).outcome == "canceled"
        await _until(lambda: not processes.alive(pid) and not processes.alive(below))
        assert site.journal(run_id)[-1]["message"] == "canceled"


async def test_cancel_of_what_has_ended_does_nothing(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        run_id = site.launch("nothing")
        await site.end(run_id)
        site.host.cancel(run_id, 0, grace=0)
        assert (await site.run("nothing")).outcome == "succeeded"


@pytest.mark.parametrize("name", ["leaves_a_grandchild", "leaves_a_grandchild_and_dies"])
async def test_a_double_forked_grandchild_does_not_survive(tmp_path: Path, name: str) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        end = await site.run(name)
        grandchild = int((tmp_path / "grandchild").read_text())
        if end.outcome == "succeeded":  # then already
            assert not processes.alive(grandchild)
        await _until(lambda: not processes.alive(grandchild))


async def test_a_fork_that_comes_back_does_not_report(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        run_id = site.launch("returns_twice")
        assert (await site.end(run_id)).outcome == "succeeded"
        states = [line["message"] for line in site.journal(run_id) if line["stream"] == "state"]
        assert states == ["started", "succeeded"]


async def test_a_step_without_a_word_leaves_no_folder(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        run_id = site.launch("asks_for_little")
        assert (await site.end(run_id)).outcome == "succeeded"
        assert not (site.state_dir / "runs" / str(run_id)).exists()


async def test_a_worker_is_its_own_process(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        run_id = site.launch("shows_itself")
        assert (await site.end(run_id)).outcome == "succeeded"
        itself, highest, rest = site.texts(run_id, "stdout")
        assert itself == f"True True {tmp_path}"
        assert int(highest) < 64
        assert rest == f"{os.environ.get('OPENBLAS_NUM_THREADS')} True"


async def test_each_run_is_a_fresh_process_and_nothing_leaks(tmp_path: Path) -> None:
    async with hosting(tmp_path, plugin=PLUGIN) as site:
        await site.run("nothing")
        await _until(lambda: site.host.status().workers_idle == 4)
        before = _descriptors(site)
        for _ in range(20):
            ends = await asyncio.gather(*(site.run("nothing") for _ in range(10)))
            assert {end.outcome for end in ends} == {"succeeded"}
        await _until(lambda: _descriptors(site) == before)
        await _until(lambda: len(processes.children(site.pid)) == 5)  # four workers and the evaluator


def _descriptors(site: Hosting) -> int:
    return len(list(Path(f"/proc/{site.pid}/fd").iterdir()))


def _catches(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16)
    return bool(caught >> (number - 1) & 1)


async def _until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)


async def test_a_journal_that_cannot_be_written_costs_its_lines_and_nothing_else(tmp_path: Path) -> None:
    source = """
    import os, subprocess
    from freshet import job

    @job
    def spoils(ctx, folder: str):
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        open(folder, "w").close()
        subprocess.run(["echo", "this goes through the host"])
        os._exit(3)

    @job
    def well():
        pass
    """
    async with hosting(tmp_path, plugin=source) as site:
        runs = tmp_path / "state" / "runs"
        run_id, _ = await site.begun("well")
        await site.end(run_id)
        died = await site.run("spoils", params={"folder": str(runs / str(run_id + 1))})
        assert (died.outcome, died.run_id) == ("died", run_id + 1)
        assert (await site.run("well")).outcome == "succeeded"
