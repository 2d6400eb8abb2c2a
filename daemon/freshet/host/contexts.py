"""What user code is handed: the interfaces of `ctx`. The evaluator and the worker implement them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from freshet.definitions.asset import Asset
from freshet.definitions.cache import CacheKey
from freshet.definitions.delivery import Deliveries
from freshet.definitions.durations import Duration
from freshet.definitions.job import Job
from freshet.definitions.listen import Happenings, ListenType
from freshet.definitions.outcome import Json
from freshet.definitions.retries import Retries
from freshet.host.run_info import MissingKeys, Partition, PartitionWindow, RunInfo

if TYPE_CHECKING:
    from freshet.host.artifacts import Image, Table

__all__ = [
    "JobContext",
    "Ledger",
    "Logger",
    "MissingKeys",
    "Partition",
    "PartitionWindow",
    "RunInfo",
    "ScheduleContext",
    "SensorContext",
    "StepContext",
]


class Logger(Protocol):
    """Lines for the journal, with fields: `ctx.log.info("read", rows=12)`."""

    def debug(self, message: str, /, **fields: Json) -> None:
        """For the one who looks closely."""
        ...

    def info(self, message: str, /, **fields: Json) -> None:
        """What happened."""
        ...

    def warning(self, message: str, /, **fields: Json) -> None:
        """What may become a problem."""
        ...

    def error(self, message: str, /, **fields: Json) -> None:
        """What is one."""
        ...


class Ledger(Protocol):
    """What a sensor has already seen: a persistent mapping from an item's key to the version seen of it.

    Changes are part of the tick's outcome: they count from `add` on within the tick, and for later ticks once the
    tick has committed.
    """

    def __contains__(self, key: str) -> bool:
        """Whether any version of the item was seen."""
        ...

    def __len__(self) -> int:
        """How many items."""
        ...

    def seen(self, key: str, version: str = "") -> bool:
        """Whether this version of the item was the last one seen."""
        ...

    def add(self, key: str, version: str = "") -> None:
        """This version of the item is seen now."""
        ...

    def remove(self, key: str) -> None:
        """Forget the item."""
        ...

    def absent(self, keys: Iterable[str]) -> Iterator[str]:
        """The items in the ledger that are not among `keys`: after a full look, what has gone."""
        ...

    @property
    def notes(self) -> dict[str, Any]:
        """A place in memory for what was worked out from the ledger. It outlives the tick; it is empty again once the
        ledger was changed by anything but this sensor's own ticks (a rollback), and after a restart."""
        ...


class SensorContext(Protocol):
    """What `evaluate(ctx)` gets."""

    cursor: Json
    """What this sensor remembers; assign to advance. None at the very first look."""

    @property
    def name(self) -> str:
        """The sensor's name."""
        ...

    @property
    def ledger(self) -> Ledger:
        """A keyed seen-set, for cursors too large for `cursor`."""
        ...

    @property
    def hints(self) -> tuple[str, ...] | None:
        """What the wakes named since the last look; None: look at everything."""
        ...

    @property
    def now(self) -> datetime:
        """The time of this tick, aware, in UTC. Use it instead of the clock: it is virtual in tests."""
        ...

    @property
    def log(self) -> Logger:
        """The daemon's log, with the sensor's name."""
        ...

    @property
    def resources(self) -> Mapping[str, Any]:
        """Those that the sensor needs, by name, open: the parameters of its function, or what its class names as
        `resources`."""
        ...

    @property
    def dry_run(self) -> bool:
        """Nothing of this tick will be committed."""
        ...

    async def checkpoint(self) -> None:
        """Commit what was yielded, and the cursor and ledger so far; returns when it is durable.

        Only in async sensors; `def` sensors call `checkpoint_sync()`.
        """
        ...

    def checkpoint_sync(self) -> None:
        """`checkpoint()` for `def` sensors."""
        ...

    async def inbox(self, limit: int = 100) -> Deliveries:
        """The next deliveries to the sensor's hook, at most `limit`, in the order of arrival; empty when all have been
        seen in this look. Yield `Handled` for each: what is not handled comes again. Those that failed before come
        with a full look only. Before more than 1,000 are asked for, `checkpoint()`. A look that fails with one delivery
        in hand (taken out of these, and not handled) counts as that one's failure: where it is not (a database is
        away), raise `RetryLater`. Raises
        `RuntimeError` for a sensor without `intake`; in `def` sensors it is `inbox_sync()`.
        """
        ...

    def inbox_sync(self, limit: int = 100) -> Deliveries:
        """`inbox()` for `def` sensors."""
        ...

    async def events(
        self,
        types: ListenType | Iterable[ListenType],
        assets: Iterable[str | Asset | Job] | None = None,
        *,
        after: int | None,
        limit: int = 500,
    ) -> Happenings:
        """What Freshet itself has committed behind event number `after`: of these types only, and where `assets` is
        given, of these only (of `run_...`, runs of these targets). In order, each once: with `.seq` as the cursor
        nothing is lost or seen twice, whatever ends meanwhile. `after=None` gives nothing but `.seq`, where the events
        end now. About `limit` of them (1,000 at the most; a transaction is never cut in two); `.more`: others wait, ask
        again after `.seq`. Give the sensor `listens=Listen(...)` to be woken by them.
        Only in async sensors. Raises `DefinitionError` for an unknown type, `OSError` where the store cannot be read.
        """
        ...

    def lag(self, items: int, oldest: datetime | None = None) -> None:
        """Say how many items have been seen and are not admitted yet (a queue's length, what a page left over), and
        since when the oldest waits; for `freshet sensors`. It holds until a look says otherwise, or a full look says
        nothing. Raises `ValueError` for fewer than none, or a time without a zone."""
        ...

    def notice(self, text: str) -> None:
        """Say in a line how the sensor stands where that is not as one would expect ("polls: ..."), for `freshet
        sensors`. It holds until a look says another, or a full look says none. Raises `ValueError` for no text."""
        ...


