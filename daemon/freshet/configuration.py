"""The daemon's settings: `freshet.toml`, and `FRESHET_*` above it.

A file is looked for at `config/freshet.toml`, then `/etc/freshet/freshet.toml`; without one the environment alone may
do. Relative paths of the file are relative to its folder, those of the environment to the working directory.
`FRESHET_STATE_DIR` sets `state_dir`, `FRESHET_HTTP__PORT` sets `port` of `[http]`.

An unknown key of the file is an error, and so is an unknown `FRESHET_SECTION__KEY`. Other unknown `FRESHET_*` are an
error only where they look like a slip of the pen: the environment also holds what is not ours (Kubernetes sets
`FRESHET_PORT` for a service called freshet; plugins read secrets of any name).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from freshet.configfile import ENV_PREFIX, NESTED, ConfigFile, env_name, no_config, read_config
from freshet.definitions.durations import parse_duration
from freshet.definitions.executor import Lane
from freshet.definitions.limits import Limits, PoolLimit
from freshet.definitions.names import check_name, nearest_hint
from freshet.definitions.pool import Rate, parse_rate
from freshet.definitions.retention import Retention
from freshet.definitions.sizes import parse_size
from freshet.errors import DefinitionError, DurationError, InvalidName, SettingsError

__all__ = [
    "AutomationSettings",
    "ExecutorSettings",
    "HttpSettings",
    "LimitSettings",
    "LogSettings",
    "PoolSettings",
    "ProcessSettings",
    "RetentionSettings",
    "Settings",
    "check_folders",
    "load_settings",
]

_STRICT = ConfigDict(extra="forbid", frozen=True)


def _seconds(value: object) -> object:
    if isinstance(value, float):
        return value  # our own default
    try:
        return parse_duration(value)  # type: ignore[arg-type]  # anything that TOML can hold
    except DurationError as error:
        raise ValueError(
            f'{error.message.removeprefix("duration: ")}; write it as "250ms", "30s", "1h30m" or "7d"'
        ) from None


def _path(value: object) -> object:
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError(f"expected a path, found {value!r}")
    return Path(os.path.normpath(Path.cwd() / Path(value).expanduser()))


def _zone(value: object) -> object:
    try:
        ZoneInfo(str(value))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f'unknown time zone {value!r}; write it as "Europe/Berlin" or "UTC"') from None
    return value


def _pool(value: str) -> str:
    try:
        return check_name(value, what="pool", identifier=False)
    except InvalidName as error:
        raise ValueError(f"{error.message}; {error.hint}") from None


def _rate(value: object) -> object:
    try:
        return value if isinstance(value, Rate) else parse_rate(value)
    except DefinitionError as error:
        raise ValueError(f"{error.message}; {error.hint}") from None


def _size(value: object) -> object:
    if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()):
        return value
    try:
        return parse_size(value, what="size")  # type: ignore[arg-type]  # anything that TOML can hold
    except DefinitionError as error:
        raise ValueError(f"{error.message}; {error.hint}") from None


def _tag(value: str) -> str:
    key, _, rest = value.partition("=")
    if not key or ("=" in value and not rest):
        raise ValueError(f'{value!r} is no tag; write customer = 2, or "customer=acme" = 5')
    return value


def _plugin(value: str) -> str:
    try:
        return check_name(value, what="plugin settings", identifier=False)
    except InvalidName as error:
        raise ValueError(f"{error.message}; {error.hint}") from None


def _table(value: object) -> object:
    if not isinstance(value, dict):  # what stands there may be a secret that should not
        raise ValueError("is no table; write it below [plugins.NAME], as settings(NAME) asks for it")
    return value  # pyright: ignore[reportUnknownVariableType]  # TOML


Seconds = Annotated[float, BeforeValidator(_seconds)]
"""Written as a duration ("6s", "30d"), held in seconds."""

AbsolutePath = Annotated[Path, BeforeValidator(_path)]

_DAY = 86400.0
_AHEAD = 8
"""Steps handed out for each kept worker: it has the next when one is done, and their ends are committed together."""


class HttpSettings(BaseModel):
    """`[http]`: where the daemon listens. `port` 0 takes a free one; `inbox_max` bounds the deliveries that wait,
    `hook_rate` those that each hook takes a second, `connections_per_address` the open ones (0: any number)."""

    model_config = _STRICT

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8765
    socket: AbsolutePath | None = None
    inbox_max: Annotated[int, Field(ge=1)] = 100_000
    hook_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5000.0
    connections_per_address: Annotated[int, Field(ge=0)] = 512


class ProcessSettings(BaseModel):
    """`[process]`: `workers` is how many steps run at once in processes; by default the number of CPUs, at least 2."""

    model_config = _STRICT

    workers: Annotated[int, Field(ge=1, le=1024)] = max(2, os.cpu_count() or 2)


class ExecutorSettings(BaseModel):
    """`[executors]`: how many steps run at once that take no worker: inline ones, detached ones, those of a cluster."""

    model_config = _STRICT

    inline: Annotated[int, Field(ge=1, le=2_000)] = 256
    detached: Annotated[int, Field(ge=1, le=10_000)] = 16
    dask: Annotated[int, Field(ge=1, le=100_000)] = 256


class PoolSettings(BaseModel):
    """`[pools.NAME]`, or `NAME = slots` of `[pools]`: how many of the pool's slots steps take at once, and how many
    steps of it start in a span of time. 0 slots: none."""

    model_config = _STRICT

    slots: Annotated[int, Field(ge=0, le=100_000)]
    rate: Annotated[Rate, BeforeValidator(_rate)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _slots_alone(cls, data: object) -> object:
        return {"slots": data} if isinstance(data, int | str) else data


class LimitSettings(BaseModel):
    """`[limits]`: how many runs are under way at once, all together (`runs`) and with a tag (`tags`): `key` for each
    value of it apart, `key=value` for that one."""

    model_config = _STRICT

    runs: Annotated[int, Field(ge=1)] | None = None
    tags: dict[Annotated[str, BeforeValidator(_tag)], Annotated[int, Field(ge=0)]] = Field(
        default_factory=dict[str, int]
    )


class AutomationSettings(BaseModel):
    """`[automation]`: `max_chain` is how many automatic runs, each asked for because of the one before, may lead to one
    that is admitted; a wave is one run."""

    model_config = _STRICT

    max_chain: Annotated[int, Field(ge=1)] = 250


class RetentionSettings(BaseModel):
    """`[retention]`: how many seconds of history are kept, and how much of it at the most (see `Retention`; 0: any
    number). Run keys are kept for ever."""

    model_config = _STRICT

    ticks: Annotated[Seconds, Field(gt=0)] = 30 * _DAY
    events: Annotated[Seconds, Field(gt=0)] = 30 * _DAY
    runs: Annotated[Seconds, Field(gt=0)] = 90 * _DAY
    journals: Annotated[Seconds, Field(gt=0)] = 30 * _DAY
    values: Annotated[Seconds, Field(gt=0)] = 7 * _DAY
    inbox: Annotated[Seconds, Field(gt=0)] = 30 * _DAY
    max_ticks: Annotated[int, Field(ge=0)] = 10_000
    max_events: Annotated[int, Field(ge=0)] = 5_000_000
    max_runs: Annotated[int, Field(ge=0)] = 1_000_000
    max_journals: Annotated[int, BeforeValidator(_size), Field(ge=0)] = 0
    max_inbox: Annotated[int, Field(ge=0)] = 1_000_000

    @property
    def kept(self) -> Retention:
        """The same, for the engine."""
        return Retention(**self.model_dump())


class LogSettings(BaseModel):
    """`[log]`: `format` "auto" is "console" on a terminal and "json" elsewhere."""

    model_config = _STRICT

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"


class Settings(BaseSettings):
    """All settings, checked: paths are absolute, durations are seconds. `load_settings` makes them.

    `root`, the working directory of plugins, is the folder above `plugins_dir` unless given.
    """

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=NESTED,
        env_ignore_empty=True,
    )

    state_dir: AbsolutePath
    plugins_dir: AbsolutePath
    root: AbsolutePath
    timezone: Annotated[str, BeforeValidator(_zone)] = "UTC"
    shutdown_grace: Annotated[Seconds, Field(ge=0)] = 6.0
    http: HttpSettings = HttpSettings()
    process: ProcessSettings = ProcessSettings()
    executors: ExecutorSettings = ExecutorSettings()
    pools: dict[Annotated[str, BeforeValidator(_pool)], PoolSettings] = Field(default_factory=dict[str, PoolSettings])
    limits: LimitSettings = LimitSettings()
    automation: AutomationSettings = AutomationSettings()
    retention: RetentionSettings = RetentionSettings()
    log: LogSettings = LogSettings()

    plugins: dict[Annotated[str, BeforeValidator(_plugin)], Annotated[dict[str, Any], BeforeValidator(_table)]] = Field(
        default_factory=dict[str, dict[str, Any]]
    )

    @property
    def socket_path(self) -> Path:
        """The Unix socket of the API: `[http] socket`, or `freshet.sock` in the state directory."""
        return self.http.socket or self.state_dir / "freshet.sock"

    @property
    def lanes(self) -> dict[Lane, int]:
        """How many steps at once, by lane; of the lane "process", `process.workers`."""
        own = self.executors
        reused = _AHEAD * self.process.workers
        return {"reused": reused, "inline": own.inline, "detached": own.detached, "dask": own.dask}

    @property
    def run_limits(self) -> Limits:
        """`[pools]` and `[limits]`."""
        pools = {name: PoolLimit(one.slots, one.rate) for name, one in self.pools.items()}
        return Limits(pools, self.limits.runs, self.limits.tags)

    @model_validator(mode="before")
    @classmethod
    def _root_above_plugins(cls, data: dict[str, Any]) -> dict[str, Any]:
        plugins: Any = data.get("plugins_dir")
        if "root" not in data and isinstance(plugins, str | Path):
            return {**data, "root": Path.cwd() / Path(plugins).expanduser() / ".."}
        return data

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment lies above the file, whose data come as arguments."""
        return env_settings, init_settings


