"""How partitions follow along the dependencies of assets: one link for each, made when first asked for."""

from __future__ import annotations

from pyroaring import BitMap

from freshet.definitions.asset import AssetSpec, DepSpec
from freshet.definitions.graph import Definitions
from freshet.definitions.mapping import gives_one
from freshet.engine.partitions.compile import link_between
from freshet.engine.partitions.links import Link
from freshet.engine.partitions.sets import Sets

__all__ = ["PartitionGraph"]


class PartitionGraph:
    """The links between the partitions of assets, for one version of the definitions. Partitions that come and go in
    `sets` are seen; a static list changes with the definitions alone."""

    def __init__(self, definitions: Definitions, sets: Sets) -> None:
        self.definitions = definitions
        self.sets = sets
        self._links: dict[tuple[str, str], Link] = {}

    def live(self, asset: str) -> BitMap:
        """The partitions there are, to be read only; {0} for an asset without."""
        spec = self.definitions.asset[asset].partitions
        return self.sets.named(None if spec is None else spec.name)

    def link(self, downstream: str, upstream: str) -> Link:
        """The link of a dependency; of an asset that is none, as its default would be."""
        found = self._links.get((downstream, upstream))
        if found is None:
            spec = self._spec(downstream)
            dep = next((dep for dep in spec.deps if dep.asset == upstream), DepSpec(upstream))
            mapping = self.definitions.mapping(spec, dep)
            above = self.definitions.asset[upstream].partitions
            found = link_between(mapping, above, spec.partitions, self.sets)
            self._links[downstream, upstream] = found
        return found

    def above(self, downstream: str, upstream: str, numbers: BitMap) -> BitMap:
        """The live partitions of `upstream` that any of these of `downstream` depends on."""
        return self.link(downstream, upstream).above(numbers) & self.live(upstream)

    def below(self, downstream: str, upstream: str, numbers: BitMap) -> BitMap:
        """The live partitions of `downstream` that depend on any of these of `upstream`."""
        return self.link(downstream, upstream).below(numbers) & self.live(downstream)

    def single(self, downstream: str, upstream: str) -> bool:
        """Whether each partition depends on one upstream partition, rather than on several."""
        spec = self._spec(downstream)
        dep = next(dep for dep in spec.deps if dep.asset == upstream)
        above = self.definitions.asset[upstream].partitions
        return gives_one(self.definitions.mapping(spec, dep), above, spec.partitions)

    def _spec(self, name: str) -> AssetSpec:
        spec = self.definitions.stepped(name)
        assert spec is not None, "an asset or a check"
        return spec
