"""Stripe: HMAC-SHA256 over `TIME.BODY`, hex, `Stripe-Signature: t=TIME,v1=...`; several v1 while keys rotate.

https://docs.stripe.com/webhooks/signature
"""

from __future__ import annotations

from collections.abc import Sequence

from freshet.definitions.intake import Intake
from freshet.http.schemes.base import Delivery, Verified, decoded_of, right, text_time

__all__ = ["verify"]


def verify(intake: Intake, delivery: Delivery, secrets: Sequence[bytes], now: float) -> Verified:
    """The id stands in the body: `id` of the event."""
    parts = [part.strip().partition("=") for part in delivery.headers.get("stripe-signature", "").split(",")]
    time = next((value for name, _, value in parts if name == "t"), None)
    stamp = text_time(time, intake, now)
    given = decoded_of((value for name, _, value in parts if name == "v1"), "hex")
    right(given, secrets, stamp, b".", delivery.body)
    return Verified()
