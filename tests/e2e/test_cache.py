"""What was made is taken again by reference: through real workers, a kill, and an edit."""

from __future__ import annotations

from pathlib import Path

from tests.support.daemon import site_at

PLUGIN = """
from pathlib import Path
from freshet import asset

def note(name):
    with Path("made").open("a") as file:
        print(name, file=file)

@asset
def raw() -> list[int]:
    note("raw")
    return [1, 2]

@asset(cache="1d", io="parquet")
def table(raw: list[int]):
    note("table")
    import pyarrow
    return pyarrow.table({"n": raw})

@asset(cache="1d")
def total(table) -> int:
    note("total")
    return sum(table["n"].to_pylist())
"""


def test_a_hit_needs_no_worker_and_outlives_the_daemon(tmp_path: Path) -> None:
    with site_at(tmp_path / "site", plugins={"sales.py": PLUGIN}) as site:
        made = site.folder / "made"
        daemon = site.start().ready()
        assert site.cli("materialize", "total", "--upstream", "--wait").returncode == 0
        assert made.read_text().split() == ["raw", "table", "total"]
        daemon.kill()
        daemon = site.start().ready()
        assert site.cli("materialize", "total", "--upstream", "--wait").returncode == 0
        assert made.read_text().split() == ["raw", "table", "total", "raw"], "of the same value nothing is made again"
        first, second = sorted(site.cli_json("runs"), key=lambda run: int(run["id"]))
        assert [step["cached"] for step in second["steps"]] == [None, first["id"], first["id"]]
        assert site.cli("materialize", "total", "--wait").returncode == 0
        logs = site.cli("logs", "3")
        assert logs.returncode == 0, logs.stderr
        assert daemon.stop() == 0
        plugin = site.folder / "plugins" / "sales.py"
        plugin.write_text(PLUGIN.replace("return sum(", "return 1 + sum("))
        daemon = site.start().ready()
        assert site.cli("materialize", "total", "--wait").returncode == 0
        assert made.read_text().split()[4:] == ["total"], "of other code it is made again"
        assert daemon.stop() == 0


ITEMS = """
from pathlib import Path
from freshet import CacheKey, ItemsFailed, asset, job

def note(item):
    with Path("made").open("a") as file:
        print(item, file=file)

def doubled(item):
    note(item)
    if item == "bad":
        raise ValueError("no such thing")
    return {item, "x" * 300_000} if item == "large" else {"twice": item * 2}

@job
def work(ctx, items: list[str], keep: bool = True):
    cache = CacheKey(ttl="1d") if keep else None
    try:
        return [len(one) for one in ctx.map(doubled, items, cache=cache)]
    finally:
        note("|")

@asset
async def total(ctx):
    return sorted(map(len, await ctx.map(doubled, ["a"], cache="1d")))
"""


def test_items_are_taken_from_the_cache_by_later_runs_each_by_itself(tmp_path: Path) -> None:
    with site_at(tmp_path / "site", plugins={"items.py": ITEMS}) as site:
        daemon, made = site.start().ready(), site.folder / "made"

        def did(*items: str, more: str = "", fails: bool = False) -> list[str]:
            made.unlink(missing_ok=True)
            listed = "[" + ", ".join(f'"{item}"' for item in items) + "]"
            done = site.cli("call", "work", "--param", f"items={listed}", *more.split(), "--wait")
            assert done.returncode == (1 if fails else 0), done.stderr
            return sorted(set(made.read_text().split()) - {"|"})

        assert did("a", "large", "bad", fails=True) == ["a", "bad", "large"]
        assert did("b", "large", "a") == ["b"], "by value, wherever they stand"
        (call,) = daemon.client.items(2, None, 10)
        assert [(one.state, one.attempts, one.cached) for one in call.items] == [
            ("succeeded", 1, None),
            ("succeeded", 0, 1),
            ("succeeded", 0, 1),
        ]
        assert "made by run 1" in site.cli("items", "2").stdout
        assert did("bad", "a", fails=True) == ["bad"], "a failure is not kept"
        assert did("a", more="--param keep=false") == ["a"]
        made.unlink()
        assert site.cli("materialize", "total", "--wait").returncode == 0
        assert made.read_text().split() == ["a"], "each step has its own"
        assert site.cli("cache", "clear", "total").returncode == 0
        assert daemon.stop() == 0
        for path in (site.folder / "state" / "runs" / "1").glob("items/**/*"):
            if path.is_file():
                path.unlink()
        daemon = site.start().ready()
        assert did("a", "large") == ["large"], "its value went with the run"
        refused = site.cli("cache", "clear", "work", "--partition", "a")
        assert (refused.returncode, "has no partitions" in refused.stderr) == (1, True)
        cleared = site.cli("cache", "clear", "work")
        assert cleared.stdout.strip() == "work: 3 forgotten", cleared.stderr
        assert did("a", "b") == ["a", "b"]
        assert daemon.stop() == 0
        plugin = site.folder / "plugins" / "items.py"
        plugin.write_text(ITEMS.replace("item * 2", "item * 3"))
        daemon = site.start().ready()
        assert did("a") == ["a"], "of other code it is made again"
        assert daemon.stop() == 0
