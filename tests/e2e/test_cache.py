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
