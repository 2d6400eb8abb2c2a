"""What a step's function is given of its upstreams: one value, or the values of several partitions by key."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from freshet.definitions.asset import Asset, DepSpec
from freshet.definitions.mapping import Identity, Last, Mapping, Static, default_mapping, gives_one
from freshet.definitions.partitions import PartitionsSpec, resolved_set
from freshet.errors import FreshetError, ValueFormatError
from freshet.host.describe import Catalog
from freshet.host.fits import check_given, wanted
from freshet.host.messages import InputsFile, Run, ValueData
from freshet.io.fitting import element
from freshet.io.managers import Managers
from freshet.io.registry import ValueRef, read_value
from freshet.io.values import Values

__all__ = ["MissingInput", "read_arguments", "set_of"]


class MissingInput(FreshetError):
    """An upstream has no value for the partition that a step needs."""


def set_of(asset: str, order: Run, catalog: Catalog) -> PartitionsSpec | None:
    """The partitions of an asset, or of a check, with the order's zone where they name none."""
    spec = catalog.definitions.stepped(asset)
    return None if spec is None or spec.partitions is None else resolved_set(spec.partitions, order["timezone"])


def read_arguments(order: Run, asset: Asset, catalog: Catalog, values_dir: Path) -> dict[str, Any]:
    """By parameter: the upstream's value, or `Values` where its mapping gives several partitions.

    Raises `MissingInput` where the one value is not there and the parameter has no default, and `ValueFormatError`
    where it cannot be read, or is not what the parameter's annotation says.
    """
    below, arguments = set_of(asset.spec.name, order, catalog), dict[str, Any]()
    for dep in asset.spec.deps:
        if dep.argument is None:
            continue
        above = set_of(dep.asset, order, catalog)
        mapping = dep.mapping or default_mapping(above, below)
        refs, annotation = order["inputs"].get(dep.asset, []), wanted(asset.function, dep.argument)
        if not gives_one(mapping, above, below):
            reader = _Reader(values_dir, dep.asset, element(annotation), catalog.managers)
            arguments[dep.argument] = _several(order, reader, mapping)
        elif refs:
            key, ref = refs[-1]
            arguments[dep.argument] = _Reader(values_dir, dep.asset, annotation, catalog.managers)(key, ValueRef(**ref))
        elif not _has_default(asset, dep.argument):
            raise _missing(order, dep, mapping, above)
    return arguments


def _has_default(asset: Asset, parameter: str) -> bool:
    return inspect.signature(asset.function).parameters[parameter].default is not inspect.Parameter.empty


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads values of one upstream, each to be what `wanted` says."""

    values_dir: Path
    asset: str
    wanted: Any
    managers: Managers

    def __call__(self, key: str | None, ref: ValueRef) -> Any:
        try:
            value = read_value(self.values_dir, ref, wanted=self.wanted, managers=self.managers)
        except (ValueFormatError, OSError) as error:
            raise _unreadable(self.asset, key, error) from error
        check_given(value, self.wanted, self.asset, "" if key is None else f" in partition {key!r}")
        return value


def _unreadable(asset: str, key: str | None, error: Exception) -> ValueFormatError:
    where = "" if key is None else f" in partition {key!r}"
    said, hint = (error.message, error.hint) if isinstance(error, ValueFormatError) else (str(error), "")
    return ValueFormatError(f"the value of {asset!r}{where} cannot be read: {said}", hint=hint)


# --- several -------------------------------------------------------------------------------------------------


def _several(order: Run, reader: _Reader, mapping: Mapping) -> Values[Any]:
    file, asset = order["inputs_file"], reader.asset
    note = _why_not_there(order, asset, mapping)
    if file is not None and asset in file["sections"]:
        return Values[Any].unread(_listed(file, asset), partial(_from_file, reader, file["path"]), note)
    pairs = ((key, ref) for key, ref in order["inputs"].get(asset, []) if key is not None)
    return Values[Any].unread(pairs, lambda: nullcontext(partial(_from_frame, reader)), note)


def _from_frame(reader: _Reader, key: str, place: ValueData) -> Any:
    return reader(key, ValueRef(**place))


def _listed(file: InputsFile, asset: str) -> Iterator[tuple[str, int]]:
    """The keys of an upstream, and at which byte of the file each one's line begins."""
    at, count = file["sections"][asset]
    try:
        with Path(file["path"]).open("rb") as lines:
            lines.seek(at)
            for _ in range(count):
                line = lines.readline()
                yield orjson.loads(line)[0], at
                at += len(line)
    except (OSError, orjson.JSONDecodeError) as error:
        raise _unlisted(asset, file["path"], error) from error


@contextmanager
def _from_file(reader: _Reader, path: str) -> Generator[Callable[[str, int], Any]]:
    try:
        lines = Path(path).open("rb")  # noqa: SIM115  # closed below; only that it cannot be opened is told so
    except OSError as error:
        raise _unlisted(reader.asset, path, error) from error
    with lines:

        def read(key: str, at: int) -> Any:
            lines.seek(at)
            _, *ref = orjson.loads(lines.readline())
            return reader(key, ValueRef(*ref))

        yield read


def _unlisted(asset: str, path: str, error: Exception) -> ValueFormatError:
    return ValueFormatError(
        f"the list of the values of {asset!r} cannot be read: {path}: {error}",
        hint="it is there as long as the step runs: take what is needed later as dict(...)",
    )


# --- what is not there ---------------------------------------------------------------------------------------


def _why_not_there(order: Run, asset: str, mapping: Mapping) -> str:
    """What to say of a key that is asked for and is not there."""
    if order["missing"].get(asset):
        return f"these are the partitions of {asset!r} that have a value; ctx.missing_inputs names those without"
    if order["inputs"].get(asset) or (order["inputs_file"] and asset in order["inputs_file"]["sections"]):
        return f"these are the partitions of {asset!r} that the mapping {type(mapping).__name__}() gives"
    return _nothing(order, asset, mapping)


def _nothing(order: Run, asset: str, mapping: Mapping) -> str:
    key = order["key"]
    if isinstance(mapping, Static) and all(key not in below for _, below in mapping.below):
        return f"Static() names no partition of {asset!r} for {key!r}, which therefore depends on none"
    if isinstance(mapping, Last) or key is None:
        return f"{asset!r} has no partitions yet"
    return f"no partition of {asset!r} goes with {key!r} by the mapping {type(mapping).__name__}()"


def _missing(order: Run, dep: DepSpec, mapping: Mapping, above: PartitionsSpec | None) -> MissingInput:
    missing = order["missing"].get(dep.asset, [])
    key = missing[-1] if missing else order["key"] if isinstance(mapping, Identity) else None
    needs, hint = f"asset {order['step']!r} needs", f"materialize {dep.asset!r} first, or give the parameter a default"
    if above is None:
        return MissingInput(f"{needs} {dep.asset!r}, which has no value", hint=hint)
    if key is None:
        return MissingInput(f"{needs} {dep.asset!r}: {_nothing(order, dep.asset, mapping)}", hint=hint)
    what = (
        f"the last partition of {dep.asset!r}, {key!r},"
        if isinstance(mapping, Last)
        else (f"{dep.asset!r} in partition {key!r},")
    )
    return MissingInput(f"{needs} {what} which has no value", hint=hint)
