"""The `ctx.call`s of one step: runs that it asks for, and waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, cast

import orjson

from freshet.definitions.asset import Asset
from freshet.definitions.job import Job
from freshet.errors import Conflict, RunFailed
from freshet.host.line import Line
from freshet.host.messages import Called, Run, WorkerCall, WorkerLeft

__all__ = ["Calls"]

_MOST = 8 * 1024 * 1024
_ENDED_BADLY = ("failed", "canceled")


class Calls:
    """Calls are told apart by what they ask for; of those that ask for the same, by their order."""

    def __init__(self, order: Run, line: Line | None) -> None:
        self._order = order
        self._line = line
        self._number = 0
        self._same: dict[str, int] = {}

    def call(
        self,
        target: str | Job | Asset,
        params: Mapping[str, Any] | None,
        more: Mapping[str, Any],
        *,
        wait: bool,
        detach: bool,
        partition: str | None,
    ) -> Any:
        """See `contexts.JobContext.call`."""
        line = self._line
        if line is None:
            raise Conflict(
                f"ctx.call is not possible here: {self._order['step']} is not run by a daemon's worker",
                hint="give it another executor; in tests, call the plain function",
            )
        if not line.mine:
            raise Conflict(
                "ctx.call in another process than the step's",
                hint="call it in the step itself: not in an item of ctx.map, or in a process that the step has forked",
            )
        given = _together(target, params, more)
        asked = self._asked(target, wait=wait, detach=detach, partition=partition, params=given)
        work = self._work(line, asked)
        return work if _in_loop() else asyncio.run(work)

    def _asked(
        self,
        target: str | Job | Asset,
        *,
        wait: bool,
        detach: bool,
        partition: str | None,
        params: Mapping[str, Any],
    ) -> WorkerCall:
        named: Any = target
        name: Any = named.spec.name if isinstance(named, Job | Asset) else named
        if not isinstance(name, str):
            raise TypeError(f"ctx.call takes a job, an asset or the name of one, found {name!r:.80}")
        if partition is not None and not isinstance(partition, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"ctx.call({name!r}): partition= is the key of a partition, found {partition!r:.80}")
        given: dict[str, Any] = {}
        for one, value in params.items():
            try:
                given[one] = orjson.loads(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY))
            except TypeError as error:
                raise TypeError(f"ctx.call({name!r}, {one}={value!r:.60}): not JSON: {error}") from None
        text = orjson.dumps([name, partition, given], option=orjson.OPT_SORT_KEYS)
        if len(text) > _MOST:
            raise Conflict(
                f"ctx.call({name!r}): {len(text):,} bytes of parameters, at most {_MOST:,} are taken",
                hint="hand large data on as a file or an asset, and only its name as a parameter",
            )
        digest = blake2b(text, digest_size=12).hexdigest()
        same = self._same[digest] = self._same.get(digest, -1) + 1
        number, self._number = self._number, self._number + 1
        return WorkerCall(
            op="call",
            number=number,
            call=f"{digest}:{same}",
            target=name,
            params=given,
            partition=partition,
            waits=bool(wait),
            detached=bool(detach),
        )

    async def _work(self, line: Line, asked: WorkerCall) -> int:
        answer: asyncio.Future[Called] = asyncio.get_running_loop().create_future()
        attempt = self._order["attempt"]

        def heard(said: Called) -> None:
            if said["attempt"] == attempt and not answer.done():
                answer.set_result(said)

        with line.hears("called", asked["number"], heard):
            line.say(asked)
            try:
                said = await answer
            except BaseException:
                line.say(WorkerLeft(op="left", number=asked["number"]))
                raise
        run_id, state = said["sub_run"], said["state"]
        if run_id is None or (asked["waits"] and state in _ENDED_BADLY):
            raise RunFailed(asked["target"], run_id, state, said["error"], hint=said["hint"])
        return run_id


def _together(target: object, params: object, more: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters, each given once."""
    if params is None:
        return more
    if not isinstance(params, Mapping):
        hint = "ctx.call(job, {'name': value}) or ctx.call(job, name=value)"
        raise TypeError(f"ctx.call: the parameters are a dict, found {params!r:.80}: {hint}")
    given = cast("Mapping[object, Any]", params)
    for name in given:
        if not isinstance(name, str) or name in more:
            raise TypeError(f"ctx.call: the parameter {name!r} is {'given twice' if name in more else 'no name'}")
    return {**cast("Mapping[str, Any]", given), **more}


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
