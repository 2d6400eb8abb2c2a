"""`python -m freshet.host PLAN`: the code host process. Started by the daemon, never by hand."""

from __future__ import annotations

import faulthandler
import gc
import signal
import socket
import sys

from freshet.host.messages import HostPlan
from freshet.host.process import become_subreaper, close_all_but, die_with_parent, ignore_signals, line_buffered
from freshet.host.server import Server, load_plugins

__all__ = ["main"]

_GARBAGE_AFTER_LOADING = 50_000, 1_000, 100
"""What is declared stays: to look through it for garbage every 700 objects takes longer than to load it, and what has
lasted once is not looked through again."""


def main(argument: str) -> None:
    """Load the plugins, then serve the daemon on the socket that the plan names.

    While plugins load, which may hang, the kernel ends this process with the daemon. Afterwards the end of the socket
    does, so that there is time to kill what workers have started and would leave behind.
    """
    plan = HostPlan.loads(argument)
    die_with_parent(plan.parent)
    become_subreaper()
    close_all_but({0, 1, 2, plan.control, plan.snapshot, *plan.keep})
    ignore_signals()
    faulthandler.enable(file=2)  # for the children too: 2 is then their own
    faulthandler.register(signal.SIGUSR2, file=2)  # asked of what hangs: where it stands
    line_buffered()  # else what plugins print would wait, and be forked
    control = socket.socket(fileno=plan.control)
    control.set_inheritable(False)
    garbage_after = gc.get_threshold()
    gc.set_threshold(*_GARBAGE_AFTER_LOADING)
    made, births = load_plugins(plan, control)
    gc.set_threshold(*garbage_after)
    ignore_signals()
    die_with_parent(None)
    Server(plan, control, made, births).serve()


if __name__ == "__main__":
    main(sys.argv[1])
