"""Those who send deliveries, and what they know of them, through any number of daemons."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from contextlib import closing

import httpx
from tests.support.daemon import Daemon, Site
from tests.support.signers import sign

__all__ = ["BAD", "PICKY", "PLUGIN", "Memory", "address", "at_rest", "send"]

PLUGIN = """
from freshet import job
from freshet_sensors import WebhookSensor


@job
def note(ctx, id: str, body: int): ...


WebhookSensor("hook", path="hook", scheme="hmac-sha256", secret="env:SECRET", id_from="header:X-Delivery", target=note)
"""

BAD = 0
"""A body that `PICKY` never takes: its delivery is parked."""

PICKY = """
from freshet import RunRequest, job
from freshet_sensors import WebhookSensor


@job
def note(ctx, id: str, body: int): ...


def picky(payload):
    if payload["body"] == 0:
        raise ValueError("bad")
    return RunRequest(params=payload)


WebhookSensor("hook", path="hook", scheme="hmac-sha256", secret="env:SECRET", id_from="header:X-Delivery", target=note,
              map=picky, interval="200ms")
"""


def address(daemon: Daemon) -> str:
    found = daemon.wait_until(lambda: re.search(r"http=(http://\S+)", daemon.log_text()), "it says where it listens")
    return found[1] + "/hooks/hook"


def send(url: str, id: str, body: int) -> httpx.Response | None:
    """The answer; None where the daemon went before it had answered."""
    signed = sign("hmac-sha256", json.dumps({"id": id, "body": body}).encode(), id=id)
    try:
        return httpx.post(url, content=signed.body, headers=signed.headers, timeout=60)
    except httpx.TransportError:
        return None


class Memory:
    """What a sender knows: by id the body that was taken with the answer, and those of which it does not know."""

    def __init__(self) -> None:
        self.taken: dict[str, tuple[int, bytes]] = {}
        self.unsure: dict[str, set[int]] = {}
        self.again: Counter[str] = Counter()
        """How often what ran was let run again."""

    @property
    def numbers(self) -> dict[str, int]:
        """By id, the number that the answer told."""
        return {id: json.loads(answer)["id"] for id, (_, answer) in self.taken.items()}

    def heard(self, id: str, body: int, answer: httpx.Response | None) -> None:
        """The daemon answered, or did not."""
        if answer is None or answer.status_code == 503:
            if id not in self.taken:
                self.unsure.setdefault(id, set()).add(body)
            return
        code, known = answer.status_code, self.taken.get(id)
        if known is not None:
            assert code == (200 if known[0] == body else 409)
            assert code == 409 or answer.content == known[1]
        elif code == 409:
            assert self.unsure.get(id, set()) - {body}, "a conflict with what nobody sent"
        else:
            assert code == 202 or (code == 200 and body in self.unsure.get(id, ())), (code, id)
            self.taken[id] = (body, answer.content)

    def check(self, site: Site) -> None:
        """Nothing acknowledged is lost, and each id has exactly one run, of the body that was taken, and one for each
        time that it was let run again; a bad one has none."""
        with closing(sqlite3.connect(site.state / "freshet.db")) as db:
            rows = {
                delivery: (number, state, json.loads(body))
                for number, delivery, state, body in db.execute("SELECT id, delivery, state, body FROM inbox")
            }
            runs = [json.loads(params) for (params,) in db.execute("SELECT params FROM runs ORDER BY id")]
        for id, (body, answer) in self.taken.items():
            number, state, kept = rows[id]
            expected = "parked" if body == BAD else "admitted"
            assert (json.loads(answer), state, kept["body"]) == ({"id": number}, expected, body)
        good = {id for id, (_, _, kept) in rows.items() if kept["body"] != BAD}
        assert Counter(run["id"] for run in runs) == Counter({id: 1 + self.again[id] for id in good})
        assert all(run["body"] == rows[run["id"]][2]["body"] for run in runs)
        assert set(rows) <= {*self.taken, *self.unsure}


def at_rest(daemon: Daemon) -> bool:
    """All deliveries are looked at, and their runs have ended."""
    return not daemon.client.deliveries("hook", state="waiting", limit=1) and daemon.idle()
