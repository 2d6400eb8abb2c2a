"""How senders sign, written from their documentation and with their own package, and none of our code."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from standardwebhooks.webhooks import Webhook

__all__ = ["SECRET", "STANDARD_SECRET", "Sender", "Signed", "sign"]

SECRET = "a secret of some length"
STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass(frozen=True)
class Signed:
    """A delivery, ready to be sent."""

    headers: dict[str, str]
    body: bytes


def _hex(secret: str, data: bytes) -> str:
    return hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()


def sign(
    scheme: str, body: bytes, *, id: str = "d-1", at: float | None = None, secret: str | None = None, **more: str
) -> Signed:
    """`body` as a sender of that scheme would send it. `more`: further headers, with underscores."""
    stamp = int(time.time() if at is None else at)
    key = secret or SECRET
    headers = {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in more.items()}}
    match scheme:
        case "standard-webhooks":
            signer = Webhook(secret or STANDARD_SECRET)
            signature = signer.sign(id, datetime.fromtimestamp(stamp, UTC), body.decode())
            headers |= {"webhook-id": id, "webhook-timestamp": str(stamp), "webhook-signature": signature}
        case "stripe":
            signature = _hex(key, f"{stamp}.".encode() + body)
            headers |= {"stripe-signature": f"t={stamp},v1={'0' * 64},v1={signature},v0=x"}
        case "slack":
            signature = _hex(key, f"v0:{stamp}:".encode() + body)
            headers |= {"x-slack-request-timestamp": str(stamp), "x-slack-signature": f"v0={signature}"}
        case "github":
            headers |= {"x-hub-signature-256": f"sha256={_hex(key, body)}", "x-github-delivery": id}
            headers.setdefault("x-github-event", "push")
        case "gitlab":
            headers |= {"x-gitlab-token": key, "idempotency-key": id}
        case "hmac-sha256":
            headers |= {"x-signature": _hex(key, body), "x-delivery": id}
        case "bearer":
            headers |= {"authorization": f"Bearer {key}", "x-delivery": id}
        case _:
            headers |= {"x-delivery": id}
    return Signed(headers, body)


class Sender:
    """Delivers to the hooks of a daemon, over connections that it keeps."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=30)
        self._ids = itertools.count(1)

    def close(self) -> None:
        """Close the connections."""
        self.http.close()

    def send(self, path: str, signed: Signed) -> httpx.Response:
        """Send what is signed."""
        return self.http.post(f"/hooks/{path}", content=signed.body, headers=signed.headers)

    def post(self, path: str, scheme: str, value: Any, *, id: str | None = None, **more: Any) -> httpx.Response:
        """Sign a value as JSON, and send it; without `id` as a delivery of its own."""
        body = json.dumps(value).encode()
        return self.send(path, sign(scheme, body, id=id or f"own-{next(self._ids)}", **more))


def headers_without(signed: Signed, *names: str) -> Mapping[str, str]:
    """Its headers but for some."""
    return {name: value for name, value in signed.headers.items() if name not in names}
