"""What items have made, kept for later runs: against a dict that is gone through."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet import CacheKey, DefinitionError
from freshet.definitions.cache import CacheSpec
from freshet.host.fanout.cache import ItemCache
from freshet.host.fanout.call import checked
from freshet.host.fanout.record import Kept

ITEM = st.sampled_from([1, "1", [1], {"a": 1, "b": None}, {"b": None, "a": 1}, None, 1.5, {1, 2}])


def first(item: Any) -> Any:
    return item


def second(item: Any) -> Any:
    return [item]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([first, second]),
            ITEM,
            st.booleans(),
            st.sampled_from([None, 10.0, 100.0]),
            st.integers(0, 40),
            st.sampled_from(["a", "b"]),
        ),
        max_size=20,
    )
)
def test_what_is_found_is_what_was_kept_within_its_time(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[Any, Any, bool, float | None, int, str]]
) -> None:
    runs, now = tmp_path_factory.mktemp("runs"), 1_000_000.0
    kept: dict[tuple[str, str, bool, str], tuple[float, Kept]] = {}
    for run, (function, item, code, ttl, seconds, step) in enumerate(calls):
        now += seconds
        cache = ItemCache(runs, step, function, CacheSpec(code=code, ttl=ttl), now)
        of_call = step, function.__name__, code
        if ttl is not None:
            kept = {name: one for name, one in kept.items() if name[:3] != of_call or one[0] > now - ttl}
        found = kept.get((*of_call, repr(item)), (0.0, None))[1]
        assert cache.find(item) == found
        if found is None:
            made = Kept(b"[%d]" % run, run)
            cache.keep(item, made, now)
            if not isinstance(item, set):  # no JSON
                kept[*of_call, repr(item)] = now, made
            for path in (runs / "cache" / step).iterdir():
                if path.stat().st_mtime > 2_000_000:
                    os.utime(path, (now, now))


def test_what_was_cleared_meanwhile_is_not_kept(tmp_path: Path) -> None:
    cache = ItemCache(tmp_path, "work", first, CacheSpec(), 0.0)
    (tmp_path / "cache" / "work").rename(tmp_path / "gone")
    cache.keep(1, Kept(b"1", 1), 0.0)
    assert ItemCache(tmp_path, "work", first, CacheSpec(), 0.0).find(1) is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"at": 1.0, "run": 1}', b'{"at": 1.0, "run": 1, "ref": {}}'])
def test_a_damaged_result_is_none(tmp_path: Path, damage: bytes) -> None:
    cache = ItemCache(tmp_path, "work", first, CacheSpec(), 0.0)
    cache.keep(1, Kept(b"1", 1), 0.0)
    (path,) = (tmp_path / "cache" / "work").iterdir()
    path.write_bytes(damage)
    assert ItemCache(tmp_path, "work", first, CacheSpec(), 0.0).find(1) is None


def test_a_rule_without_the_item_is_refused() -> None:
    with pytest.raises(DefinitionError, match="the item is what counts"):
        checked(first, [], retries=0, limit=None, timeout=None, raising=True, cache=CacheKey(inputs=False))