def load_settings(path: Path | None = None) -> Settings:
    """Read `path` (or the default file, if there is one) and the environment.

    Raises `SettingsError` naming file, line and key of everything that is wrong.
    """
    config = read_config(path)
    problems = [*_env_problems(os.environ)]
    found: Settings | None = None
    try:
        found = Settings(**config.data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        if config.path is None and any(one["loc"] == ("state_dir",) and one["type"] == "missing" for one in details):
            raise no_config() from None
        problems += [_problem(one, config) for one in details if not _implied(one, details)]
    if found is not None and not problems:
        return found
    if len(problems) == 1:
        raise SettingsError(problems[0][0], hint=problems[0][1])
    raise SettingsError("\n".join(f"{message} ({hint})" if hint else message for message, hint in problems))


def check_folders(settings: Settings) -> None:
    """Raise `SettingsError` unless `plugins_dir` and `root` are folders."""
    for key, folder in (("plugins_dir", settings.plugins_dir), ("root", settings.root)):
        if not folder.is_dir():
            raise SettingsError(f"{key}: {folder} is no folder", hint=f"make it, or set {key} to the right one")


def _implied(one: ErrorDetails, details: list[ErrorDetails]) -> bool:
    """`root` is only missing because `plugins_dir` is."""
    return one["loc"] == ("root",) and one["type"] == "missing" and any(d["loc"] == ("plugins_dir",) for d in details)


def _problem(error: ErrorDetails, config: ConfigFile) -> tuple[str, str]:
    """One mistake as message and hint."""
    keys = tuple(str(key) for key in error["loc"] if key != "[key]")
    dotted = ".".join(keys)
    if error["type"] == "missing":
        return f"{config.path or 'environment'}: {dotted} is missing", f"set it there or as {env_name(keys)}"
    places = (config.place(keys[: len(keys) - cut]) for cut in range(len(keys)))
    place = next((one for one in places if one), None) or env_name(keys)
    if error["type"] == "extra_forbidden":
        known = _fields(keys[:-1])
        return f"{place}: unknown setting {dotted!r}", nearest_hint(keys[-1], known)
    if error["type"] == "value_error":
        text, _, hint = error["msg"].removeprefix("Value error, ").partition("; ")
        return f"{place}: {dotted}: {text}", hint
    return f"{place}: {dotted}: {error['msg'][:1].lower()}{error['msg'][1:]}, found {error['input']!r}", ""


def _fields(section: tuple[str, ...]) -> list[str]:
    model: Any = Settings
    for key in section:
        found = model.model_fields.get(key) if hasattr(model, "model_fields") else None
        model = get_args(model)[1] if found is None else found.annotation
    return list(model.model_fields)


def _env_problems(names: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Variables that are meant as settings and are none. What nests in a known section is pydantic's to judge."""
    known = [env_name((name,)) for name in Settings.model_fields]
    nested = [env_name((section, key)) for section in _sections() for key in _fields((section,))]
    for name in names:
        upper = name.upper()
        head = upper.partition(NESTED)[0]
        if not upper.startswith(ENV_PREFIX) or head in known:
            continue
        close = difflib.get_close_matches(upper.removeprefix(ENV_PREFIX), _bare(known + nested), n=1, cutoff=0.8)
        if NESTED in upper or close:
            yield f"environment: unknown setting {name}", f"did you mean {ENV_PREFIX}{close[0]}?" if close else ""


def _bare(names: list[str]) -> list[str]:
    return [name.removeprefix(ENV_PREFIX) for name in names]


def _sections() -> list[str]:
    return [
        name
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type)
        and not get_args(field.annotation)
        and issubclass(field.annotation, BaseModel)
    ]
