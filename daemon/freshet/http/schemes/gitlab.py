"""GitLab: a plain token in `X-Gitlab-Token`, or, where the sender signs, Standard Webhooks.

https://docs.gitlab.com/user/project/integrations/webhooks/
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from freshet.definitions.intake import Intake
from freshet.http.schemes import standard
from freshet.http.schemes.base import Delivery, Refused, Verified

__all__ = ["verify"]


def verify(intake: Intake, delivery: Delivery, secrets: Sequence[bytes], now: float) -> Verified:
    """A signature, where there is one, must be right: the token beside it does not count."""
    if "webhook-signature" in delivery.headers:
        return standard.verify(intake, delivery, secrets, now)
    token = delivery.headers.get("x-gitlab-token", "").encode()
    if not any([hmac.compare_digest(token, secret) for secret in secrets]):
        raise Refused("the token is wrong" if token else "there is no X-Gitlab-Token")
    return Verified(delivery.headers.get("idempotency-key") or delivery.headers.get("x-gitlab-event-uuid"))
