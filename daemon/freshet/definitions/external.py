"""External assets: made elsewhere, known by reports."""

from __future__ import annotations

from collections.abc import Iterable
from types import NoneType
from typing import Any, get_args

from freshet.definitions.asset import Asset, AssetSpec, Dep, merge_deps, policy_of
from freshet.definitions.expect import expect, expect_tags
from freshet.definitions.freshness import Freshness
from freshet.definitions.names import check_name
from freshet.definitions.partitions import PartitionsSpec
from freshet.definitions.source import caller_source, collect
from freshet.errors import DefinitionError

__all__ = ["ExternalAsset", "external_asset"]

_TEXT = (str, NoneType)


class ExternalAsset(Asset):
    """An asset that something else makes. It cannot be called, and no run makes it."""

    def __init__(self, spec: AssetSpec) -> None:
        super().__init__(spec, _made_elsewhere(spec.name))
        self.__doc__ = spec.doc

    def __repr__(self) -> str:
        return f"<external asset {self.spec.name}>"


def external_asset(
    name: str,
    *,
    freshness: Freshness | None = None,
    partitions: PartitionsSpec | None = None,
    deps: Iterable[Dep | Asset | str] = (),
    group: str | None = None,
    tags: dict[str, str] | None = None,
    description: str = "",
) -> ExternalAsset:
    """Declare an asset that something else makes: `orders = external_asset("orders", freshness=Freshness("1h"))`.

    It is made whenever that is reported: by a sensor's `Report`, by `freshet report` or by the API. Conditions below it
    and its freshness policy take a report for a materialization; no run, backfill or condition ever asks for it. It has
    no value: assets below name it in `deps=`. Its own `deps` are there to be shown.
    """
    called = check_name(name, what="external asset")
    what = f"external asset {called}"
    spec = AssetSpec(
        name=called,
        deps=merge_deps({}, deps, called),
        partitions=expect(
            partitions,
            (*get_args(PartitionsSpec), NoneType),
            f"{what}: partitions",
            'give the set itself, for example DynamicPartitions("batches")',
        ),
        freshness=policy_of(freshness, what),
        tags=expect_tags(tags, f"{what}: tags"),
        group=expect(group, _TEXT, f"{what}: group"),
        doc=expect(description, (str,), f"{what}: description").strip().partition("\n")[0],
        source=caller_source(),
        external=True,
    )
    made = ExternalAsset(spec)
    collect(made)
    return made


def _made_elsewhere(name: str) -> Any:
    def refuse(*_: Any, **__: Any) -> Any:
        raise DefinitionError(
            f"the external asset {name!r} is made elsewhere: there is nothing to call",
            hint=f"say that it was made: freshet report {name}",
        )

    refuse.__name__ = name
    return refuse
