"""The client of the daemon's API: one method for each thing that can be asked, answers as typed models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import httpx
from pydantic import TypeAdapter

from freshet.cli.check_calls import CheckCalls
from freshet.cli.connection import TIMEOUT, Connection, error_of, given, parsed, quoted
from freshet.http import models

__all__ = ["Client"]


class Client(Connection):
    """Speaks to the daemon over its Unix socket, or to `url`. Use it as a context manager.

    Every method raises the `FreshetError` that the daemon answered with, and `DaemonUnreachable` where none answers.
    """

    @property
    def checks(self) -> CheckCalls:
        """What is asked about checks."""
        return CheckCalls(self._one, self._many)

    # --- reading --------------------------------------------------------------------------------------------

    def status(self) -> models.StatusAnswer:
        """The daemon at a glance."""
        return self._one(models.StatusAnswer, "GET", "status")

    def assets(self) -> list[models.AssetAnswer]:
        """All assets."""
        return self._many(models.AssetAnswer, "assets")

    def asset(self, name: str) -> models.AssetAnswer:
        """One asset."""
        return self._one(models.AssetAnswer, "GET", f"assets/{quoted(name)}")

    def why(self, name: str, *, partition: str | None = None) -> models.WhyAnswer:
        """Why an asset is made, or is not."""
        return self._one(models.WhyAnswer, "GET", f"assets/{quoted(name)}/why", params=given(partition=partition))

    def sensors(self) -> list[models.SensorAnswer]:
        """All sensors."""
        return self._many(models.SensorAnswer, "sensors")

    def sensor(self, name: str) -> models.SensorAnswer:
        """One sensor."""
        return self._one(models.SensorAnswer, "GET", f"sensors/{quoted(name)}")

    def schedules(self) -> list[models.ScheduleAnswer]:
        """All schedules."""
        return self._many(models.ScheduleAnswer, "schedules")

    def schedule_history(self, name: str, *, limit: int = 50) -> list[models.ScheduleTickAnswer]:
        """What became of a schedule's instants, latest first."""
        return self._many(models.ScheduleTickAnswer, f"schedules/{quoted(name)}/history", limit=limit)

    def cursor(self, sensor: str) -> models.CursorAnswer:
        """What a sensor remembers."""
        return self._one(models.CursorAnswer, "GET", f"sensors/{quoted(sensor)}/cursor")

    def history(self, sensor: str, *, limit: int = 50) -> list[models.TickRowAnswer]:
        """A sensor's ticks that had an effect or failed, newest first."""
        return self._many(models.TickRowAnswer, f"sensors/{quoted(sensor)}/history", limit=limit)

    def hooks(self) -> list[models.HookAnswer]:
        """All hooks, and what waits behind each."""
        return self._many(models.HookAnswer, "inbox")

    def deliveries(
        self, sensor: str, *, state: str | None = None, limit: int = 50, before: int | None = None
    ) -> list[models.DeliveryAnswer]:
        """Deliveries to a sensor's hook, newest first."""
        return self._many(models.DeliveryAnswer, f"inbox/{quoted(sensor)}", state=state, limit=limit, before=before)

    def delivery(self, sensor: str, number: int) -> models.DeliveryBodyAnswer:
        """One of them, with its body."""
        return self._one(models.DeliveryBodyAnswer, "GET", f"inbox/{quoted(sensor)}/{number}")

    def runs(
        self, *, state: str | None = None, target: str | None = None, limit: int = 50, before: int | None = None
    ) -> list[models.RunAnswer]:
        """Runs, newest first."""
        return self._many(models.RunAnswer, "runs", state=state, target=target, limit=limit, before=before)

    def run(self, run_id: int) -> models.RunAnswer:
        """One run."""
        return self._one(models.RunAnswer, "GET", f"runs/{run_id}")

    def wait(self, run_id: int, *, timeout: float) -> models.RunAnswer:
        """The run when it has ended, or as it stands after `timeout` seconds."""
        params = {"timeout": timeout}
        return self._one(models.RunAnswer, "GET", f"runs/{run_id}/wait", params=params, wait=timeout)

    def journal(self, run_id: int, *, tail: int | None = None, follow: bool = False) -> Iterator[bytes]:
        """The journal's lines, each one JSON object; `follow`: until the run ends."""
        params = given(tail=tail, follow=follow)
        with (
            self._asking(),
            self._client().stream(
                "GET", f"runs/{run_id}/journal", params=params, timeout=httpx.Timeout(5.0, read=None)
            ) as answer,
        ):
            if answer.status_code >= 400:
                answer.read()
                raise error_of(answer)
            rest = b""
            for piece in answer.iter_bytes():
                *lines, rest = (rest + piece).split(b"\n")
                yield from lines

    def partition_sets(self) -> list[models.PartitionSetAnswer]:
        """All partition sets."""
        return self._many(models.PartitionSetAnswer, "partitions")

    def partitions(
        self,
        set: str,
        *,
        limit: int = 100,
        after: int = 0,
        last: int | None = None,
        state: str | None = None,
        asset: str | None = None,
    ) -> models.PartitionsPage:
        """A page of a set's keys, or the last so many; `state`: those in this state of an asset."""
        params = given(limit=limit, after=after, last=last, state=state, asset=asset)
        return self._one(models.PartitionsPage, "GET", f"partitions/{quoted(set)}", params=params)

    def artifacts(self, run_id: int) -> list[models.ArtifactAnswer]:
        """What the steps of a run kept to be looked at."""
        return self._many(models.ArtifactAnswer, f"runs/{run_id}/artifacts")

    def artifact(self, run_id: int, file: str) -> bytes:
        """The contents of one."""
        return self._ask("GET", f"runs/{run_id}/artifacts/{quoted(file)}", None, None, TIMEOUT).content

    def events(self, *, after: int = 0, limit: int = 100, timeout: float = 0) -> models.EventsPage:
        """Events after a sequence number, waiting up to `timeout` seconds for the first."""
        params = {"after": after, "limit": limit, "timeout": timeout}
        return self._one(models.EventsPage, "GET", "events", params=params, wait=timeout)

    def backfills(self, *, limit: int = 50, before: int | None = None) -> list[models.BackfillAnswer]:
        """Backfills, newest first."""
        return self._many(models.BackfillAnswer, "backfills", limit=limit, before=before)

    def backfill(self, backfill_id: int) -> models.BackfillAnswer:
        """One backfill as it stands."""
        return self._one(models.BackfillAnswer, "GET", f"backfills/{backfill_id}")

    # --- changing -------------------------------------------------------------------------------------------

    def materialize(self, body: models.MaterializeBody) -> models.RunsAdmitted:
        """Ask for assets."""
        return self._one(models.RunsAdmitted, "POST", "runs", body=body)

    def report(self, asset: str, body: models.ReportBody) -> models.ReportAnswer:
        """Say that an asset was made elsewhere."""
        return self._one(models.ReportAnswer, "POST", f"assets/{quoted(asset)}/report", body=body)

    def clear_cache(self, asset: str, partition: str | None) -> models.CacheCleared:
        """Forget what was made of an asset."""
        params = None if partition is None else {"partition": partition}
        return self._one(models.CacheCleared, "DELETE", f"assets/{quoted(asset)}/cache", params=params)

    def call(self, job: str, body: models.CallBody) -> models.RunsAdmitted:
        """Ask for a run of a job."""
        return self._one(models.RunsAdmitted, "POST", f"jobs/{quoted(job)}/call", body=body)

    def plugins(self) -> list[models.PluginAnswer]:
        """Each plugin file by itself."""
        return self._many(models.PluginAnswer, "plugins")

    def reload(self) -> models.ReloadAnswer:
        """Load the plugins as they are now."""
        return self._one(models.ReloadAnswer, "POST", "reload", wait=120.0)

    def pools(self) -> list[models.PoolAnswer]:
        """All pools."""
        return self._many(models.PoolAnswer, "pools")

    def change_pool(self, pool: str, change: str) -> models.PoolAnswer:
        """Pause or resume."""
        return self._one(models.PoolAnswer, "POST", f"pools/{quoted(pool)}/{change}")

    def set_priority(self, run_id: int, body: models.PriorityBody) -> models.RunAnswer:
        """Of what is still to start."""
        return self._one(models.RunAnswer, "PUT", f"runs/{run_id}/priority", body=body)

    def cancel(self, run_id: int) -> models.RunAnswer:
        """End a run."""
        return self._one(models.RunAnswer, "POST", f"runs/{run_id}/cancel")

    def items(
        self, run_id: int, state: models.ItemState | None, limit: int, *, after: int = -1
    ) -> list[models.MapAnswer]:
        """The items of what a run maps over, behind the number `after`."""
        return self._many(models.MapAnswer, f"runs/{run_id}/items", state=state, limit=limit, after=after)

    def cancel_item(self, run_id: int, body: models.CancelItemBody) -> models.RunAnswer:
        """End one item."""
        return self._one(models.RunAnswer, "POST", f"runs/{run_id}/items/cancel", body=body)

    def retry(self, run_id: int, *, whole: bool = False) -> models.RunsAdmitted:
        """Ask for what a run did not make, or for all of it."""
        return self._one(models.RunsAdmitted, "POST", f"runs/{run_id}/retry", params={"all": whole})

    def backfill_begin(self, body: models.BackfillBody) -> models.BackfillAnswer:
        """Make many partitions."""
        return self._one(models.BackfillAnswer, "POST", "backfills", body=body)

    def backfill_change(self, backfill_id: int, change: str) -> models.BackfillAnswer:
        """Pause, resume, cancel, or (a new one) retry."""
        return self._one(models.BackfillAnswer, "POST", f"backfills/{backfill_id}/{change}")

    def tick(self, sensor: str, body: models.TickBody) -> models.TickAnswer:
        """Tick now and wait for the outcome, as long as the sensor's own timeout lets it take."""
        return self._one(models.TickAnswer, "POST", f"sensors/{quoted(sensor)}/tick", body=body, wait=None)

    def replay(self, sensor: str, body: models.ReplayBody) -> models.ReplayAnswer:
        """Let kept deliveries wait again, or say what that would ask for."""
        return self._one(models.ReplayAnswer, "POST", f"inbox/{quoted(sensor)}/replay", body=body, wait=None)

    def set_cursor(self, sensor: str, cursor: Any) -> models.CursorAnswer:
        """Replace what a sensor remembers."""
        body = models.CursorBody(cursor=cursor)
        return self._one(models.CursorAnswer, "PUT", f"sensors/{quoted(sensor)}/cursor", body=body)

    def roll_back(self, sensor: str, to: int, *, again: bool, dry_run: bool) -> models.RollbackAnswer:
        """Set a sensor back to the end of a tick, as long as that takes."""
        body = models.RollbackBody(to=to, again=again, dry_run=dry_run)
        return self._one(models.RollbackAnswer, "POST", f"sensors/{quoted(sensor)}/rollback", body=body, wait=None)

    def pause(self, sensor: str) -> models.SensorAnswer:
        """Stop ticking."""
        return self._one(models.SensorAnswer, "POST", f"sensors/{quoted(sensor)}/pause")

    def resume(self, sensor: str) -> models.SensorAnswer:
        """Tick again."""
        return self._one(models.SensorAnswer, "POST", f"sensors/{quoted(sensor)}/resume")

    def pause_schedule(self, schedule: str) -> models.ScheduleAnswer:
        """Fire nothing."""
        return self._one(models.ScheduleAnswer, "POST", f"schedules/{quoted(schedule)}/pause")

    def resume_schedule(self, schedule: str) -> models.ScheduleAnswer:
        """Fire again."""
        return self._one(models.ScheduleAnswer, "POST", f"schedules/{quoted(schedule)}/resume")

    def add_partitions(self, set: str, keys: dict[str, dict[str, Any]]) -> models.PartitionsChanged:
        """Add keys to a dynamic set."""
        body = models.AddPartitionsBody(keys=keys)
        return self._one(models.PartitionsChanged, "POST", f"partitions/{quoted(set)}", body=body)

    def delete_partitions(self, set: str, keys: list[str]) -> models.PartitionsChanged:
        """Take keys out of a dynamic set."""
        body = models.DeletePartitionsBody(keys=tuple(keys))
        return self._one(models.PartitionsChanged, "DELETE", f"partitions/{quoted(set)}", body=body)

    def stream_partitions(
        self, set: str, action: Literal["add", "delete"], lines: Iterable[bytes]
    ) -> models.PartitionsChanged:
        """Add or delete keys, one a line of NDJSON: all of them, or none. Takes as long as it takes."""
        method = "POST" if action == "add" else "DELETE"
        form = {"content-type": "application/x-ndjson"}
        with self._asking():
            answer = self._client().request(
                method,
                f"partitions/{quoted(set)}",
                content=lines,
                headers=form,
                timeout=httpx.Timeout(None, connect=5.0),
            )
        if answer.status_code >= 400:
            raise error_of(answer)
        return parsed(TypeAdapter(models.PartitionsChanged), answer)
