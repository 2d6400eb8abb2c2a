"""How deliveries are signed: one file a sender's scheme, each a pure function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from freshet.definitions.intake import Intake, SchemeName
from freshet.http.schemes import github, gitlab, plain, slack, standard, stripe
from freshet.http.schemes.base import Delivery, Refused, Scheme, Verified

__all__ = ["ID_IN_BODY", "SCHEMES", "Delivery", "Refused", "Verified", "verify"]

SCHEMES: Mapping[SchemeName, Scheme] = {
    "standard-webhooks": standard.verify,
    "github": github.verify,
    "stripe": stripe.verify,
    "slack": slack.verify,
    "gitlab": gitlab.verify,
    "hmac-sha256": plain.hmac_sha256,
    "bearer": plain.bearer,
    "none": plain.unsigned,
}

ID_IN_BODY: Mapping[SchemeName, str] = {"stripe": "/id", "slack": "/event_id"}
"""Where the sender's id of a delivery stands in the JSON body, for schemes that do not send it in a header."""


def verify(intake: Intake, delivery: Delivery, secrets: Sequence[bytes], now: float) -> Verified:
    """What the intake's scheme says of a delivery at `now`. Raises `Refused`."""
    return SCHEMES[intake.scheme](intake, delivery, secrets, now)
