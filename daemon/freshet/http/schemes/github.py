"""GitHub: HMAC-SHA256 over the raw body, hex, `X-Hub-Signature-256: sha256=...`. No time is signed, nor the id.

https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from freshet.definitions.intake import Intake
from freshet.http.schemes.base import Delivery, Refused, Verified, decoded, right

__all__ = ["verify"]


def verify(intake: Intake, delivery: Delivery, secrets: Sequence[bytes], now: float) -> Verified:
    """The id is GitHub's, which a redelivery keeps; since it is not signed, the body counts too."""
    prefix, separator, text = delivery.headers.get("x-hub-signature-256", "").partition("=")
    if prefix != "sha256" or not separator:
        raise Refused("there is no X-Hub-Signature-256")
    right([decoded(text, "hex")], secrets, delivery.body)
    return Verified(delivery.headers.get("x-github-delivery"), hashlib.sha256(delivery.body).digest())
