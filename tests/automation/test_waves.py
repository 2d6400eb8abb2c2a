"""Updates that arrive one by one pass through a graph as one wave: each asset below them is made once."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from tests.automation.build import BATCHES, EAGER, graph, node
from tests.automation.plant import Plant

from freshet.definitions.condition import AutomationCondition
from freshet.definitions.graph import Definitions

LAYERS, WIDTH = 6, 4


def layers(automation: AutomationCondition = EAGER) -> Definitions:
    """Each asset below two of the layer above it; the first layer is made by hand."""
    first = [node(f"a0_{number}") for number in range(WIDTH)]
    below = [
        node(
            f"a{layer}_{number}",
            f"a{layer - 1}_{number}",
            f"a{layer - 1}_{(number + 1) % WIDTH}",
            automation=automation,
        )
        for layer in range(1, LAYERS)
        for number in range(WIDTH)
    ]
    return graph(*first, *below)


def test_roots_that_are_made_one_after_the_other_give_one_run_of_each_asset_below() -> None:
    plant = Plant(layers())
    for _ in range(3):  # missing at first, then there already
        plant.request(*(f"a0_{number}" for number in range(WIDTH)))
        made = Counter(name for name, _ in plant.run_all())
        assert made == Counter({name: 1 for name in plant.definitions.asset})


def test_one_root_gives_one_run_of_all_that_lies_below_it() -> None:
    plant = Plant(layers())
    plant.request(*(f"a0_{number}" for number in range(WIDTH)))
    plant.run_all()
    before = len(plant.waves)
    plant.request("a0_0")
    made = Counter(name for name, _ in plant.run_all())
    assert len(plant.waves) == before + 1
    assert set(made.values()) == {1}
    assert len(made) == 1 + sum(min(WIDTH, layer + 1) for layer in range(1, LAYERS))


def arms() -> Definitions:
    """A long and a short arm whose runs cannot be shared: a batch is not the whole."""
    return graph(
        node("root"),
        node("short", "root", partitions=BATCHES, automation=EAGER),
        node("long_1", "root", partitions=BATCHES, automation=EAGER),
        node("long_2", "long_1", automation=EAGER),
        node("tip", "short", "long_2", automation=EAGER),
    )


def test_the_tip_of_a_diamond_with_a_long_arm_waits_for_it_and_runs_once() -> None:
    plant = Plant(arms(), {"batches": [1]})
    for _ in range(3):
        made = Counter[str]()
        plant.request("root")
        for _ in range(5):  # several partitions in one are paced
            made.update(name for name, _ in plant.run_all())
            plant.wait(20.0)
        assert made == Counter({name: 1 for name in plant.definitions.asset})


def test_an_arm_that_stays_away_is_waited_for_no_longer_than_max_wait() -> None:
    plant = Plant(
        graph(
            node("root"),
            node("slow"),
            node("arm", "slow", automation=EAGER),
            node("tip", "root", "arm", automation=EAGER),
        )
    )
    plant.request("root", "slow")
    plant.run_all()
    made = len(plant.waves)
    slow = plant.request("slow", begin=True)
    plant.report("root")
    assert len(plant.waves) == made
    plant.wait(61.0)
    assert plant.waves[made:] == [(("tip",), None, 0)]
    plant.fail(slow, "slow")
    assert len(plant.waves) == made + 1


def test_what_waits_goes_on_as_soon_as_what_it_waits_for_has_failed() -> None:
    plant = Plant(
        graph(
            node("root"),
            node("slow"),
            node("arm", "slow", automation=EAGER),
            node("tip", "root", "arm", automation=EAGER),
        )
    )
    plant.request("root", "slow")
    plant.run_all()
    made = len(plant.waves)
    slow = plant.request("slow", begin=True)
    plant.report("root")
    assert len(plant.waves) == made
    plant.fail(slow, "slow")
    assert plant.waves[made:] == [(("tip",), None, 0)]


def test_an_asset_that_does_not_follow_updates_is_not_waited_for() -> None:
    plant = Plant(
        graph(
            node("root"),
            node("slow"),
            node("arm", "slow", automation=AutomationCondition.on_missing()),
            node("tip", "root", "arm", automation=EAGER),
        )
    )
    plant.request("root", "slow")
    plant.run_all()
    made = len(plant.waves)
    plant.request("slow", begin=True)
    plant.report("root")
    assert plant.waves[made:] == [(("tip",), None, 0)]


def test_what_lies_far_below_a_failure_holds_nothing() -> None:
    plant = Plant(
        graph(
            node("raw", partitions=BATCHES),
            node("clean", "raw", partitions=BATCHES, automation=EAGER),
            node("tidy", "clean", partitions=BATCHES, automation=EAGER),
            node("total", "tidy", automation=EAGER),
        ),
        {"batches": [1, 2]},
    )
    plant.request("raw", partition=1)
    plant.run_all()
    assert ("total",) not in [wave[0] for wave in plant.waves]
    broken = plant.request("raw", partition=2, begin=True)
    plant.fail(broken, "raw")
    assert plant.waves[-1] == (("total",), None, 0)


def test_an_update_of_the_root_of_1_000_assets_makes_each_below_once() -> None:
    """A hundred layers of ten, each asset below two of the layer above it."""
    names = [[f"a{layer}_{number}" for number in range(10)] for layer in range(100)]
    assets = [node("root"), *(node(name, "root", automation=EAGER) for name in names[0])]
    for above, below in pairwise(names):
        assets += [node(name, above[at], above[(at + 1) % 10], automation=EAGER) for at, name in enumerate(below)]
    plant = Plant(graph(*assets))
    for runs in (1, 2):  # missing at first, then there already
        plant.request("root")
        made = Counter(name for name, _ in plant.run_all(limit=2000))
        assert made == Counter({spec.name: 1 for spec in assets})
        assert len(plant.waves) == runs
