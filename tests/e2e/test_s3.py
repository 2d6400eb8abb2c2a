"""Objects that land in a bucket, through the whole daemon."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.support.daemon import Site
from tests.support.moto import KEYS, Moto, moto_server

MakeSite = Callable[..., Site]

PLUGIN = """
from freshet import DynamicPartitions, asset
from freshet_sensors import S3Sensor

batches = DynamicPartitions("batches")
landing = S3Sensor(
    "landing", bucket="lake", prefix="in/", endpoint_url="{url}", access_key="env:S3_KEY", secret_key="env:S3_SECRET",
    queue_url="{queue}", pattern="{{batch}}.csv", partitions=batches, target="raw", interval="1h", retire=True,
)


@asset(partitions=batches)
def raw(ctx) -> str:
    return ctx.partition.metadata["key"]
"""


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    with moto_server() as server:
        yield server


def test_an_object_runs_once_through_a_kill_and_its_message_is_deleted(make_site: MakeSite, moto: Moto) -> None:
    s3, queue = moto.bucket("lake"), moto.notify("lake")
    s3.put_object(Bucket="lake", Key="in/before.csv", Body=b"1")
    site = make_site(PLUGIN.format(url=moto.url, queue=queue), env=KEYS)
    daemon = site.start().ready()
    daemon.wait_until(lambda: len(daemon.runs("raw")) == 1 and daemon.idle(), "what was there is found")
    s3.put_object(Bucket="lake", Key="in/told.csv", Body=b"2")
    daemon.wait_until(lambda: len(daemon.runs("raw")) == 2 and daemon.idle(), "a message wakes")
    daemon.wait_until(lambda: moto.waiting(queue) == (0, 0), "the messages are deleted")
    daemon.kill()
    s3.put_object(Bucket="lake", Key="in/meanwhile.csv", Body=b"3")
    again = site.start().ready()
    again.wait_until(lambda: len(again.runs("raw")) == 3 and again.idle(), "what came while it was down is found")
    s3.delete_object(Bucket="lake", Key="in/told.csv")
    again.wait_until(
        lambda: {one.key for one in again.client.partitions("batches").partitions} == {"before", "meanwhile"},
        "it is retired",
    )
    assert [run.state for run in again.runs("raw")] == ["succeeded"] * 3
    shown = site.cli("sensors", "--json").stdout
    assert "env:S3_KEY" in shown
    for text in (shown, site.log_text(), *(path.read_text(errors="replace") for path in site.state.glob("runs/*/*"))):
        assert KEYS["S3_SECRET"] not in text
    assert again.stop() == 0
