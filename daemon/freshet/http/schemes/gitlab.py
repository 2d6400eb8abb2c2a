"""GitLab: a plain token in `X-Gitlab-Token`, or, where the sender signs, Standard Webhooks.

https://docs.gitlab.com/user/project/integrations/webhooks/
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from freshet.definitions.intake import Intake
from freshet.http.schemes import standard
from freshet.http.schemes.base import Delivery, Refused, Verified, raw

__all__ = ["verify"]


def verify(intake: Intake, delivery: Delivery, secrets: Sequence[bytes], now: float) -> Verified:
    """A signature, where there is one, must be right: the token beside it does not count."""
    if "webhook-signature" in delivery.headers:
        return standard.verify(intake, delivery, secrets, now)
    token = raw(delivery.headers.get("x-gitlab-token", ""))
    if not any([hmac.compare_digest(token, secret) for secret in secrets]):
        raise Refused("the token is wrong" if token else "there is no X-Gitlab-Token")
    return Verified(delivery.headers.get("idempotency-key") or _event(delivery))


def _event(delivery: Delivery) -> str | None:
    """What GitLab before 17.4 calls it. All events that one webhook brings about have the same name there: the body
    tells them apart."""
    name = delivery.headers.get("x-gitlab-event-uuid")
    return f"{name} {hashlib.sha256(delivery.body).hexdigest()}" if name else None
