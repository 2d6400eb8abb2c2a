"""What makes a delivery the same as another, what is kept of its headers, and what is no delivery at all. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, cast
from uuid import uuid4

from freshet.definitions.intake import Intake, SchemeName
from freshet.definitions.outcome import Json
from freshet.engine.control import Hook
from freshet.http.payload import pointed
from freshet.http.schemes import ID_IN_BODY, Delivery, Verified
from freshet.store.records import NewDelivery

__all__ = ["delivery_id", "is_ping", "kept_headers", "new_delivery"]

_LONGEST = 255
"""Characters of an id; of a longer one its hash is the id."""
_KEPT = ("x-", "ce-", "webhook-", "idempotency-", "user-agent")
_SECRET = ("signature", "token", "secret", "auth", "cookie", "api-key", "apikey", "password", "forwarded", "real-ip")
_KEPT_BYTES = 16_000
_ID_HEADERS: Mapping[SchemeName, str] = {
    "github": "x-github-delivery",
    "standard-webhooks": "webhook-id",
    "gitlab": "idempotency-key",
}


def delivery_id(intake: Intake, delivery: Delivery, verified: Verified, value: Json) -> str | None:
    """What the sender calls it: by the scheme, by `id_from`, as a CloudEvent, in the body; None where nothing says."""
    found = verified.id or _by_option(intake, delivery, value) or _cloud_event(delivery, value)
    if found is None and intake.scheme in ID_IN_BODY:
        found = pointed(value, ID_IN_BODY[intake.scheme])
    if found is None and intake.observe:
        found = delivery.headers.get(_ID_HEADERS.get(intake.scheme, ""))
    if not found:
        return None
    return found if len(found) <= _LONGEST else f"sha256:{hashlib.sha256(found.encode('utf-8', 'replace')).hexdigest()}"


def new_delivery(
    hook: Hook,
    delivery: Delivery,
    verified: Verified,
    name: str | None,
    digest: bytes,
    *,
    received_at: float,
    unsigned: str | None,
) -> NewDelivery:
    """What is to be kept. One without an id, `name`, is new, whatever it says."""
    return NewDelivery(
        ticker=hook.ticker,
        delivery=name or uuid4().hex,
        digest=digest,
        body=delivery.body,
        received_at=received_at,
        content_type=delivery.headers.get("content-type"),
        headers=kept_headers(hook.intake, delivery.headers),
        signed=verified.digest,
        unsigned=unsigned,
    )


def kept_headers(intake: Intake, headers: Mapping[str, str]) -> dict[str, str]:
    """Those that say something of the delivery, and nothing that signs it or opens a door."""
    own = {(intake.header or "").lower(), "authorization"}
    also = (intake.id_from or "").removeprefix("header:").lower()
    kept: dict[str, str] = {}
    room = _KEPT_BYTES
    for name, value in headers.items():
        if name in own or not (name.startswith(_KEPT) or name == also) or any(word in name for word in _SECRET):
            continue
        room -= len(name) + len(value)
        if room >= 0:
            kept[name] = value
    return kept


def is_ping(intake: Intake, delivery: Delivery, value: Json) -> dict[str, Any] | None:
    """The answer to what only tries the hook: GitHub's ping, Slack's `url_verification`; None for a delivery."""
    if intake.scheme == "github" and delivery.headers.get("x-github-event") == "ping":
        return {"ping": "ok"}
    if intake.scheme == "slack" and isinstance(value, dict):
        told = cast("dict[str, Any]", value)
        if told.get("type") == "url_verification":
            return {"challenge": told.get("challenge")}
    return None


def _by_option(intake: Intake, delivery: Delivery, value: Json) -> str | None:
    kind, _, where = (intake.id_from or "").partition(":")
    if kind == "header":
        return delivery.headers.get(where.lower()) or None
    if kind == "body":
        return f"sha256:{hashlib.sha256(delivery.body).hexdigest()}"
    return pointed(value, where) if kind == "json" else None


def _cloud_event(delivery: Delivery, value: Json) -> str | None:
    """`source` and `id`: a source is a URI, in which there is no blank."""
    if delivery.headers.get("content-type", "").lower().startswith("application/cloudevents"):
        told = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        source, name = told.get("source"), told.get("id")
    elif "ce-specversion" in delivery.headers:
        source, name = delivery.headers.get("ce-source"), delivery.headers.get("ce-id")
    else:
        return None
    return f"{source} {name}" if isinstance(source, str) and isinstance(name, str) and source and name else None
