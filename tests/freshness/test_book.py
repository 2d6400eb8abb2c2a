"""Freshness: what is due when, scene by scene, and against an oracle that looks at every moment."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from freshet.definitions.asset import AssetSpec
from freshet.definitions.freshness import FreshnessSpec
from freshet.definitions.graph import Definitions
from freshet.engine.freshness import FreshnessBook, next_deadline, state_at
from freshet.store.records import Event, FreshnessChange, FreshnessRow


def policies(**specs: FreshnessSpec | None) -> Definitions:
    return Definitions(assets=tuple(AssetSpec(name, freshness=spec) for name, spec in specs.items()))


def made(asset: str, seq: int, at: float) -> Event:
    return Event(seq, seq, at, "materialized", asset=asset, partition=0, run_id=1)


def row(asset: str = "a", *, at: float = 0.0, seq: int = 1, state: str = "fresh") -> FreshnessRow:
    return FreshnessRow(asset, 0, None, 0.0, seq, at, state)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def told(changes: list[FreshnessChange]) -> list[tuple[str, str | None, float | None]]:
    return [(change.row.asset, change.event, change.deadline) for change in changes]


POLICY = FreshnessSpec(within=60.0, warn=45.0)


def test_it_warns_then_lapses_and_a_materialization_restores() -> None:
    book = FreshnessBook(policies(a=POLICY), [row()])
    assert book.next_deadline() == 45
    assert book.due(44.999) == []
    assert told(book.due(45)) == [("a", "freshness_warned", 45)]
    assert book.next_deadline() == 60
    assert told(book.due(60)) == [("a", "freshness_lapsed", 60)]
    assert book.next_deadline() is None
    assert book.due(1e9) == []
    assert book.on_events([made("a", 2, 100.0)]), "what it ends, the store tells"
    assert book.next_deadline() == 145


def test_a_materialization_in_time_moves_the_deadline_without_an_event() -> None:
    book = FreshnessBook(policies(a=POLICY), [row()])
    assert book.on_events([made("a", 2, 40.0)])
    now = book.row("a")
    assert now is not None and now.baseline_at == 40
    assert book.due(84) == []
    assert told(book.due(85)) == [("a", "freshness_warned", 85)]


def test_a_lapse_while_the_daemon_was_down_is_told_at_start_with_its_nominal_deadline() -> None:
    book = FreshnessBook(policies(a=POLICY), [row()])
    assert told(book.due(5000)) == [("a", "freshness_lapsed", 60)]


def test_a_clock_that_steps_back_reopens_nothing() -> None:
    book = FreshnessBook(policies(a=POLICY), [row()])
    book.due(60)
    assert book.due(10) == [] and book.due(61) == []
    book.on_events([made("a", 2, 5.0)])
    now = book.row("a")
    assert now is not None and now.baseline_at == 5.0 and now.state == "fresh"


def test_an_edited_policy_moves_the_deadline_and_tells_nothing_twice() -> None:
    book = FreshnessBook(policies(a=POLICY), [row()])
    book.due(45)
    book.redefine(policies(a=FreshnessSpec(within=600.0, warn=500.0)))
    assert book.due(500) == []  # it has warned in this episode
    assert told(book.due(600)) == [("a", "freshness_lapsed", 600)]
    book.redefine(policies(a=FreshnessSpec(within=6000.0)))
    assert book.due(7000) == []
    book.redefine(policies(a=None))
    assert book.next_deadline() is None and book.row("a") is None
    assert not book.on_events([made("a", 2, 7001.0)])


def test_a_shorter_policy_lapses_at_once() -> None:
    book = FreshnessBook(policies(a=POLICY), [row()])
    book.redefine(policies(a=FreshnessSpec(within=10.0)))
    assert told(book.due(20)) == [("a", "freshness_lapsed", 10)]


def test_other_assets_and_old_events_change_nothing() -> None:
    book = FreshnessBook(policies(a=POLICY, b=None), [row(seq=5)])
    events = [made("b", 6, 30.0), made("a", 5, 30.0), replace(made("a", 7, 30.0), type="failed")]
    assert not book.on_events(events)


def test_the_heap_holds_one_entry_an_asset() -> None:
    book = FreshnessBook(policies(a=POLICY, b=POLICY), [row("a"), row("b")])
    for seq in range(2, 1000):
        book.on_events([made("a", seq, float(seq) / 100)])
    assert len(book._heap) == 2  # pyright: ignore[reportPrivateUsage]


def test_a_report_counts_if_it_is_later_than_what_is_known() -> None:
    book = FreshnessBook(policies(a=POLICY), [row(at=50.0)])
    book.due(110)
    assert not book.on_events([replace(made("a", 2, 111.0), data={"at": 50.0, "begun": 50.0})])
    assert book.on_events([replace(made("a", 3, 112.0), data={"at": 51.0, "begun": 51.0})]), "it counts"
    now = book.row("a")
    assert now is not None and (now.state, now.baseline_seq, now.baseline_at) == ("lapsed", 3, 51.0), (
        "too old to end it"
    )
    assert book.due(1e6) == [], "and no second lapse"
    assert book.on_events([replace(made("a", 4, 113.0), data={"at": 60.0, "begun": 60.0})])
    assert told(book.due(113)) == [("a", "freshness_warned", 105)]
    assert told(book.due(120)) == [("a", "freshness_lapsed", 120)]


def test_the_first_report_may_be_older_than_the_policy() -> None:
    book = FreshnessBook(policies(a=POLICY), [row(at=100.0, seq=0)])
    book.on_events([replace(made("a", 2, 101.0), data={"at": 70.0, "begun": 70.0})])
    assert book.next_deadline() == 115


Step = tuple[str, str, float]
steps = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]), st.sampled_from(["made", "wait", "edit"]), st.sampled_from([1.0, 5.0, 30.0])
    ),
    max_size=40,
)
specs = st.sampled_from([FreshnessSpec(10.0), FreshnessSpec(10.0, 4.0), FreshnessSpec(33.0, 32.0), None])


@settings(max_examples=150, deadline=None)
@given(steps=steps, edits=st.lists(specs, min_size=41, max_size=41), lazy=st.booleans())
def test_it_agrees_with_looking_at_every_moment(
    steps: list[Step], edits: list[FreshnessSpec | None], lazy: bool
) -> None:
    """The oracle keeps only baseline and worst state, and asks at every half second; the book only when it said."""
    in_force: dict[str, FreshnessSpec | None] = {"a": FreshnessSpec(10.0, 4.0), "b": FreshnessSpec(33.0, 32.0)}
    book = FreshnessBook(policies(**in_force), [row("a"), row("b")])
    baseline, worst = {"a": 0.0, "b": 0.0}, {"a": 0, "b": 0}
    names = ("fresh", "warn", "lapsed")
    expected: list[tuple[str, str]] = []
    heard: list[tuple[str, str]] = []
    now, seq = 0.0, 1

    def look() -> None:
        for asset, spec in in_force.items():
            if spec is not None:
                age = now - baseline[asset]
                assert spec.within is not None
                state = 2 if age >= spec.within else 1 if spec.warn is not None and age >= spec.warn else 0
                if state > worst[asset]:
                    worst[asset] = state
                    expected.append((asset, names[state]))
        due = book.next_deadline()
        if not lazy or (due is not None and due <= now):
            heard.extend((change.row.asset, change.row.state) for change in book.due(now))

    for index, (asset, kind, seconds) in enumerate(steps):
        if kind == "wait":
            for _ in range(int(seconds * 2)):
                now += 0.5
                look()
        elif kind == "made":
            seq += 1
            if in_force[asset] is not None:
                baseline[asset] = now
                worst[asset] = 0
            book.on_events([made(asset, seq, now)])
        else:
            in_force[asset] = edits[index]
            book.redefine(policies(**in_force))
            look()
        assert sorted(heard) == sorted(expected)


@given(
    within=st.floats(1, 1e6),
    share=st.one_of(st.none(), st.floats(0, 0.99)),
    at=st.floats(0, 2e9),
    now=st.floats(0, 2e9),
)
def test_deadlines_and_states_agree(within: float, share: float | None, at: float, now: float) -> None:
    policy = FreshnessSpec(within, None if share is None else within * share)
    state = state_at(policy, at, now)
    following = next_deadline(policy, at, state)
    assert (following is None) == (state == "lapsed")
    if following is not None:
        assert following > now
        assert state_at(policy, at, following, state) != state
