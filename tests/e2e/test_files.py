"""Files as people write them: slowly, wrongly, and into deep folders."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.support.daemon import Daemon, Site

from freshet.http.models import RunAnswer

PLUGIN = """
import csv

from freshet import AutomationCondition, DynamicPartitions, asset
from freshet_sensors import FileSensor

batches = DynamicPartitions("batches")
landing = FileSensor("landing", path="inbox", pattern="{batch}.csv", partitions=batches, target="raw", settle="400ms")


@asset(partitions=batches)
def raw(ctx) -> list[dict]:
    with open(ctx.partition.metadata["path"], newline="") as file:
        return list(csv.DictReader(file, strict=True))


@asset(partitions=batches, automation=AutomationCondition.eager())
def clean(raw: list[dict]) -> list[int]:
    return [int(row["amount"]) for row in raw]


@asset(automation=AutomationCondition.eager(max_wait="2s"))
def sales(ctx, clean: dict[str, list[int]]) -> int:
    ctx.metadata(batches=len(clean), missing=len(ctx.missing_inputs.get("clean", ())))
    return sum(map(sum, clean.values()))
"""
MakeSite = Callable[..., Site]


def covers(daemon: Daemon, batches: int) -> RunAnswer | None:
    """The last run of `sales`, if it has seen so many batches and nothing is under way."""
    runs = daemon.client.runs(target="sales", limit=1)
    done = bool(runs) and runs[0].state == "succeeded" and daemon.idle()
    return runs[0] if done and runs[0].steps[0].metadata["batches"] == batches else None


def test_a_file_that_is_written_slowly_is_read_whole(make_site: MakeSite) -> None:
    """The writer pauses, each time for far less than `settle`; the file is read once, after its end."""
    site = make_site(PLUGIN.replace("400ms", "2s"))
    daemon = site.start().ready()
    with (site.inbox / "slow.csv").open("w") as file:
        file.write("id,amount\n")
        for number in range(12):
            half = f"{number},{10 ** (number % 3)}"
            file.write(half[: len(half) // 2])
            file.flush()
            time.sleep(0.1)  # this is how slowly it is written
            file.write(half[len(half) // 2 :] + "\n")
            file.flush()
            time.sleep(0.1)
            assert not daemon.client.runs(target="raw"), "it was taken before it was whole"
    daemon.wait_until(lambda: covers(daemon, 1), "sales covers it")
    assert len(daemon.runs("raw")) == 1
    assert value_of(site, "sales") == str(4 * 111)
    assert daemon.stop() == 0


def test_a_malformed_file_fails_its_own_run_alone(make_site: MakeSite) -> None:
    """With a message that says what is wrong with it; `sales` goes on with the good ones."""
    site = make_site(PLUGIN)
    daemon = site.start().ready()
    (site.inbox / "a.csv").write_text("id,amount\n1,10\n")
    (site.inbox / "quote.csv").write_text('id,amount\n1,"unfinished\n')
    (site.inbox / "words.csv").write_text("id,amount\n1,ten\n")
    (site.inbox / "empty.csv").write_text("")
    (site.inbox / "binary.csv").write_bytes(bytes(range(256)))
    (site.inbox / "b.csv").write_text("id,amount\n1,32\n")
    daemon.wait_until(lambda: covers(daemon, 3), "sales covers the good ones and the empty one")
    assert value_of(site, "sales") == "42"
    failed = {run.partition: run for run in daemon.runs() if run.state == "failed"}
    assert sorted(map(str, failed)) == ["binary", "quote", "words"]
    assert "unexpected end of data" in failed["quote"].steps[0].error["message"]
    assert "'ten'" in failed["words"].steps[0].error["message"]
    assert "plugin.py" in failed["words"].steps[0].error["traceback"]
    assert "ten" in site.cli("runs", str(failed["words"].id)).stdout
    assert daemon.client.sensor("landing").status == "ok"
    assert daemon.stop() == 0


def test_a_state_directory_that_is_deep_and_has_a_blank(make_site: MakeSite, tmp_path: Path) -> None:
    """200 characters: longer than a socket's path may be."""
    state = tmp_path / "deep state"
    while len(str(state)) < 190:
        state /= "with a blank"
    state /= "x" * max(1, 200 - len(str(state)) - 1)
    assert len(str(state)) >= 200
    site = make_site(PLUGIN, state=state)
    daemon = site.start().ready()
    (site.inbox / "a.csv").write_text("id,amount\n1,10\n")
    daemon.wait_until(lambda: covers(daemon, 1), "the file arrives at the bottom")
    assert site.cli_json("status")["state"] == "ready"
    (number,) = site.cli_json("materialize", "sales")["runs"]
    assert daemon.client.wait(number, timeout=60).state == "succeeded"
    assert site.cli("logs", str(number)).returncode == 0
    assert (state / "freshet.sock").is_socket()
    daemon.kill()
    again = site.start().ready()
    assert again.stop() == 0


def value_of(site: Site, asset: str) -> str:
    """What the newest file of an unpartitioned asset's value holds."""
    files = sorted((site.state / "values" / asset / "@").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    return files[-1].read_text()
