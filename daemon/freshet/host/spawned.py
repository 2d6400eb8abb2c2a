"""`python -m freshet.host.spawned ORDER`: a worker or evaluator of its own, where forking the host is unsafe."""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys
from pathlib import Path

from freshet.host.births import SpawnOrder
from freshet.host.child import ChildPlan, become, play
from freshet.host.describe import catalog
from freshet.host.frames import encode
from freshet.host.loader import load
from freshet.host.messages import Ready
from freshet.host.sources import Sources
from freshet.host.worker import Bench

__all__ = ["main"]


def main(argument: str) -> None:
    """Become what the order says, load the plugins, say `Ready` (workers), and do the child's part."""
    order = SpawnOrder.loads(argument)
    become(order.plan)
    faulthandler.enable(file=2)
    faulthandler.register(signal.SIGUSR2, file=2)
    size = os.fstat(order.snapshot).st_size
    sources = Sources.restore(os.pread(order.snapshot, size, 0))
    os.close(order.snapshot)
    loaded = load(sources, quiet=False)
    made = catalog(loaded.found, version=sources.version)
    problem = next((f"{one['file']}: {one['message']}" for one in [*loaded.problems, *made.problems]), None)
    if order.plan.kind != "evaluator":
        _say_ready(order.plan, problem)
    if problem is not None:
        sys.stderr.write(f"a spawned {order.plan.kind} could not load the plugins: {problem}\n")
        sys.exit(72)
    bench = Bench(made, Path(order.state_dir))
    bench.install()
    play(order.plan, made, bench)


def _say_ready(plan: ChildPlan, problem: str | None) -> None:
    with socket.socket(fileno=os.dup(plan.sock)) as sock:
        sock.setblocking(True)
        sock.sendall(encode(Ready(op="ready", problem=problem)))


if __name__ == "__main__":
    main(sys.argv[1])
