"""HttpSensor: something at a URL changes, and becomes a run or partitions."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack, cast
from urllib.parse import urlsplit

from freshet import (
    AddPartitions,
    DefinitionError,
    Duration,
    DynamicPartitions,
    FreshetError,
    PartitionKeyError,
    RunRequest,
    Sensor,
    SensorContext,
)
from freshet_sensors.flow import BatchedOptions
from freshet_sensors.items import FieldKey, Item, Plan, digest, json_of, say, text_of
from freshet_sensors.pointer import Pointer
from freshet_sensors.reference import filled, names_file, names_secret

if TYPE_CHECKING:
    import httpx

    from freshet_sensors.fetch import Answer

__all__ = ["HttpSensor"]

_PIECE = 250
_BREATH = 5_000
_VERSION_MAX = 200
_SECRET = re.compile(r"authorization|cookie|token|secret|api-?key|password", re.IGNORECASE)
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class HttpSensor(Sensor):
    """Asks a URL every `interval` whether something is new there.

    Without `cursor` and `items`, a change of the whole is one run of `target`, under the run key `NAME:URL@ETAG`, or
    `NAME:URL@DIGEST` of the body where there is no ETag: NAME is the sensor's, and of the URL's query a digest stands
    there. It has changed when neither is what it was; the first answer counts as a change. A state that comes back
    later is a change as well (its run key ends in `#N`).

    `cursor`: a JSON pointer, such as "/latest/version", to one value. A number counts once it is larger (a smaller one
    is a copy that lags behind: it is logged and passed over), anything else once it is another. The run key is
    `NAME:URL@VALUE`; with `partitions`, the value is the key.

    `items`: a JSON pointer to a list. Each member is admitted once, by its `key` (a template over its fields; of a
    member that is no object, "{item}"), under the run key `NAME:KEY`; members without a key are logged and passed over.
    With `partitions` its fields are the metadata, else those named in `params` are the run's parameters. The ledger
    keeps every key: a member that has gone and comes back is not admitted again.

    Requests are conditional by ETag and Last-Modified, which are kept once all that an answer holds has been committed.
    `headers`: their values may name secrets, as "env:NAME", "file:PATH", "cred:NAME" (systemd's) or "Bearer env:NAME";
    a redirect to another origin does not get them. Up to 5 redirects; `max_body`: bytes, also of what is unpacked.
    `timeout`: for the whole look.
    429 and 503 are waited out as their Retry-After says, up to a day; any other answer than 2xx and 304 is a failure.
    """

    def __init__(
        self,
        name: str,
        *,
        url: str,
        interval: Duration = "30s",
        cursor: str | None = None,
        items: str | None = None,
        key: str | None = None,
        partitions: DynamicPartitions | None = None,
        target: object = None,
        params: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        timeout: Duration = "60s",
        method: Literal["GET", "HEAD", "POST"] = "GET",
        max_body: int = 10 << 20,
        run_params: Mapping[str, Any] | None = None,
        **flow: Unpack[BatchedOptions],
    ) -> None:
        self.url = url
        self.method = method
        self.headers = dict(headers or {})
        self.max_body = max_body
        shown = urlsplit(url)._replace(query="").geturl()
        query = urlsplit(url).query
        self._named = f"{shown}?{digest(query.encode())[:8]}" if query else shown
        options: dict[str, Any] = {"url": shown, "method": method, "cursor": cursor, "items": items, "key": key}
        options |= {"headers": sorted(self.headers), "max_body": max_body}
        super().__init__(
            name,
            interval=interval,
            timeout=timeout,
            target=target,
            partitions=partitions,
            options=options,
            params=run_params,
            **flow,
        )
        _check(name, url, method, self.headers, max_body)
        self._cursor = None if cursor is None else Pointer(cursor, what=f"{name}: cursor")
        self._items = None if items is None else Pointer(items, what=f"{name}: items")
        self._key = FieldKey("{id}" if key is None else key, what=f"{name}: key")
        self._plan = Plan.of(self, partitions=partitions, target=target, params=params)
        _check_use(name, cursor, items, key, partitions, params, method)
        self._of = digest([url, method, cursor, items, self._key.text, max_body])
        self._client: httpx.AsyncClient | None = None
        self._told = ""

    async def open(self) -> None:
        """Make the client."""
        from freshet_sensors.fetch import make_client

        self._client = await make_client()

    async def close(self) -> None:
        """Close its connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def evaluate(self, ctx: SensorContext) -> AsyncIterator[AddPartitions | RunRequest]:
        """Ask, and admit what is new."""
        # What another definition read says nothing of what this one is to find.
        memory: dict[str, Any] = dict(ctx.cursor or {})
        if memory.get("of") != self._of:
            memory = {"of": self._of}
        answer = await self._ask(ctx, memory)
        if not answer.fresh:
            return
        if self._items is not None:
            async for one in self._new_items(ctx, self._items.of(self._json(answer.body))):
                yield one
        elif self._cursor is not None:
            for said in self._new_value(ctx, memory, self._cursor.of(self._json(answer.body))):
                yield said
        else:
            for run in self._new_whole(ctx, memory, answer):
                yield run
        memory |= {"etag": answer.etag, "modified": answer.modified}
        if memory != ctx.cursor:
            ctx.cursor = memory

    async def _ask(self, ctx: SensorContext, memory: Mapping[str, Any]) -> Answer:
        from freshet_sensors.fetch import Ask, fetch

        if self._client is None:
            await self.open()
        assert self._client is not None
        headers = await self._filled()
        ask = Ask(
            self.url,
            method=self.method,
            headers=headers,
            etag=memory.get("etag"),
            modified=memory.get("modified"),
            max_body=self.max_body,
            timeout=self.spec.timeout * 0.9,  # so that this one says what took so long
        )
        return await fetch(self._client, ask, now=ctx.now)

    async def _filled(self) -> dict[str, str]:
        if not any(map(names_file, self.headers.values())):
            return _filled(self.headers)
        from freshet_sensors.aside import aside

        return await aside(_filled, self.headers)

    def _json(self, body: bytes) -> Any:
        import orjson

        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise FreshetError(
                f"{self._shown} answers with no JSON: {error}", hint="leave out cursor= and items=, or mend url="
            ) from None

    @property
    def _shown(self) -> str:
        return str(self.spec.options["url"])

    async def _new_items(self, ctx: SensorContext, found: Any) -> AsyncIterator[AddPartitions | RunRequest]:
        if not isinstance(found, list):
            raise FreshetError(f"{self._shown}: at {self._items} stands no list", hint="mend items=")
        fresh: list[Item] = []
        wrong = ""
        for at, member in enumerate(cast("Sequence[Any]", found)):
            if at % _BREATH == _BREATH - 1:
                await _turn()
            fields = cast("dict[str, Any]", member) if isinstance(member, dict) else {"item": member}
            try:
                key = self._plan.checked(self._key.key(fields))
            except PartitionKeyError as error:
                wrong = wrong or str(error)
                continue
            if key in ctx.ledger:
                continue
            ctx.ledger.add(key)
            fresh.append(Item(key, key, fields))
            if len(fresh) == _PIECE:
                for said in say(ctx, self._plan, fresh):
                    yield said
                fresh = []
                await ctx.checkpoint()
        for said in say(ctx, self._plan, fresh):
            yield said
        self._tell(ctx, "members of the list are passed over", wrong)

    def _new_value(self, ctx: SensorContext, memory: dict[str, Any], value: Any) -> Any:
        before = memory.get("value")
        lagging = _is_number(value) and _is_number(before) and value < before
        self._tell(ctx, "a smaller number is passed over", f"{value} after {before}" if lagging else "")
        if lagging or ("value" in memory and value == before):
            return ()
        memory["value"] = json_of(value)
        try:
            key = self._plan.checked(text_of(value, "value"))
        except PartitionKeyError as error:
            raise FreshetError(f"{self._shown}: at {self._cursor}: {error}", hint="mend cursor=") from None
        run_key = self._run_key(ctx, memory, key)
        return say(ctx, self._plan, [Item(key, run_key, {"url": self._shown, "value": value})])

    def _new_whole(self, ctx: SensorContext, memory: dict[str, Any], answer: Answer) -> Any:
        mark = answer.etag or (answer.modified if self.method == "HEAD" else None)
        if self.method == "HEAD" and mark is None:
            raise FreshetError(f"{self._shown} tells neither ETag nor Last-Modified", hint='use method="GET"')
        content = digest(answer.body) if self.method != "HEAD" else digest(mark)
        same = content == memory.get("digest") or (answer.etag is not None and answer.etag == memory.get("etag"))
        memory["digest"] = content
        if same:
            return ()
        version = (mark or "").removeprefix("W/").strip('"') or content
        version = version if len(version) <= _VERSION_MAX else digest(version)
        return say(ctx, self._plan, [Item(version, self._run_key(ctx, memory, version), {})])

    def _run_key(self, ctx: SensorContext, memory: dict[str, Any], version: str) -> str:
        """One that no run has had: a state that comes back is to run again."""
        memory["changes"] = memory.get("changes", 0) + 1
        again = version in ctx.ledger
        ctx.ledger.add(version)
        return f"{self._named}@{version}" + (f"#{memory['changes']}" if again else "")

    def _tell(self, ctx: SensorContext, news: str, reason: str) -> None:
        if reason and reason != self._told:
            ctx.log.warning(news, url=self._shown, reason=reason)
        elif self._told and not reason:
            ctx.log.info(f"over: {news}", url=self._shown, reason=self._told)
        self._told = reason


async def _turn() -> None:
    """Give way: the loop has other sensors."""
    import asyncio

    await asyncio.sleep(0)


def _filled(headers: Mapping[str, str]) -> dict[str, str]:
    """With their secrets, fit to be sent: the client's own complaint would show what they hold."""
    found = {name: filled(value, what=f"header {name}").strip() for name, value in headers.items()}
    for name, value in found.items():
        if not value.isascii() or not value.isprintable():
            hint = "printable ASCII alone"
            raise FreshetError(f"the value of the header {name} holds what no header may", hint=hint)
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check(name: str, url: str, method: str, headers: Mapping[str, str], max_body: int) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise DefinitionError(f"{name}: url={url!r} is no address", hint="for example https://example.org/feed.json")
    if "@" in parts.netloc:
        raise DefinitionError(
            f"{name}: credentials stand in url=", hint='give headers={"Authorization": "Basic env:NAME"}'
        )
    if method not in ("GET", "HEAD", "POST"):
        raise DefinitionError(f"{name}: method={method!r} is unknown", hint="use GET, HEAD or POST")
    for header in headers:
        if not _HEADER.fullmatch(header):
            raise DefinitionError(f"{name}: {header!r} is no header's name", hint='for example "Authorization"')
        if _SECRET.search(header) and not names_secret(headers[header]):
            hint = f'write headers={{"{header}": "env:NAME"}}, or "Bearer env:NAME"'
            raise DefinitionError(f"{name}: the secret of the header {header} stands in the plugin", hint=hint)
    if type(max_body) is not int or max_body <= 0:
        raise DefinitionError(f"{name}: max_body={max_body!r}", hint="bytes, more than none")


def _check_use(
    name: str,
    cursor: str | None,
    items: str | None,
    key: str | None,
    partitions: object,
    params: Sequence[str],
    method: str,
) -> None:
    if cursor is not None and items is not None:
        raise DefinitionError(f"{name}: both cursor= and items=", hint="one sensor for each")
    if items is None and (key is not None or params):
        raise DefinitionError(f"{name}: key= and params= are about items", hint="give items=, or leave them out")
    if cursor is None and items is None and partitions is not None:
        raise DefinitionError(f"{name}: nothing says which partition", hint="give items= or cursor=")
    if method == "HEAD" and (cursor is not None or items is not None):
        raise DefinitionError(f"{name}: HEAD brings no body to look into", hint='use method="GET"')
