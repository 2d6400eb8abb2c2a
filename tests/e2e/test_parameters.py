"""A request with parameters that its job does not take, through a real evaluator: told at once, and no run."""

from __future__ import annotations

from pathlib import Path

from tests.support.daemon import site_at

PLUGIN = """
from pathlib import Path
from pydantic import BaseModel
from freshet import RunRequest, job, sensor

class Order(BaseModel):
    number: int

@job
def notify(order: Order, urgent: bool = False) -> None: ...

@sensor(interval="100ms", target="notify")
def orders(ctx):
    number = Path("number").read_text()
    yield RunRequest(run_key="only", params={"order": {"number": number}})
"""


def test_it_is_an_error_of_the_sensor_and_its_run_key_stays_free(tmp_path: Path) -> None:
    with site_at(tmp_path / "site", plugins={"orders.py": PLUGIN}) as site:
        number = site.folder / "number"
        number.write_text("many")
        daemon = site.start().ready()
        shown = daemon.wait_until(lambda: site.cli_json("sensors", "orders")["last_error"], "the sensor fails")
        assert "parameter 'order.number': Input should be a valid integer" in shown["message"]
        assert site.cli_json("runs") == []
        number.write_text("7")
        daemon.wait_until(lambda: [run["state"] for run in site.cli_json("runs")] == ["succeeded"], "it runs, once")
        refused = site.cli("call", "notify", "--param", 'order={"number": 1}', "--param", "urgent=perhaps")
        assert refused.returncode == 1 and "urgent takes: bool" in refused.stderr
        assert daemon.stop() == 0
