"""Parameters that a job does not take are refused before there is a run, and use up no run key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from tests.engine.rig import Rig, rig

from freshet import Batch, RunRequest, job, schedule, sensor
from freshet.definitions.sensor import Sensor
from freshet.errors import Conflict, UnknownName

pytestmark = pytest.mark.anyio


class Customer(BaseModel):
    name: str


@job
def notify(order_id: int, urgent: bool = False, customer: Customer | None = None) -> None: ...


@job
def digest(items: list[dict[str, Any]]) -> None: ...


async def _error(one: Rig, name: str) -> str:
    states = {state.name: state for state in one.control.sensors()}
    assert states[name].status == "failing" and states[name].failures == 1
    error: Any = states[name].last_error
    return str(error["message"])


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"order_id": "x"}, "parameter 'order_id': Input should be a valid integer"),
        ({"order_id": 1, "urgnt": True}, "there is no parameter 'urgnt'"),
        ({"order_id": 1, "customer": {"nam": "x"}}, "parameter 'customer.name' is missing"),
        ({"urgent": True}, "the job 'notify' needs the parameter 'order_id'"),
    ],
)
async def test_a_bad_request_fails_the_look_and_keeps_the_run_key(
    tmp_path: Path, params: dict[str, Any], says: str
) -> None:
    asked = [params]

    @sensor(target="notify", interval="30s")
    def orders(ctx: Any) -> Iterator[RunRequest]:
        yield RunRequest(run_key="before", params={"order_id": 0})
        yield RunRequest(run_key="one", params=asked[0])

    async with rig(tmp_path, [notify, orders]) as one:
        assert says in await _error(one, "orders")
        assert await one.runs() == []
        (tick,) = [state for state in one.control.sensors() if state.name == "orders"]
        assert tick.due_at is not None and tick.due_at > one.clock.now(), "it backs off"
        asked[0] = {"order_id": "7"}
        await one.advance(120)
        assert [run.params for run in await one.runs()] == [{"order_id": 0}, {"order_id": "7"}]
        assert await one.states() == ["succeeded", "succeeded"]


def _templated(params: dict[str, Any]) -> Sensor:
    class Files(Sensor):
        def evaluate(self, ctx: Any) -> Iterator[object]:
            yield RunRequest(run_key="one", params={"urgent": True}, tags={"size": "large"})

    return Files("files", target="notify", interval="30s", params=params)


async def test_what_templates_fill_in_is_checked_too(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    async with rig(tmp_path / "a", [notify, _templated({"order_id": "{tags.size}"})]) as one:
        assert "'order_id': Input should be a valid integer" in await _error(one, "files")
        assert await one.runs() == []
    async with rig(tmp_path / "b", [notify, _templated({"order_id": 12})]) as one:
        assert [run.params for run in await one.runs()] == [{"urgent": True, "order_id": 12}]


async def test_what_a_schedule_s_body_asks_for_is_checked(tmp_path: Path) -> None:
    @schedule(every="60s")
    def often(ctx: Any) -> RunRequest:
        return RunRequest("notify", params={"order_id": []})

    async with rig(tmp_path, [notify, often]) as one:
        await one.advance(61)
        (view,) = one.control.schedules()
        error: Any = view.last_error
        assert view.status == "failing" and "'order_id': Input should be a valid integer" in error["message"]
        assert await one.runs() == []


async def test_requests_that_become_one_run_are_its_items(tmp_path: Path) -> None:
    class Many(Sensor):
        def evaluate(self, ctx: Any) -> Iterator[RunRequest]:
            if ctx.cursor is None:
                yield from (RunRequest(params={"order": number}) for number in range(3))
            ctx.cursor = 1

    async with rig(tmp_path, [digest, Many("many", target="digest", interval="30s", batch=Batch(3, "5s"))]) as one:
        (run,) = await one.runs()
        assert (run.state, run.params) == ("succeeded", {"items": [{"order": number} for number in range(3)]})


async def test_a_call_is_refused_by_plain_types(tmp_path: Path) -> None:
    async with rig(tmp_path, [notify]) as one:
        with pytest.raises(Conflict, match=r"'order_id': .* found 'x'"):
            await one.control.call("notify", {"order_id": "x"})
        with pytest.raises(UnknownName, match="did you mean 'urgent'"):
            await one.control.call("notify", {"order_id": 1, "urgnt": True})
        await one.control.call("notify", {"order_id": "8", "urgent": "yes"})
        await one.settle()
        assert await one.states() == ["succeeded"]
