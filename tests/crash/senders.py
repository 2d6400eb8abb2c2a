"""Those who send deliveries, and what they know of them, through any number of daemons."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
from tests.support.daemon import Daemon, Site
from tests.support.signers import SECRET, sign

__all__ = ["PLUGIN", "Memory", "address", "at_rest", "new_site", "send"]

PLUGIN = """
from freshet import job
from freshet_sensors import WebhookSensor


@job
def note(ctx, id: str, body: int): ...


WebhookSensor("hook", path="hook", scheme="hmac-sha256", secret="env:SECRET", id_from="header:X-Delivery", target=note)
"""


def new_site(folder: Path) -> Site:
    return Site(folder, plugins={"hook.py": PLUGIN}, grace="2s", env={"SECRET": SECRET})


def address(daemon: Daemon) -> str:
    found = daemon.wait_until(lambda: re.search(r"http=(http://\S+)", daemon.log_text()), "it says where it listens")
    return found[1] + "/hooks/hook"


def send(url: str, id: str, body: int) -> httpx.Response | None:
    """The answer; None where the daemon went before it had answered."""
    signed = sign("hmac-sha256", json.dumps({"id": id, "body": body}).encode(), id=id)
    try:
        return httpx.post(url, content=signed.body, headers=signed.headers, timeout=20)
    except httpx.TransportError:
        return None


class Memory:
    """What a sender knows: by id the body that was taken with the answer, and those of which it does not know."""

    def __init__(self) -> None:
        self.taken: dict[str, tuple[int, bytes]] = {}
        self.unsure: dict[str, set[int]] = {}

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
        """Nothing acknowledged is lost, and each id has exactly one run, of the body that was taken."""
        with closing(sqlite3.connect(site.state / "freshet.db")) as db:
            rows = {
                delivery: (number, state, json.loads(body))
                for number, delivery, state, body in db.execute("SELECT id, delivery, state, body FROM inbox")
            }
            runs = [json.loads(params) for (params,) in db.execute("SELECT params FROM runs ORDER BY id")]
        for id, (body, answer) in self.taken.items():
            number, state, kept = rows[id]
            assert (json.loads(answer), state, kept["body"]) == ({"id": number}, "admitted", body)
        assert sorted(run["id"] for run in runs) == sorted(rows)
        assert all(run["body"] == rows[run["id"]][2]["body"] for run in runs)
        assert set(rows) <= {*self.taken, *self.unsure}


def at_rest(daemon: Daemon) -> bool:
    """All deliveries are looked at, and their runs have ended."""
    return not daemon.client.deliveries("hook", state="waiting", limit=1) and daemon.idle()
