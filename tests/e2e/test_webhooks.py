"""Webhooks through a whole daemon: signed by the senders' own means, answered when flushed, run once, replayed."""

from __future__ import annotations

import hashlib
import json
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.daemon import Daemon, Site, site_at
from tests.support.signers import SECRET, STANDARD_SECRET, Sender, sign

SCHEMES = ("standard-webhooks", "github", "stripe", "slack", "gitlab", "hmac-sha256", "bearer", "none")

PLUGIN = """
import hashlib
import os
from freshet import DynamicPartitions, GiveUp, RunRequest, AddPartitions, asset, job, sensor, Sensor, Intake, Handled
from freshet_sensors import WebhookSensor

orders = DynamicPartitions("orders")


@job
def note(ctx, order: int = 0, text: str = "", id: str = "", event_id: str = ""): ...


@job
def other(ctx, order: int): ...


@asset(partitions=orders)
def raw(ctx):
    return ctx.partition.key


SECRETS = {"standard-webhooks": ("file:old-secret", "env:STANDARD"), "none": ()}
for scheme in ("standard-webhooks", "github", "stripe", "slack", "gitlab", "hmac-sha256", "bearer", "none"):
    declared = scheme in ("hmac-sha256", "bearer", "none")
    WebhookSensor(
        scheme,
        path=f"of/{scheme}",
        scheme=scheme,
        secret=SECRETS.get(scheme, "env:SECRET"),
        id_from="header:X-Delivery" if declared else None,
        target=note,
        interval="300ms",
    )


def keys(payload, delivery):
    if payload.get("boom"):
        raise ValueError("boom")
    if payload.get("never"):
        raise GiveUp("never right")
    if payload.get("file") and os.path.exists("mended"):
        return RunRequest(target="other", params={"order": 7})
    if payload.get("file"):
        raise RuntimeError("not mended")
    if payload.get("missing"):
        return RunRequest(target="raw", partition="nobody-added-it")
    if payload.get("unknown"):
        return RunRequest(target="nothing")
    if payload.get("nothing"):
        return None
    return [
        AddPartitions(orders, {payload["key"]: {"from": delivery.id}}),
        RunRequest(target="raw", partition=payload["key"]),
        RunRequest(target="other", params={"order": payload["order"]}),
    ]


WebhookSensor("mapped", path="mapped", scheme="none", id_from="json:/id", map=keys, interval="300ms",
              filter=lambda payload: not payload.get("skip"), partitions=orders)
WebhookSensor("unready", path="unready", scheme="github", secret="file:later", target=note)
WebhookSensor("watched", path="watched", scheme="github", secret="env:SECRET", observe=True, target=note)
WebhookSensor("large", path="large", scheme="none", max_body=8 << 20, target=note,
              map=lambda payload: RunRequest(params={"text": hashlib.sha256(payload).hexdigest()}))


class Stranger(Sensor):
    async def evaluate(self, ctx):
        for delivery in await ctx.inbox():
            yield Handled(delivery, results=[RunRequest(target="other", params={"order": len(delivery.body)})])


Stranger("stranger", intake=Intake("stranger", "none"))
"""


