"""S3Sensor: an object that lands in a bucket becomes a partition, and a run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, Unpack

from freshet import (
    DefinitionError,
    Duration,
    DynamicPartitions,
    Hints,
    RetryLater,
    Sensor,
    SensorContext,
    SensorOptions,
    Skip,
    parse_duration,
)
from freshet_sensors.admit import Rules, Said
from freshet_sensors.fields import check_fields
from freshet_sensors.options import Change, checked_changes, refuse_nonsense
from freshet_sensors.pattern import KeyTemplate, Pattern
from freshet_sensors.s3_access import Access, checked_reference, checked_url

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from freshet_sensors.s3_look import Look
    from freshet_sensors.s3_queue import Mail
    from freshet_sensors.s3_sweep import Sweep

__all__ = ["S3Sensor"]

_SILENT = 90.0
_METADATA = ("bucket", "key", "etag", "size", "last_modified", "version_id")


class S3Sensor(Sensor):
    """Watches a bucket: each object that lands, or changes, becomes a partition and a run.

    `bucket`, `prefix`: what is watched; a folder's prefix ends with a slash. `endpoint_url`: of any service that speaks
    S3; None is AWS. `access_key`, `secret_key`, `session_token`: where they stand, "env:NAME", "file:PATH" or
    "cred:NAME" (systemd's LoadCredential), never the secrets themselves; None: the usual AWS places. `pattern`, `key`:
    see `help(freshet_sensors.Pattern)` and `help(freshet_sensors.KeyTemplate)`; they are about the key below the
    prefix, and "**", the default, is every key there. Empty objects whose key ends with a slash are passed over.
    Objects whose partition key no set may hold are reported in the log once, and passed over.

    The truth is the listing against the ledger of (key, etag): each such version is admitted once, in whatever order,
    however late and with whatever time it shows. An overwrite with the same bytes keeps the etag and is no news, unless
    `versions=True`: then the version's id counts too, and the listing is that of versions, which needs
    s3:ListBucketVersions. `partitions`: the set that gets the object's key, with the metadata `bucket`, `key`, `etag`,
    `size` (bytes), `last_modified` (seconds since 1970) and `version_id` (None where it is not known). `target`: the
    asset or job to run for it, under the run key `BUCKET/KEY@ETAG+TIME`, to the second and in UTC (for `versions`
    `+VERSION_ID`): bytes that come back after an overwrite or a deletion are another version, and run again, but
    for those that come back within a second without a version's id: nothing in the bucket tells them apart. Of two
    sensors over one bucket and target, one makes the run, unless `run_key=` tells them apart. Without `partitions`, the
    run's tags `object` (the key below the prefix) and `change` say what happened.

    `order`: "any" lists everything at each interval, one call for a thousand keys. "key" lists from the last key on,
    which is right for keys that only grow; it looks at everything each `reconcile` too. How many calls a day a full
    look at each interval comes to is logged when it changes; `cursor get` shows the `pages` of the last one.

    `on`, `retire`: as for `FileSensor`. A deletion counts when a listing from its first page to its last did not show
    the key, or a notification named it, and a look at the key itself found nothing (of more than 1,000 at once, at the
    first 1,000).

    `start`: what the first full look does: "all" admits what it finds, "now" takes it for seen, a time (aware, or ISO
    8601) takes for seen what was last changed before it. Later looks know no times.

    `queue_url`: an SQS queue of the bucket's notifications, which make a look at the named keys happen at once. All
    sensors of a daemon that name the same queue share it; nobody else may read from it, and messages that none of them
    wants are deleted. A message is deleted when a commit holds what its key led to. Without notifications, or when the
    queue fails, the listing goes on.

    A look that a busy service or a time-out cuts off keeps what it has seen, and the next goes on behind it.
    """

    sweep: Sweep | None = None
    _mail: Mail | None = None
    _client: Any = None
    _stack: AsyncExitStack | None = None

    def __init__(
        self,
        name: str,
        *,
        bucket: str,
        prefix: str = "",
        endpoint_url: str | None = None,
        region: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        session_token: str | None = None,
        queue_url: str | None = None,
        pattern: str = "**",
        key: str | None = None,
        partitions: DynamicPartitions | None = None,
        target: object = None,
        order: Literal["any", "key"] = "any",
        reconcile: Duration = "1h",
        on: Iterable[Change] = ("created", "modified"),
        retire: bool = False,
        versions: bool = False,
        start: str | datetime = "all",
        interval: Duration = "60s",
        timeout: Duration = "120s",
        **flow: Unpack[SensorOptions],
    ) -> None:
        _check_texts(name, bucket=bucket, prefix=prefix, region=region, order=order)
        secrets = {"access_key": access_key, "secret_key": secret_key, "session_token": session_token}
        _check_secrets(name, secrets)
        self.access = Access(checked_url(f"{name}: endpoint_url", endpoint_url), region, **secrets)
        self.queue_url = checked_url(f"{name}: queue_url", queue_url)
        self.bucket, self.prefix, self.order, self.versions = bucket, prefix, order, versions
        self.start = _checked_start(name, start)
        self.reconcile = _checked_reconcile(name, reconcile)
        changes, parsed = checked_changes(name, on, retire), Pattern(pattern, what=f"{name}: pattern")
        looks = parse_duration(interval, what=f"{name}: interval")
        if queue_url is None:
            vars(self)["wakes"] = None  # there is nothing to wait for
        super().__init__(
            name,
            interval=interval,
            timeout=timeout,
            target=target,
            partitions=partitions,
            options=self._shown(pattern, key, changes, retire, start, looks),
            **flow,
        )
        self.rules = Rules(
            pattern=parsed,
            key=KeyTemplate(key, parsed, what=f"{name}: key"),
            partitions=partitions,
            target=self.spec.target,
            on=changes,
            retire=retire,
            noun="object",
            templated=self.spec.flow.run_key is not None,
        )
        self._check(target)
        self._told: dict[str, str] = {}

    def _check(self, target: object) -> None:
        """Whether what is asked for goes together, and the templates name what there is."""
        refuse_nonsense(self.spec.name, self.rules, "all", target)
        if type(self).evaluate is S3Sensor.evaluate:
            partition = self.rules.partitions is not None
            tags, metadata = ((), _METADATA) if partition else (("object", "change"), ())
            check_fields(self, partition=partition, tags=tags, metadata=metadata)

    def _shown(
        self, pattern: str, key: str | None, changes: frozenset[str], retire: bool, start: object, looks: float
    ) -> dict[str, Any]:
        """The options that may be seen, and what listing costs as far as it is known beforehand."""
        full = looks if self.order == "any" else self.reconcile
        calls = f"{86400 / full:,.0f} a day for 1,000 keys" + ("" if full == looks else f", and {86400 / looks:,.0f}")
        return {
            "bucket": self.bucket,
            "prefix": self.prefix,
            "endpoint_url": self.access.endpoint_url,
            "region": self.access.region,
            "credentials": self.access.access_key or "the usual AWS places",
            "queue_url": self.queue_url,
            "pattern": pattern,
            "key": key,
            "order": self.order,
            "reconcile": self.reconcile,
            "on": sorted(changes),
            "retire": retire,
            "versions": self.versions,
            "start": start.isoformat() if isinstance(start, datetime) else start,
            "list_calls": calls,
        }

    async def wakes(self) -> AsyncIterator[Hints]:
        """The keys that notifications name, as they come."""
        from freshet_sensors.s3_queue import Mail

        assert self.queue_url is not None
        self._mail = mail = Mail(self.bucket, self.prefix)
        mail.open(self.queue_url, self.access)
        try:
            while True:
                yield await mail.next()
        finally:
            self._mail = None
            await mail.close()

    async def close(self) -> None:
        """End the connections."""
        stack, self._stack, self._client = self._stack, None, None
        if stack is not None:
            await stack.aclose()

    async def evaluate(self, ctx: SensorContext) -> AsyncIterator[Said | Skip]:
        """Look at the named keys, or at everything, and admit what is new in pieces."""
        from freshet_sensors.s3_client import S3Error
        from freshet_sensors.s3_list import Broken

        self._tell_queue(ctx)
        look = await self._look(ctx)
        mail = self._mail
        letters = mail.waiting() if mail is not None else {}
        named = [key for key in dict.fromkeys((*letters, *(ctx.hints or ()))) if key.startswith(self.prefix)]
        try:
            async for said in look.at_keys(named):
                yield said
            look.remember()
            if letters and mail is not None:
                await ctx.checkpoint()
                if not ctx.dry_run:
                    mail.settle(letters)
            if ctx.hints is None or look.first:
                async for one in look.through():
                    yield one
            look.remember()
            ctx.lag(0)
        except Broken as error:
            self._tell(ctx, "listing", str(error))
            await ctx.checkpoint()
            raise RetryLater(str(error), after=timedelta(seconds=self.spec.interval)) from None
        except S3Error:
            await self.close()  # the next look reads the credentials again
            raise
        if ctx.hints is None:
            self._tell(ctx, "listing", "")

    async def _look(self, ctx: SensorContext) -> Look:
        from contextlib import AsyncExitStack

        from freshet_sensors.s3_client import open_client
        from freshet_sensors.s3_list import Bucket
        from freshet_sensors.s3_look import Look

        if self._client is None:
            stack = AsyncExitStack()
            self._client = await stack.enter_async_context(open_client("s3", self.access))
            self._stack = stack
        return Look(self, ctx, Bucket(self._client, self.bucket, self.prefix, self.versions))

    def _tell_queue(self, ctx: SensorContext) -> None:
        """Say how the queue stands, where that has changed."""
        import asyncio

        mail = self._mail
        if mail is None or mail.state == "starting":
            return
        now = asyncio.get_running_loop().time()
        reason = mail.reason and f"{mail.state}: {mail.reason}"
        if not reason and mail.heard is not None and (silent := now - mail.heard) > _SILENT:
            reason = f"no answer for {silent // 30 * 30:.0f} s"
        self._tell(ctx, "queue", reason)

    def _tell(self, ctx: SensorContext, topic: str, reason: str) -> None:
        before, self._told[topic] = self._told.get(topic), reason
        if reason and reason != before:
            ctx.log.warning(_NEWS[topic], bucket=self.bucket, reason=reason)
        elif not reason and (before or (before is None and topic == "queue")):
            ctx.log.info(_WELL[topic], bucket=self.bucket, reason=before or "")


_NEWS = {"queue": "the queue does not wake; the listing goes on", "listing": "a listing did not come to its end"}
_WELL = {"queue": "the queue wakes", "listing": "listings come to their end again"}


def _check_texts(name: str, **texts: Any) -> None:
    for what, text in texts.items():
        if not isinstance(text, str | (NoneType if what == "region" else str)):
            raise DefinitionError(f"{name}: {what}={text!r} is no text", hint=f'for example {what}="landing"')
    if texts["order"] not in ("any", "key"):
        raise DefinitionError(f"{name}: order={texts['order']!r} is unknown", hint='use "any" or "key"')
    bucket: str = texts["bucket"]
    if not bucket or "/" in bucket or bucket.strip() != bucket:
        raise DefinitionError(f"{name}: bucket={bucket!r} is no bucket's name", hint="what follows it goes to prefix=")
    if texts["prefix"].startswith("/"):
        raise DefinitionError(f"{name}: prefix={texts['prefix']!r}", hint="keys do not begin with a slash")


def _check_secrets(name: str, secrets: dict[str, str | None]) -> None:
    for what, reference in secrets.items():
        checked_reference(f"{name}: {what}", reference)
    key, secret, token = secrets.values()
    if (key is None) != (secret is None) or (token is not None and key is None):
        said = f"{name}: access_key and secret_key go together, session_token goes with both"
        raise DefinitionError(said, hint="give them, or leave out all three for the usual AWS places")


def _checked_start(name: str, start: Any) -> datetime | Literal["all", "now"]:
    if start in ("all", "now"):
        known: Literal["all", "now"] = start
        return known
    try:
        found = datetime.fromisoformat(start) if isinstance(start, str) else start
    except ValueError:
        found = None
    if not isinstance(found, datetime):
        raise DefinitionError(f"{name}: start={start!r} is unknown", hint='use "all", "now" or "2026-11-21T08:00:00Z"')
    if found.tzinfo is None:
        raise DefinitionError(f"{name}: start={start!r} has no zone", hint='for example "2026-11-21T08:00:00Z"')
    return found.astimezone(UTC)


def _checked_reconcile(name: str, reconcile: Duration) -> float:
    seconds = parse_duration(reconcile, what=f"{name}: reconcile") if reconcile else 0.0
    if seconds <= 0:
        said = f"{name}: reconcile cannot be switched off: a listing by keys alone loses what comes late"
        raise DefinitionError(said, hint='give a longer one, for example reconcile="1d"')
    return seconds