class ScheduleContext(Protocol):
    """What a schedule's body gets."""

    @property
    def name(self) -> str:
        """The schedule's name."""
        ...

    @property
    def scheduled_time(self) -> datetime:
        """The nominal instant, aware, in UTC: what was due, however late it is."""
        ...

    @property
    def now(self) -> datetime:
        """The time of this tick, aware, in UTC."""
        ...

    @property
    def log(self) -> Logger:
        """The daemon's log, with the schedule's name."""
        ...


class JobContext(Protocol):
    """What a job's `ctx` offers."""

    @property
    def run(self) -> RunInfo:
        """The run: its number, what was asked for and by what."""
        ...

    @property
    def run_id(self) -> int:
        """The run's number."""
        ...

    @property
    def attempt(self) -> int:
        """1 for the first."""
        ...

    @property
    def params(self) -> Mapping[str, Any]:
        """The run's parameters."""
        ...

    @property
    def tags(self) -> Mapping[str, str]:
        """The run's tags."""
        ...

    @property
    def log(self) -> Logger:
        """The run's journal."""
        ...

    def metadata(self, **values: Json) -> None:
        """Facts to keep with the result (row counts, sizes)."""
        ...

    def progress(self, done: float, total: float | None = None) -> None:
        """How far the step is."""
        ...

    def artifact(
        self,
        name: str,
        *,
        markdown: str | None = None,
        table: Table | None = None,
        link: str | None = None,
        image: Image | None = None,
    ) -> None:
        """Something for people to look at, kept with the run: a text in Markdown, a table (rows as dicts, or a frame),
        a link, or a picture (its bytes or path, or a figure). Under a name that the step gave before, it takes its
        place. Up to 16 MiB each; of a table 10,000 rows. Raises `ValueError` or `TypeError` for what is none."""
        ...

    def map(
        self,
        function: Callable[..., Any],
        items: Iterable[Any],
        *,
        retries: int | Retries = 0,
        limit: int | None = None,
        timeout: Duration | None = None,
        raising: bool = True,
        cache: Duration | CacheKey | None = None,
    ) -> Any:
        """Call `function(item)`, or `function(ctx, item)`, for each item, at most `limit` at once (as many as there are
        CPUs), in processes forked from this one: `rates = ctx.map(fetch, regions, retries=3)`, with `await` before it
        in an `async def`. Returns the results in the order of the items.

        Each item is tried again, timed out, canceled and shown by itself. When all are over and some have failed for
        good it raises `ItemsFailed`; with `raising=False` these stand in their places instead. What succeeded is not
        done again by the step's next attempt: an item is known by its value as JSON and the function's code. Function
        and items may be anything: they are in the forked process's memory already, and so is what they hold open;
        what a function changes there is not seen here. `ctx.metadata` of an item goes to the journal alone.

        `cache="1d"`, or a `CacheKey`: what this step has made of an equal item by the same code, in any run and for any
        partition, is taken again, no longer than that after its work began. What a function takes beside the item does
        not count. `freshet cache clear` forgets it.
        """
        ...

    def call(
        self,
        target: str | Job | Asset,
        params: Mapping[str, Any] | None = None,
        /,
        *,
        wait: bool = True,
        detach: bool = False,
        partition: str | None = None,
        **more: Any,
    ) -> Any:
        """Let a job, or an asset (`partition`: its key), be run, with retries of its own, and wait until that run has
        ended: `ctx.call(notify, order_id=7)`, with `await` before it in an `async def`. Returns the run's number;
        `wait=False`: at once. Raises `RunFailed` where it failed or was canceled, or cannot be. `params`: the job's
        parameters as a dict, those that are called `wait`, `detach` or `partition` among them.

        Each call of a step comes to one run, known by what it asks for and, among equal calls, by their order: what
        one asked for in an earlier attempt is waited for, and not done again if it succeeded; what failed is run anew.
        While a step waits, others have its slot; its `timeout` goes on. What it waits for is canceled when its run is,
        and when the step has failed for good; not so with `detach=True`.
        """
        ...


class StepContext(JobContext, Protocol):
    """What an asset's `ctx` offers."""

    @property
    def asset(self) -> str:
        """The asset's name."""
        ...

    @property
    def partition(self) -> Partition:
        """The partition this step makes. Raises `LookupError` for an asset without partitions."""
        ...

    def data_version(self, version: str) -> None:
        """Say what the version of the data is that this step makes (an ETag, the date of an export, a digest of what it
        wrote elsewhere): 1 to 64 printable characters; the last call counts. Equal to the partition's last one, it says
        that the data is unchanged: see `AutomationCondition.data_version_changed()`. Without, it is the digest of the
        value that is kept; where that is None, nothing is known, and the data counts as changed. Raises `InvalidName`.
        """
        ...

    @property
    def missing_inputs(self) -> Mapping[str, MissingKeys]:
        """By upstream asset: the keys its mapping names that have no value. Of very many the first are named, and
        `.more` says how many others there are."""
        ...
