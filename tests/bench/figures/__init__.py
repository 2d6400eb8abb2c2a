"""All figures by name, in the order in which they are measured. Each has a file of its own with its bars."""

from __future__ import annotations

from tests.bench.figure import Figure
from tests.bench.figures import (
    backfill,
    blocked,
    commits,
    evaluations,
    executors,
    files,
    graph,
    idle,
    keys,
    large,
    latency,
    mapped,
    memory,
    million,
    queue,
    request,
    s3,
    schedules,
    simulate,
    startup,
    status,
    summary,
    thousand,
    webhooks,
)

__all__ = ["FIGURES"]

FIGURES: dict[str, Figure] = {
    module.FIGURE.name: module.FIGURE
    for module in (
        startup,
        status,
        idle,
        request,
        latency,
        blocked,
        schedules,
        thousand,
        executors,
        mapped,
        queue,
        evaluations,
        graph,
        large,
        million,
        commits,
        keys,
        summary,
        memory,
        backfill,
        files,
        simulate,
        s3,
        webhooks,
    )
}
