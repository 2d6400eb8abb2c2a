"""Schemes without a vendor: HMAC-SHA256 over the raw body, a bearer token, and nothing at all."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from freshet.definitions.intake import Intake
from freshet.http.schemes.base import Delivery, Refused, Verified, decoded, raw, right

__all__ = ["bearer", "hmac_sha256", "unsigned"]


def hmac_sha256(intake: Intake, delivery: Delivery, secrets: Sequence[bytes], now: float) -> Verified:
    """As `header`, `prefix` and `encoding` say. Equal bodies may be two real events: only an id makes them one."""
    name = intake.header or "X-Signature"
    given = delivery.headers.get(name.lower(), "").strip()
    if not given.startswith(intake.prefix) or len(given) == len(intake.prefix):
        raise Refused(f"there is no {name}" if not given else f"{name} does not begin with {intake.prefix!r}")
    right([decoded(given[len(intake.prefix) :], intake.encoding)], secrets, delivery.body)
    return Verified()


def bearer(intake: Intake, delivery: Delivery, secrets: Sequence[bytes], now: float) -> Verified:
    """`Authorization: Bearer TOKEN`; another header holds the token alone."""
    name = intake.header or "Authorization"
    given = delivery.headers.get(name.lower(), "").strip()
    if name.lower() == "authorization":
        kind, _, given = given.partition(" ")
        if kind.lower() != "bearer":
            raise Refused("there is no bearer token")
    token = raw(given.strip())
    if not any([hmac.compare_digest(token, secret) for secret in secrets]):
        raise Refused("the token is wrong" if token else f"there is no {name}")
    return Verified()


def unsigned(intake: Intake, delivery: Delivery, secrets: Sequence[bytes], now: float) -> Verified:
    """Whoever reaches the address may deliver."""
    return Verified()
