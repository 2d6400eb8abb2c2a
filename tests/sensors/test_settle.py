"""When a file has stood still for long enough: in the time that the looks name, no other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from freshet_sensors.scan import File, Row
from freshet_sensors.settle import Settling


def file(at: float, size: int = 1, inode: int = 1) -> Row:
    return File("a", size, round(at * 1e9), inode).row


def test_an_old_file_is_taken_at_the_first_look() -> None:
    assert Settling(0.25).wait("a", file(10), 10.25) == 0
    assert Settling(0.25).wait("a", file(10), 10.125) == 0.125


def test_a_file_from_the_future_needs_two_looks_that_agree() -> None:
    settling = Settling(2)
    assert settling.wait("a", file(1e6), 10) == 2
    assert settling.wait("a", file(1e6), 11) == 1
    assert settling.wait("a", file(1e6), 12) == 0


def test_where_the_clocks_may_differ_an_old_file_needs_two_looks_too() -> None:
    settling = Settling(2, trusted=False)
    assert settling.wait("a", file(0), 1000) == 2
    assert settling.wait("a", file(0), 1002) == 0


def test_any_change_begins_anew() -> None:
    settling = Settling(2, trusted=False)
    for now, seen in enumerate([file(0), file(0, size=2), file(0, size=2, inode=5), None, file(0)]):
        assert settling.wait("a", seen, now) == 2
    assert settling.wait("a", file(0), 6) == 0


def test_a_step_back_of_the_clock_begins_anew_and_starves_nothing() -> None:
    settling = Settling(2, trusted=False)
    assert settling.wait("a", file(0), 1000) == 2
    assert settling.wait("a", file(0), 500) == 2
    assert settling.wait("a", file(0), 502) == 0


def test_what_was_renamed_does_not_wait_once() -> None:
    settling = Settling(2)
    settling.renamed("a")
    assert settling.wait("a", file(10), 10) == 0
    settling.forget("a", settling.begin())
    assert settling.wait("a", file(11), 11) == 2


def test_what_was_renamed_and_then_written_to_waits() -> None:
    settling = Settling(2)
    settling.renamed("a")
    settling.written("a")
    assert settling.wait("a", file(10), 10) == 2


def test_a_rename_heard_of_during_a_look_is_for_the_next() -> None:
    settling = Settling(2)
    begun = settling.begin()
    settling.renamed("a")
    settling.keep(set(), begun)
    settling.forget("a", begun)
    assert settling.wait("a", file(10), 10) == 0


def test_no_time_to_settle_is_none() -> None:
    assert Settling(0).wait("a", file(99), 1) == 0


def test_a_copy_leaves_no_trace() -> None:
    settling = Settling(2)
    settling.renamed("a")
    copy = settling.copy()
    copy.forget("a", copy.begin())
    assert copy.wait("a", file(10), 10) == 2
    assert settling.wait("a", file(10), 10) == 0


def test_what_a_full_look_did_not_meet_is_forgotten() -> None:
    settling = Settling(2, trusted=False)
    settling.wait("a", file(0), 0)
    settling.renamed("b")
    settling.keep({"c"}, settling.begin())
    assert settling.wait("a", file(0), 10) == 2
    assert settling.wait("b", file(0), 10) == 2


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), min_size=1, max_size=30), st.booleans())
def test_nothing_is_taken_before_it_stood_still_and_everything_is_after(
    looks: list[tuple[float, bool]], trusted: bool
) -> None:
    settling = Settling(2, trusted=trusted)
    now = written = 100.0
    for pause, write in looks:
        now += pause
        if write:
            written = now
        wait = settling.wait("a", file(written), now)
        assert 0 <= wait <= 2
        if wait == 0:
            assert now - written >= 2 - 1e-6
            settling.forget("a", settling.begin())
    last = settling.wait("a", file(written), now)
    assert settling.wait("a", file(written), now + last + 1e-6) == 0


def test_what_waits_is_counted_with_the_age_of_the_oldest() -> None:
    settling = Settling(5.0, trusted=False)
    assert settling.waiting() == (0, None)
    settling.wait("a", ("a", 1, 0, 1), 100.0)
    settling.wait("b", ("b", 1, 0, 2), 103.0)
    assert settling.waiting() == (2, 100.0)
    settling.wait("a", ("a", 2, 0, 1), 104.0)
    assert settling.waiting() == (2, 103.0), "it has changed, and waits from now"
    settling.forget("b", settling.begin())
    assert settling.waiting() == (1, 104.0)
