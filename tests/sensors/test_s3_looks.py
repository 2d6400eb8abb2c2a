"""The S3 sensor's looks, on an S3 of our own that misbehaves when told to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from tests.sensors.s3_support import CANARY, OBJECTS, made, quick, sensor
from tests.sensors.support import NOW, Killed, World
from tests.support.fake_s3 import BEGAN, FakeS3, Fault, fake_s3

from freshet import AddPartitions, DefinitionError, RetryLater, RunRequest
from freshet_sensors import S3Sensor
from freshet_sensors.s3_client import S3Error

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)


@pytest.fixture
async def s3(anyio_backend: str) -> AsyncIterator[FakeS3]:
    async with fake_s3() as made:
        yield made


def many(s3: FakeS3, count: int, folder: str = "") -> None:
    for number in range(count):
        s3.put(f"{folder}{number:05}.csv")


async def test_an_object_becomes_a_partition_and_a_run(s3: FakeS3) -> None:
    etag = s3.put("in/day 1/orders+é.csv", "some text")
    async with sensor(s3, prefix="in/") as one:
        world = World()
        assert await world.tick(one) == [
            AddPartitions(
                OBJECTS,
                {
                    "orders+é": {
                        "bucket": "lake",
                        "key": "in/day 1/orders+é.csv",
                        "etag": etag,
                        "size": 9,
                        "last_modified": BEGAN.timestamp(),
                        "version_id": None,
                    }
                },
            ),
            RunRequest(
                "raw", partition="orders+é", run_key=f"lake/in/day 1/orders+é.csv@{etag}+{BEGAN:%Y-%m-%dT%H:%M:%SZ}"
            ),
        ]
        assert await world.tick(one) == []


async def test_late_out_of_order_same_second_and_overwritten_keys_are_all_found(s3: FakeS3) -> None:
    world = World()
    async with sensor(s3) as one:
        s3.put("berlin/2.csv")
        await world.tick(one)
        s3.put("amsterdam/1.csv", at=BEGAN)  # sorts before all that was seen, in the same second
        s3.put("zurich/3.csv", at=BEGAN - timedelta(days=7))  # an upload of many parts, finished long after its time
        await world.tick(one)
        s3.put("berlin/2.csv", "other")
        await world.tick(one)
    names = [key.partition("@")[0].rpartition("/")[2] for key in world.run_keys]
    assert names == ["2.csv", "1.csv", "3.csv", "2.csv"]


async def test_an_overwrite_with_the_same_bytes_is_no_news(s3: FakeS3) -> None:
    world = World()
    async with sensor(s3) as one:
        for _ in range(2):
            s3.put("a.csv", "same")
            await world.tick(one)
    assert len(world.runs) == 1


async def test_markers_of_folders_and_other_names_are_passed_over(s3: FakeS3) -> None:
    s3.put("in/", "")
    s3.put("in/sub/", "")
    s3.put("in/notes.txt")
    s3.put("other/a.csv")
    world = World()
    async with sensor(s3, prefix="in/", pattern="**", key=None, order="any") as one:
        await world.tick(one)
        await world.tick(one, ["in/", "in/sub/"])
    assert [run.partition for run in world.runs] == ["notes.txt"]


async def test_that_nothing_is_meant_is_said(s3: FakeS3) -> None:
    s3.put("in/a.csv")
    world = World()
    async with sensor(s3, prefix="in", pattern="{name}.csv") as one:  # the slash is missing
        await world.tick(one)
    assert world.skips == ["none of 1 objects below 'in' is meant by the pattern"]


async def test_a_key_that_no_set_may_hold_is_reported_once(s3: FakeS3) -> None:
    s3.put(f"{'x' * 201}.csv")
    world = World()
    async with sensor(s3) as one:
        await world.tick(one)
        await world.tick(one)
    assert [message for level, message, _ in world.log.lines if level == "warning"] == ["object passed over"]


async def test_pieces_are_small_and_pages_commit(s3: FakeS3) -> None:
    s3.page = 400
    many(s3, 1000)
    world = World()
    async with sensor(s3) as one:
        with pytest.raises(Killed):
            await world.tick(one, kill_after=3)
        assert len(world.runs) == 250 + 150 + 250
        assert world.cursor["after"] == "00399.csv"
        await world.tick(one)
        assert len(world.runs) == len(set(world.run_keys)) == 1000
        assert "after" not in world.cursor


async def test_a_long_first_listing_goes_on_where_it_was_cut(s3: FakeS3) -> None:
    s3.page = 100
    many(s3, 500)
    world = World()
    async with sensor(s3) as one:
        with pytest.raises(Killed):
            await world.tick(one, kill_after=2)
    async with sensor(s3) as one:  # another evaluator
        s3.asked.clear()
        await world.tick(one)
    assert s3.asked[0] == "00199.csv"
    assert len(world.runs) == 500


async def test_what_is_known_costs_no_commit(s3: FakeS3) -> None:
    s3.page = 10
    many(s3, 100)
    world = World()
    async with sensor(s3) as one:
        await world.tick(one)
        before, cursor = world.commits, world.cursor
        await world.tick(one)
    assert (world.commits - before, world.cursor) == (1, cursor)  # the end of the look, with nothing in it
    assert cursor["pages"] == 10
    assert [fields for _, message, fields in world.log.lines if message == "list calls a day"] == [
        {"bucket": "lake", "pages": 10, "calls": "14,400"}
    ]


# --- listings that break --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["few", "no_token", "same_token"])
async def test_a_listing_that_breaks_keeps_what_it_saw_and_goes_on(s3: FakeS3, fault: Fault) -> None:
    s3.page = 10
    many(s3, 50)
    world = World()
    async with sensor(s3, retire=True) as one:
        await world.tick(one)
        s3.delete("00000.csv")
        s3.put("00001.csv", "new")
        s3.put("00045.csv", "new")
        s3.faults.extend([None, None, fault])
        with pytest.raises(RetryLater):
            await world.tick(one)
        assert "00001" in world.run_keys[-1], "seen before it broke"
        assert "00000" in world.partitions, "a listing that breaks says nothing of what has gone"
        s3.faults.clear()
        await world.tick(one)
        await world.tick(one)
    assert "00045" in "".join(world.run_keys[50:])
    assert "00000" not in world.partitions
    warned = [message for level, message, _ in world.log.lines if level == "warning"]
    assert warned == ["a listing did not come to its end"]
    assert "listings come to their end again" in [message for _, message, _ in world.log.lines]


@pytest.mark.parametrize("fault", ["slow_down", "cut", "xml"])
async def test_a_busy_service_is_borne(s3: FakeS3, fault: Fault) -> None:
    many(s3, 3)
    s3.faults.extend([fault, fault])
    world = World()
    async with sensor(s3) as one:
        await world.tick(one)
    assert len(world.runs) == 3
    assert s3.calls["list"] == 3


async def test_patience_has_an_end_and_the_cursor_stays(s3: FakeS3) -> None:
    s3.page = 10
    many(s3, 30)
    world = World()
    async with sensor(s3) as one:
        busy: list[Fault] = ["slow_down"] * 10
        s3.faults.extend([None, *busy])
        with pytest.raises(RetryLater, match="SlowDown"):
            await world.tick(one)
        assert s3.calls["list"] == 5, "three more tries, and no more"
        assert (len(world.runs), world.cursor["after"]) == (10, "00009.csv")
        cursor = world.cursor
        with pytest.raises(RetryLater):
            await world.tick(one)
        assert world.cursor == cursor
        s3.faults.clear()
        await world.tick(one)
    assert len(world.runs) == 30


async def test_pages_out_of_order_lose_nothing(s3: FakeS3) -> None:
    s3.page = 10
    many(s3, 30)
    world = World()
    async with sensor(s3, retire=True) as one:
        s3.faults.extend(["reversed", "reversed", None])
        await world.tick(one)
        assert len(world.runs) == 30
        await world.tick(one)
    assert len(world.partitions) == 30


async def test_what_does_not_pass_is_said_with_its_remedy_and_without_secrets(s3: FakeS3) -> None:
    s3.faults.append("denied")
    world = World()
    async with sensor(s3) as one:
        with pytest.raises(S3Error, match=r"AccessDenied.*s3:ListBucket") as caught:
            await world.tick(one)
        assert CANARY not in repr(caught.value) + str(one.spec) + str(world.log.lines)
        many(s3, 1)
        await world.tick(one)
    assert len(world.runs) == 1


# --- deletions ------------------------------------------------------------------------------------------------


async def test_a_deletion_retires_its_key_and_what_comes_back_runs_again(s3: FakeS3) -> None:
    world = World()
    async with sensor(s3, retire=True) as one:
        etag = s3.put("x/a.csv")
        s3.put("y/a.csv")
        s3.put("x/b.csv")
        await world.tick(one)
        s3.delete("x/a.csv")
        s3.delete("x/b.csv")
        await world.tick(one)
        assert set(world.partitions) == {"a"}, "the other a is still there"
        s3.put("x/b.csv")
        await world.tick(one)
    assert world.run_keys[-1] == f"lake/x/b.csv@{etag}+2026-11-21T08:00:00Z#1", "also within the same second"


@pytest.mark.parametrize("versions", ["one", "another"])
async def test_bytes_that_come_back_are_another_version(s3: FakeS3, versions: str) -> None:
    world = World()
    async with sensor(s3) as one:
        for text in ("same", None, "same") if versions == "one" else ("same", "other", "same"):
            s3.now += 1
            if text is None:
                s3.delete("a.csv")
            else:
                s3.put("a.csv", text)
            await world.tick(one)
    assert len(set(world.run_keys)) == len(world.runs) == (2 if versions == "one" else 3), "no run is another's double"


async def test_a_version_has_one_run_key_whoever_finds_it(s3: FakeS3) -> None:
    s3.put("a.csv", "1")
    worlds = World(), World(), World()
    async with sensor(s3) as one:
        await worlds[0].tick(one)
        await worlds[1].tick(one, ["a.csv"])
        s3.put("a.csv", "0")
        await worlds[2].tick(one)
        s3.put("a.csv", "1")
        await worlds[2].tick(one)  # as after a rollback: to this ledger, it was modified
    assert worlds[0].run_keys == worlds[1].run_keys == worlds[2].run_keys[-1:]


async def test_a_key_that_a_listing_leaves_out_is_looked_at_before_it_has_gone(s3: FakeS3) -> None:
    world = World()
    async with sensor(s3, retire=True) as one:
        s3.put("a.csv")
        await world.tick(one)
        s3.hide("a.csv", 100)
        await world.tick(one)
    assert (set(world.partitions), len(world.runs), s3.calls["head"]) == ({"a"}, 1, 1)


async def test_what_a_notification_brought_in_before_the_first_listing_shows_it_stays(s3: FakeS3) -> None:
    world = World()
    async with sensor(s3, retire=True) as one:
        s3.put("a.csv", hidden=1)
        await world.tick(one, ["a.csv"])
        assert set(world.entries) == {"a.csv"}
        s3.now += 1
        await world.tick(one)
    assert (set(world.partitions), len(world.runs)) == ({"a"}, 1)


async def test_a_key_stays_where_an_object_that_listings_leave_out_has_it(s3: FakeS3) -> None:
    world = World()
    async with sensor(s3, retire=True) as one:
        s3.put("x/a.csv")
        s3.put("y/a.csv")
        await world.tick(one)
        s3.hide("x/a.csv", 100)
        s3.delete("y/a.csv")
        await world.tick(one)
    assert set(world.partitions) == {"a"}


async def test_without_partitions_a_deletion_asks_for_a_run(s3: FakeS3) -> None:
    world = World()
    async with sensor(s3, partitions=None, key=None, on=["created", "deleted"]) as one:
        s3.put("a.csv")
        await world.tick(one)
        s3.delete("a.csv")
        await world.tick(one)
        await world.tick(one)
    assert [dict(run.tags) for run in world.runs] == [
        {"object": "a.csv", "change": "created"},
        {"object": "a.csv", "change": "deleted"},
    ]


async def test_another_prefix_is_another_place(s3: FakeS3) -> None:
    s3.put("old/a.csv")
    s3.put("new/a.csv")
    s3.put("old/b.csv")
    world = World()
    async with sensor(s3, prefix="old/", retire=True) as one:
        await world.tick(one)
    async with sensor(s3, prefix="new/", retire=True) as one:
        await world.tick(one)
    assert set(world.partitions) == {"a", "b"}, "what the old place held has not been deleted"
    assert (len(world.runs), set(world.entries)) == (3, {"a.csv"})


async def test_a_bucket_that_is_gone_is_an_error_that_names_it_and_no_deletion(s3: FakeS3) -> None:
    many(s3, 3)
    world = World()
    async with sensor(s3, retire=True) as one:
        await world.tick(one)
        s3.there = False
        for hints in (["00000.csv"], None):
            with pytest.raises(S3Error, match=r"bucket lake: NoSuchBucket.*make the bucket"):
                await world.tick(one, hints)
        assert (len(world.partitions), len(world.entries)) == (3, 3)
        s3.there = True
        await world.tick(one)
    assert (len(world.partitions), len(world.runs)) == (3, 3)


async def test_a_bucket_that_goes_behind_the_last_page_takes_nothing_along(s3: FakeS3) -> None:
    many(s3, 3)
    world = World()
    async with sensor(s3, retire=True) as one:
        await world.tick(one)
        s3.hide("00001.csv", 100)
        listed, gone = s3.calls["list"], s3.answer_head

        def answer_head(key: str) -> tuple[int, dict[str, str]]:
            s3.there = s3.calls["list"] == listed
            return gone(key)

        s3.answer_head = answer_head  # type: ignore[method-assign]
        with pytest.raises(S3Error, match="NoSuchBucket"):
            await world.tick(one)
    assert len(world.partitions) == 3


# --- the first look -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "taken"),
    [("all", {"a", "b", "c"}), ("now", {"c"}), (BEGAN, {"b", "c"}), (BEGAN.isoformat(), {"b", "c"})],
)
async def test_where_to_start(s3: FakeS3, start: Any, taken: set[str]) -> None:
    world = World()
    async with sensor(s3, start=start) as one:
        s3.put("a.csv", at=BEGAN - timedelta(days=1))
        s3.put("b.csv", at=BEGAN)
        await world.tick(one)
        s3.put("c.csv", at=BEGAN - timedelta(days=9))  # late, with an old time: a time decides nothing later
        await world.tick(one)
    assert set(world.partitions) == taken


# --- by key ---------------------------------------------------------------------------------------------------


async def test_by_key_one_cheap_call_and_a_full_look_now_and_then(s3: FakeS3) -> None:
    s3.page = 10
    many(s3, 50)
    world = World()
    async with sensor(s3, order="key", reconcile="1h") as one:
        await world.tick(one)
        s3.calls.clear()
        s3.put("00050.csv")
        s3.put("00010a.csv")  # out of order: the next full look finds it
        await world.tick(one, now=NOW + timedelta(minutes=59))
        assert (len(world.runs), s3.calls["list"], world.cursor["low"]) == (51, 1, "00050.csv")
        await world.tick(one, now=NOW + timedelta(minutes=61))
    assert len(world.runs) == 52


async def test_by_key_nothing_advances_past_what_was_not_committed(s3: FakeS3) -> None:
    world = World()
    async with sensor(s3, order="key") as one:
        await world.tick(one)
        s3.page = 300
        many(s3, 600)
        with pytest.raises(Killed):
            await world.tick(one, kill_after=3)
        assert (len(world.runs), world.cursor["low"]) == (550, "00299.csv")
        await world.tick(one)
        s3.put("00700.csv")
        await world.tick(one, ["00700.csv"])  # a hint runs ahead
        assert world.cursor["low"] == "00599.csv"
        s3.put("00650.csv")
        await world.tick(one)
    assert len(world.runs) == len(set(world.run_keys)) == 602


async def test_by_key_a_broken_full_look_is_no_reconcile(s3: FakeS3) -> None:
    world = World()
    async with sensor(s3, order="key") as one:
        many(s3, 3)
        s3.faults.append("few")
        with pytest.raises(RetryLater):
            await world.tick(one)
        assert "reconciled" not in world.cursor
        await world.tick(one)
        assert world.cursor["reconciled"] == NOW.timestamp()


# --- hints ----------------------------------------------------------------------------------------------------


async def test_a_hinted_look_asks_for_the_named_keys_alone(s3: FakeS3) -> None:
    world = World()
    async with sensor(s3, retire=True, pattern="{name}.csv", key=None) as one:
        s3.put("a.csv")
        await world.tick(one)
        s3.calls.clear()
        s3.put("b.csv")
        s3.put("c.csv")
        s3.delete("a.csv")
        s3.head_faults.append("503_head")
        await world.tick(one, ["b.csv", "a.csv", "gone.csv", "b.txt"])
        assert (set(world.partitions), dict(s3.calls)) == ({"b"}, {"head": 4, "list": 1})
        await world.tick(one, ["b.csv", "b.csv"])
        await world.tick(one)
    assert sorted(run.partition or "" for run in world.runs) == ["a", "b", "c"]


async def test_a_dry_run_leaves_no_trace(s3: FakeS3) -> None:
    many(s3, 3)
    world = World()
    async with sensor(s3) as one:
        said = await world.tick(one, dry_run=True)
        assert (len(said), world.cursor, one.sweep) == (4, None, None)


# --- what is asked for ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"secret_key": CANARY}, "the secret itself stands in the plugin"),
        ({"access_key": None}, "go together"),
        ({"bucket": "lake/in"}, "no bucket's name"),
        ({"prefix": "/in"}, "do not begin with a slash"),
        ({"endpoint_url": "lake.example.org"}, "is no URL"),
        ({"endpoint_url": f"https://me:{CANARY}@lake.example.org"}, "name or password"),
        ({"queue_url": "landing"}, "is no URL"),
        ({"order": "time"}, "order='time' is unknown"),
        ({"reconcile": None}, "cannot be switched off"),
        ({"reconcile": "0s"}, "cannot be switched off"),
        ({"start": "tomorrow"}, "start='tomorrow' is unknown"),
        ({"start": "2026-11-21T08:00:00"}, "has no zone"),
        ({"on": ["moved"]}, "is no change"),
        ({"partitions": None}, "about partitions"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(DefinitionError, match=match) as caught:
        made("http://127.0.0.1:1", **options)
    assert CANARY not in str(caught.value)


async def test_a_reference_that_leads_nowhere_is_said(s3: FakeS3, tmp_path: Any) -> None:
    for reference, match in (
        ("env:NOT_THERE", "no NOT_THERE"),
        (f"file:{tmp_path}/no", "cannot be read"),
        ("cred:x", "Lo"),
    ):
        async with sensor(s3, secret_key=reference) as one:
            with pytest.raises(S3Error, match=match):
                await World().tick(one)
    (tmp_path / "key").write_text(CANARY + "\n")
    async with sensor(s3, secret_key=f"file:{tmp_path}/key") as one:
        await World().tick(one)


def test_the_options_show_what_it_costs_and_no_secrets() -> None:
    shown = S3Sensor("landing", bucket="lake", target="raw", interval="30s").spec.options
    assert shown["list_calls"] == "2,880 a day for 1,000 keys"
    assert S3Sensor("landing", bucket="lake", target="raw").spec.wakes is False
    assert made("http://127.0.0.1:1", queue_url="http://127.0.0.1:1/q").spec.wakes is True
