"""What an evaluator left behind when it fell silent or died."""

from __future__ import annotations

from dataclasses import dataclass

from freshet.executors.stacks import stack_of
from freshet.host.evaluator.page import PageView

__all__ = ["Remains"]


@dataclass(frozen=True, slots=True)
class Remains:
    """What an evaluator left behind. `text`: what faulthandler wrote; `threads`: Python's numbers of the threads that
    kept running while it was silent."""

    page: PageView
    text: str = ""
    loop_thread: int = 0
    threads: frozenset[int] = frozenset()

    def stack_of(self, tick_id: int) -> str:
        """Where a tick stood: in its thread, or on the loop."""
        threads = (thread.ident for thread in self.page.threads if thread.owner == tick_id)
        return stack_of(self.text, next(threads, self.loop_thread))

    def blocked(self, seconds: float) -> tuple[str, str]:
        """What to say of a loop that was silent for so long, and the stack of what held it."""
        if self.page.owner:
            message, thread = f"blocked the evaluator's loop for {seconds:.2f} s", self.loop_thread
        else:
            message = f"kept the interpreter from the evaluator's loop for {seconds:.2f} s (a call into C?)"
            thread = next(iter(self.threads), 0)
        return message, stack_of(self.text, thread) if thread else self.text