class World:
    """A daemon with hooks, and who delivers to it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        (site.folder / "old-secret").write_text("whsec_b2xkIG9uZQ==\n")
        self.daemon: Daemon = site.start().ready()
        self.sender = Sender(address(self.daemon))

    def inbox(self, sensor: str) -> dict[str, Any]:
        """What was delivered, by id."""
        return {one["delivery"]: one for one in self.site.cli_json("inbox", sensor, "-n", "1000")}

    def until(self, sensor: str, id: str, state: str) -> Any:
        """The delivery, once it is in that state."""

        def found() -> Any:
            rows = self.daemon.client.deliveries(sensor, limit=1000)
            return next((one for one in rows if one.delivery == id and one.state == state), None)

        return self.daemon.wait_until(found, f"delivery {id} is {state}")

    def params(self, target: str) -> list[dict[str, Any]]:
        """Of all runs of a job, oldest first."""
        return [dict(run.params) for run in reversed(self.daemon.runs(target))]


def address(daemon: Daemon) -> str:
    """Where it listens on TCP."""
    found = re.search(r"http=(http://\S+)", daemon.log_text())
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("hooks") / "site"
    with site_at(folder, plugins={"plugin.py": PLUGIN}, env={"SECRET": SECRET, "STANDARD": STANDARD_SECRET}) as site:
        made = World(site)
        yield made
        made.sender.close()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_delivery_signed_by_its_sender_runs_once(world: World, scheme: str) -> None:
    body = json.dumps({"order": 41, "id": f"evt-{scheme}", "event_id": f"Ev-{scheme}", "text": "grün"}).encode()
    own = {"stripe": f"evt-{scheme}", "slack": f"Ev-{scheme}"}.get(scheme, f"sent-{scheme}")
    first = world.sender.send(f"of/{scheme}", sign(scheme, body, id=f"sent-{scheme}"))
    assert (first.status_code, set(first.json())) == (202, {"id"})
    for _ in range(2):
        again = world.sender.send(f"of/{scheme}", sign(scheme, body, id=f"sent-{scheme}", at=time.time() + 1))
        assert (again.status_code, again.content) == (200, first.content)
    row = world.until(scheme, own, "admitted")
    assert row.asked == [["note", None, f"{scheme}:{own}"]]
    runs = [run for run in world.daemon.runs("note") if run.params.get("id") == f"evt-{scheme}"]
    assert [run.params["order"] for run in runs] == [41]


@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if scheme not in ("none", "stripe", "slack")])
def test_the_same_id_with_another_body_is_a_conflict(world: World, scheme: str) -> None:
    assert world.sender.post(f"of/{scheme}", scheme, {"order": 1}, id=f"twice-{scheme}").status_code == 202
    answer = world.sender.post(f"of/{scheme}", scheme, {"order": 2}, id=f"twice-{scheme}")
    assert (answer.status_code, answer.json()["error"]["type"]) == (409, "Conflict")


@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if scheme != "none"])
def test_a_wrong_signature_and_an_unknown_hook_are_answered_alike(world: World, scheme: str) -> None:
    wrong = "whsec_d3Jvbmc=" if scheme == "standard-webhooks" else "wrong"
    bad = world.sender.post(f"of/{scheme}", scheme, {"order": 1}, secret=wrong)
    none = world.sender.post(f"of/{scheme}", "none", {"order": 1})
    unknown = world.sender.post("nowhere", scheme, {"order": 1})
    assert {one.status_code for one in (bad, none, unknown)} == {401}
    assert bad.content == none.content == unknown.content
    assert dict(bad.headers) == dict(unknown.headers)


@pytest.mark.parametrize("scheme", ["standard-webhooks", "stripe", "slack"])
@pytest.mark.parametrize("off", [-301, 310])
def test_a_signed_time_out_of_tolerance_is_refused(world: World, scheme: str, off: float) -> None:
    answer = world.sender.post(f"of/{scheme}", scheme, {"order": 1}, at=time.time() + off)
    assert answer.status_code == 401


@pytest.mark.parametrize("scheme", ["standard-webhooks", "github", "stripe", "slack", "hmac-sha256"])
def test_one_byte_more_breaks_the_signature(world: World, scheme: str) -> None:
    signed = sign(scheme, b'{"order": 1}')
    answer = world.sender.http.post(f"/hooks/of/{scheme}", content=signed.body + b" ", headers=signed.headers)
    assert answer.status_code == 401


def test_every_active_secret_is_right_and_a_rotated_one_needs_no_restart(world: World) -> None:
    old, new = "whsec_b2xkIG9uZQ==", "whsec_bmV3IG9uZQ=="
    assert world.sender.post("of/standard-webhooks", "standard-webhooks", {"order": 5}, secret=old).status_code == 202
    assert world.sender.post("of/standard-webhooks", "standard-webhooks", {"order": 5}).status_code == 202
    (world.site.folder / "old-secret").write_text(new)

    def taken() -> bool:
        return world.sender.post("of/standard-webhooks", "standard-webhooks", {}, secret=new).status_code == 202

    world.daemon.wait_until(taken, "the new secret is right")
    assert world.sender.post("of/standard-webhooks", "standard-webhooks", {}, secret=old).status_code == 401


def test_github_a_signed_copy_under_another_id_is_the_same_delivery(world: World) -> None:
    first = world.sender.post("of/github", "github", {"order": 9, "text": "copied"}, id="real")
    copy = world.sender.post("of/github", "github", {"order": 9, "text": "copied"}, id="forged")
    assert (first.status_code, copy.status_code) == (202, 200)
    assert first.content == copy.content
    assert world.sender.post("of/github", "github", {"order": 9, "text": "copied"}, id="third").status_code == 200
    told = world.site.cli("inbox", "github").stdout
    assert "2 more since the start, of bodies that had come before, were taken for replays" in told
    assert world.daemon.log_text().count("is taken for its replay") == 1


def test_what_only_tries_the_hook_is_answered_and_not_kept(world: World) -> None:
    before = len(world.inbox("github")), len(world.inbox("slack"))
    assert world.sender.post("of/github", "github", {"zen": "x"}, x_github_event="ping").status_code == 200
    answer = world.sender.post("of/slack", "slack", {"type": "url_verification", "challenge": "c-1"})
    assert (answer.status_code, answer.json()) == (200, {"challenge": "c-1"})
    wrong = world.sender.post("of/slack", "slack", {"type": "url_verification", "challenge": "c"}, secret="wrong")
    assert wrong.status_code == 401
    assert (len(world.inbox("github")), len(world.inbox("slack"))) == before


def test_cloud_events_in_both_forms_and_their_handshake(world: World) -> None:
    http = world.sender.http
    asked = http.options("/hooks/mapped", headers={"WebHook-Request-Origin": "events.example"})
    assert (asked.status_code, asked.headers["webhook-allowed-origin"]) == (200, "events.example")
    event = {"specversion": "1.0", "source": "/shop", "type": "order", "data": {"order": 3}}
    structured = {"content-type": "application/cloudevents+json; charset=utf-8"}
    for id, code in (("e-1", 202), ("e-1", 200), ("e-2", 202)):
        body = json.dumps({**event, "id": id}).encode()
        assert http.post("/hooks/of/none", content=body, headers=structured).status_code == code
    binary = {"content-type": "application/json", "ce-specversion": "1.0", "ce-source": "/shop", "ce-type": "order"}
    for id, code in (("e-3", 202), ("e-3", 200), ("e-1", 409)):
        answer = http.post("/hooks/of/none", content=b'{"order": 3}', headers={**binary, "ce-id": id})
        assert answer.status_code == code, id
    for id in ("/shop e-1", "/shop e-2", "/shop e-3"):
        assert world.until("none", id, "admitted").asked == [["note", None, f"none:{id}"]]


@pytest.mark.parametrize(
    "body",
    [b"[]" + b"," * 3 + b"}", b'{"a": NaN}', b"[" * 65 + b"]" * 65, b'{"a": 1e999}', b"[0" + b",0" * 100_001 + b"]"],
)
def test_json_that_nobody_means_is_refused_after_the_signature(world: World, body: bytes) -> None:
    good = world.sender.send("of/hmac-sha256", sign("hmac-sha256", body))
    assert (good.status_code, good.json()["error"]["type"]) == (400, "BadPayload")
    wrong = world.sender.send("of/hmac-sha256", sign("hmac-sha256", body, secret="wrong"))
    assert wrong.status_code == 401


def test_a_hook_without_its_secret_says_so_and_takes_nothing_until_it_is_there(world: World) -> None:
    refused = world.sender.post("unready", "github", {"order": 1})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert world.sender.post("unready", "none", {"order": 1}).status_code == 503
    hooks = {one["sensor"]: one for one in world.site.cli_json("inbox")}
    assert "file:later" in hooks["unready"]["problem"]
    assert hooks["github"]["problem"] is None
    assert "a secret is missing" in world.daemon.log_text()
    assert "the hook of unready refuses what it cannot verify" in world.site.cli("status").stdout
    statuses = {one["name"]: one["status"] for one in world.site.cli_json("sensors")}
    assert (statuses["unready"], statuses["bearer"]) == ("waiting", "ok")
    assert "unready: /hooks/unready: " in world.site.cli("sensors").stdout
    (world.site.folder / "later").write_text(SECRET)
    world.daemon.wait_until(
        lambda: world.sender.post("unready", "github", {"order": 2}).status_code == 202, "it takes deliveries"
    )
    assert SECRET not in world.daemon.log_text()


def test_observing_takes_everything_and_says_what_it_would_refuse(world: World) -> None:
    assert world.sender.post("watched", "github", {"order": 1}, id="right").status_code == 202
    assert world.sender.post("watched", "github", {"order": 2}, id="wrong", secret="wrong").status_code == 202
    rows = world.inbox("watched")
    assert rows["right"]["unsigned"] is None
    assert rows["wrong"]["unsigned"] == "the signature is wrong"


@pytest.mark.parametrize(
    ("payload", "state", "reason"),
    [
        ({"skip": True}, "filtered", "left out by filter"),
        ({"nothing": True}, "filtered", "map gave nothing"),
        ({"never": True}, "rejected", "never right"),
        ({"boom": True}, "parked", "ValueError: boom"),
        ({"missing": True}, "parked", "no key 'nobody-added-it'"),
        ({"unknown": True}, "parked", "'nothing', which is no asset and no job"),
        ({"key": "k-bad", "order": "no number"}, "parked", "parameter 'order'"),
    ],
)
def test_each_delivery_ends_with_its_reason_and_those_behind_go_on(
    world: World, payload: dict[str, Any], state: str, reason: str
) -> None:
    name = "-".join(payload)
    assert world.sender.post("mapped", "none", {**payload, "id": f"it-{name}"}).status_code == 202
    assert (
        world.sender.post("mapped", "none", {"key": f"k-{name}", "order": 1, "id": f"next-{name}"}).status_code == 202
    )
    assert world.until("mapped", f"next-{name}", "admitted").attempts == 0
    row = world.until("mapped", f"it-{name}", state)
    assert reason in row.reason
    assert row.attempts == (3 if state == "parked" else 0)
    assert [run.partition for run in world.daemon.runs("raw")].count(f"k-{name}") == 1
    assert "k-bad" not in {one.key for one in world.daemon.client.partitions("orders", limit=1000).partitions}


def test_parameters_that_the_job_does_not_take_park_the_delivery(world: World) -> None:
    assert world.sender.post("of/none", "none", {"ordr": 1}, id="misspelt").status_code == 202
    assert world.sender.post("of/none", "none", [1], id="a-list").status_code == 202
    assert "there is no parameter 'ordr'" in world.until("none", "misspelt", "parked").reason
    assert "no object but list" in world.until("none", "a-list", "rejected").reason
    assert "parked" in world.daemon.log_text()


def test_a_replay_runs_what_failed_and_nothing_twice(world: World) -> None:
    sender, site = world.sender, world.site
    assert sender.post("mapped", "none", {"file": True, "id": "mend"}).status_code == 202
    assert sender.post("mapped", "none", {"key": "k-replay", "order": 2, "id": "fine"}).status_code == 202
    parked, fine = world.until("mapped", "mend", "parked"), world.until("mapped", "fine", "admitted")
    (site.folder / "mended").write_text("")
    both = ("--id", str(parked.id), "--id", str(fine.id))
    dry = site.cli("replay", "mapped", *both, "--dry-run")
    assert f"delivery {parked.id}: would be admitted" in dry.stdout
    assert "would run" in dry.stdout
    assert world.until("mapped", "mend", "parked").attempts == 3
    before = len(world.daemon.runs("raw"))
    assert "2 deliveries: 2 wait again" in site.cli("replay", "mapped", *both).stdout
    world.until("mapped", "mend", "admitted")
    world.until("mapped", "fine", "admitted")
    assert world.params("other").count({"order": 7}) == 1
    assert len(world.daemon.runs("raw")) == before
    again = ("replay", "mapped", "--id", str(fine.id), "--again")
    assert "would be dropped" in site.cli(*again[:-1], "--dry-run").stdout
    shown = site.cli(*again, "--dry-run").stdout
    assert ("would run: " in shown, "would be dropped" in shown) == (True, False), shown
    assert len(world.daemon.runs("raw")) == before
    assert site.cli(*again).returncode == 0
    world.daemon.wait_until(lambda: len(world.daemon.runs("raw")) == before + 1, "it ran once more")


def test_replays_by_time_and_what_is_refused_of_them(world: World) -> None:
    assert world.sender.post("stranger", "none", {"x": 1}).status_code == 202
    world.daemon.wait_until(lambda: world.site.cli_json("inbox", "stranger")[0]["state"] == "admitted", "admitted")
    assert world.site.cli_json("replay", "stranger", "--since", "1h", "--until", "0s")["count"] == 1
    assert world.site.cli_json("replay", "stranger", "--until", "2020-01-01T00:00")["count"] == 0
    assert world.site.cli_json("replay", "stranger", "--all", "--dry-run")["dry_run"]["status"] == "ok"
    for arguments, code, says in (
        (("stranger",), 2, "--since T"),
        (("stranger", "--all", "--id", "1"), 2, "which deliveries"),
        (("stranger", "--since", "soon"), 2, "2h for two hours ago"),
        (("strangr", "--all"), 1, "did you mean 'stranger'?"),
        (("stranger", "--id", "999999"), 1, "no delivery 999999"),
    ):
        done = world.site.cli("replay", *arguments)
        assert (done.returncode, says in done.stderr) == (code, True), done.stderr


def test_what_waits_in_the_inbox_is_the_lag_of_its_sensor(world: World) -> None:
    def lag() -> tuple[int, bool]:
        (one,) = [one for one in world.site.cli_json("sensors") if one["name"] == "bearer"]
        assert world.daemon.client.sensor("bearer").lag == one["lag"]
        return one["lag"], one["lag_since"] is not None

    assert lag() == (0, False)
    world.site.cli("pause", "bearer")
    for number in range(3):
        assert world.sender.post("of/bearer", "bearer", {"order": number}).status_code == 202
    assert lag() == (3, True)
    world.site.cli("resume", "bearer")
    world.daemon.wait_until(lambda: world.daemon.client.sensor("bearer").lag == 0, "all are admitted")


def test_a_delivery_is_shown_with_its_body_and_without_what_signed_it(world: World) -> None:
    sent = world.sender.post("of/github", "github", {"order": 77}, id="shown", x_secret_token="x").json()["id"]
    shown = world.site.cli("inbox", "github", str(sent)).stdout
    assert '{"order": 77}' in shown
    assert "x-github-event: push" in shown
    assert "signature-256" not in shown
    assert "x-secret-token" not in shown
    assert "/hooks/of/github" in world.site.cli("inbox").stdout


def test_a_body_of_any_size_and_kind_reaches_map_to_the_byte(world: World) -> None:
    wanted: set[str] = set()
    for size in (0, 1, 600_000, 600_001, 6 << 20):
        body = random.Random(size).randbytes(size)
        wanted.add(hashlib.sha256(body).hexdigest())
        answer = world.sender.http.post("/hooks/large", content=body, headers={"content-type": "image/png"})
        assert answer.status_code == 202
    world.daemon.wait_until(lambda: wanted <= {one.get("text") for one in world.params("note")}, "all have been seen")


def test_two_sensors_cannot_have_one_hook(tmp_path: Path) -> None:
    plugin = """
from freshet import job
from freshet_sensors import WebhookSensor

@job
def note(ctx): ...

WebhookSensor("one", path="same", scheme="none", target=note)
WebhookSensor("two", path="same", scheme="none", target=note)
"""
    with site_at(tmp_path / "site", plugins={"plugin.py": plugin}) as site:
        done = site.cli("check")
        assert done.returncode == 1
        assert "hook 'same' is declared twice" in done.stdout + done.stderr
