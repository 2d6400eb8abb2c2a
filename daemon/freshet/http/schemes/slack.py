"""Slack: HMAC-SHA256 over `v0:TIME:BODY`, hex, `X-Slack-Signature: v0=...`, the time in a header of its own.

https://docs.slack.dev/authentication/verifying-requests-from-slack
"""

from __future__ import annotations

from collections.abc import Sequence

from freshet.definitions.intake import Intake
from freshet.http.schemes.base import Delivery, Refused, Verified, decoded, right, text_time

__all__ = ["verify"]


def verify(intake: Intake, delivery: Delivery, secrets: Sequence[bytes], now: float) -> Verified:
    """The id stands in the body: `event_id`, of events."""
    stamp = text_time(delivery.headers.get("x-slack-request-timestamp"), intake, now)
    version, separator, text = delivery.headers.get("x-slack-signature", "").partition("=")
    if version != "v0" or not separator:
        raise Refused("there is no X-Slack-Signature of version v0")
    right([decoded(text, "hex")], secrets, b"v0:", stamp, b":", delivery.body)
    return Verified()
