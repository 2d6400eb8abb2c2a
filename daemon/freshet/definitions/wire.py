"""Definitions between processes, as JSON: what assets have in common is written once, and what is left at its default
is not written, so that a hundred thousand of them are a few megabytes and read in a second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, Field, fields
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from freshet.definitions.asset import AssetSpec, DepSpec
from freshet.definitions.condition import AutomationCondition
from freshet.definitions.graph import Definitions
from freshet.definitions.partitions import PartitionsSpec
from freshet.definitions.source import Source

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["packed", "prepare", "unpacked"]

T = TypeVar("T")

_APART = ("name", "automation", "partitions", "deps", "source")


class _Numbered(Generic[T]):
    """Distinct values in order of first use."""

    def __init__(self) -> None:
        self.values: list[T] = []
        self._by_identity: dict[int, int] = {}
        self._by_value: dict[T, int] = {}

    def number(self, value: T) -> int:
        """The place of an equal value. Values are kept by who calls while this is used."""
        found = self._by_identity.get(id(value))
        if found is None:
            found = self._by_value.setdefault(value, len(self.values))
            if found == len(self.values):
                self.values.append(value)
            self._by_identity[id(value)] = found
        return found


def packed(definitions: Definitions) -> dict[str, Any]:
    """What orjson can write of them. In an asset, `automation` and `partitions` are places in the lists `conditions`
    and `sets`, `source` is a place in `files` with the line, and a dependency that is a name alone is that name."""
    conditions, sets = _Numbered[AutomationCondition](), _Numbered[PartitionsSpec]()
    files: dict[str, int] = {}
    assets = list[dict[str, Any]]()
    given = [one for one in _defaults() if _is_given(*one, definitions.assets)]
    for spec in definitions.assets:
        told: dict[str, Any] = {"name": spec.name}
        for name, default in given:
            if (value := getattr(spec, name)) != default:
                told[name] = value
        if spec.automation is not None:
            told["automation"] = conditions.number(spec.automation)
        if spec.partitions is not None:
            told["partitions"] = sets.number(spec.partitions)
        if spec.deps:
            told["deps"] = [dep.asset if _is_name(dep) else dep for dep in spec.deps]
        if spec.source is not None:
            told["source"] = files.setdefault(spec.source.file, len(files)), spec.source.line
        assets.append(told)
    return {
        "assets": assets,
        "jobs": definitions.jobs,
        "sensors": definitions.sensors,
        "partitions": definitions.partitions,
        "version": definitions.version,
        "schedules": definitions.schedules,
        "checks": definitions.checks,
        "conditions": conditions.values,
        "sets": sets.values,
        "files": list(files),
    }


def _is_name(dep: DepSpec) -> bool:
    return dep.argument is None and dep.mapping is None and dep.single is None


def prepare() -> None:
    """Make ahead what `unpacked` needs, while there is nothing else to do: it takes a quarter of a second."""
    for make in (_definitions, _conditions, _sets):
        make()


def unpacked(told: dict[str, Any]) -> Definitions:
    """Definitions from the JSON of `packed`, validated; `told` is used up. Raises pydantic's `ValidationError`."""
    conditions = _conditions().validate_python(told["conditions"])
    sets = _sets().validate_python(told["sets"])
    whole = {name: value for name, value in told.items() if name not in ("conditions", "sets", "files")}
    names: dict[str, DepSpec] = {}
    for asset in told["assets"]:
        _fill(asset, conditions, sets)
        asset["deps"] = [_dep(one, names) for one in asset.get("deps", ())]
        if "source" in asset:
            place, line = asset["source"]
            asset["source"] = Source(told["files"][place], line)
    return _definitions().validate_python(whole)


def _fill(asset: dict[str, Any], conditions: Sequence[AutomationCondition], sets: Sequence[PartitionsSpec]) -> None:
    """A number that is no place in its list is left as it is: it is of a wrong type then."""
    for name, values in (("automation", conditions), ("partitions", sets)):
        number = asset.get(name)
        if isinstance(number, int) and 0 <= number < len(values):
            asset[name] = values[number]


def _dep(told: Any, names: dict[str, DepSpec]) -> Any:
    if not isinstance(told, str):
        return told
    found = names.get(told)
    if found is None:
        found = names[told] = DepSpec(told)
    return found


def _is_given(name: str, default: Any, assets: Sequence[AssetSpec]) -> bool:
    """Whether any asset has another value."""
    return list(map(attrgetter(name), assets)).count(default) < len(assets)


@cache
def _defaults() -> tuple[tuple[str, Any], ...]:
    return tuple((one.name, _default(one)) for one in fields(AssetSpec) if one.name not in _APART)


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


@cache
def _definitions() -> TypeAdapter[Definitions]:
    return _adapter(Definitions)


@cache
def _conditions() -> TypeAdapter[tuple[AutomationCondition, ...]]:
    return _adapter(tuple[AutomationCondition, ...])


@cache
def _sets() -> TypeAdapter[tuple[PartitionsSpec, ...]]:
    return _adapter(tuple[PartitionsSpec, ...])


def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter  # not needed where definitions are written

    return TypeAdapter(kind)
