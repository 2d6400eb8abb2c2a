"""Standard Webhooks: HMAC-SHA256 over `ID.TIME.BODY`, base64, `webhook-signature: v1,... v1,...`.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from freshet.definitions.intake import Intake
from freshet.http.schemes.base import Delivery, Refused, Verified, decoded_of, raw, right, text_time

__all__ = ["key_of", "verify"]

_PREFIX = b"whsec_"


def verify(intake: Intake, delivery: Delivery, secrets: Sequence[bytes], now: float) -> Verified:
    """The id is signed. Signatures of other versions (`v1a`, by public keys) are passed over."""
    name = delivery.headers.get("webhook-id", "")
    if not name or len(name) > 255:
        raise Refused("there is no webhook-id" if not name else "its webhook-id is too long")
    stamp = text_time(delivery.headers.get("webhook-timestamp"), intake, now)
    versions = [one.partition(",") for one in delivery.headers.get("webhook-signature", "").split()]
    given = decoded_of((text for version, _, text in versions if version == "v1"), "base64")
    right(given, [key_of(secret) for secret in secrets], raw(name), b".", stamp, b".", delivery.body)
    return Verified(name)


def key_of(secret: bytes) -> bytes:
    """The key in a secret: `whsec_` and base64, else the secret as it is."""
    if not secret.startswith(_PREFIX):
        return secret
    try:
        return base64.b64decode(secret[len(_PREFIX) :], validate=True)
    except binascii.Error:
        raise Refused("the secret after whsec_ is no base64: set it anew") from None
