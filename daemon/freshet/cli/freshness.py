"""How fresh an asset is, in a few words."""

from __future__ import annotations

from rich.text import Text

from freshet.cli.tables import state_text
from freshet.cli.text import age
from freshet.http.models import AssetAnswer

__all__ = ["freshness_text"]


def freshness_text(one: AssetAnswer, now: float) -> Text:
    """Its state, when it lapses or lapsed, and whether that is still to be mended by itself."""
    policy = one.freshness
    if policy is None:  # it may yet be refreshed for an asset above it
        return Text("exhausted", "red") if one.counts.exhausted else Text("-")
    if policy.per_partition and one.partitions is not None:
        text = state_text(policy.state or "-")
        of_them = [f"{count} {word}" for word, count in (("lapsed", policy.lapsed), ("warn", policy.warned)) if count]
        return _spent(text.append(f" ({', '.join(of_them)})" if of_them else ""), one)
    lapsed = policy.state == "lapsed"
    if one.materialized_at is None:
        text = Text("never made").append(", lapsed" if lapsed else ", lapses", "red" if lapsed else "")
    else:
        text = state_text(policy.state or "-").append("" if lapsed else ", lapses")
    moved = lapsed and policy.deadline is not None and policy.deadline > now  # the policy was edited since
    return _spent(text if policy.deadline is None or moved else text.append(f" {age(policy.deadline, now)}"), one)


def _spent(text: Text, one: AssetAnswer) -> Text:
    """What lapsed, and is not refreshed any more."""
    return text.append(", exhausted", "red") if one.counts.exhausted else text
