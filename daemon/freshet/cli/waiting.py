"""What holds a run back, for those who watch it."""

from __future__ import annotations

from dataclasses import dataclass, field

from freshet.cli.client import Client
from freshet.errors import HostError
from freshet.http.models import RunAnswer

__all__ = ["Waiting"]


@dataclass
class Waiting:
    """Tells why runs wait, once for each reason. What waits for a retry says so in its own journal."""

    client: Client
    _told: dict[int, str | None] = field(default_factory=dict[int, str | None])

    def news(self, run: RunAnswer) -> str | None:
        """`run 3 waits: ...` where that is new, `run 3 goes on` once it does; None if nothing changed.

        Raises `HostError` where the run would wait until somebody restarts the daemon.
        """
        if any(step.state == "retrying" for step in run.steps):
            return None
        reason = None if run.ended else run.blocked_by
        if reason == self._told.get(run.id):
            return None
        self._told[run.id] = reason
        if reason is None:
            return None if run.ended else f"run {run.id} goes on"
        status = self.client.status()
        if status.needs_restart:
            raise HostError(
                f"run {run.id} waits, and nothing starts any more: {status.problem or reason}",
                hint=f"restart Freshet; the run starts then (freshet logs {run.id} -f follows it)",
            )
        return f"run {run.id} {reason if reason.startswith('waits') else f'waits: {reason}'}"
