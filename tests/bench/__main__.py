"""`python -m tests.bench [FIGURE...] [--quick]`: measure, print a table, write JSON."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import traceback
from pathlib import Path

from tests.bench.figure import Bench, Figure, Row
from tests.bench.figures import FIGURES
from tests.bench.machine import Others, machine
from tests.bench.report import table, write_json

_OUTPUT = Path(__file__).resolve().parents[2] / "bench-output"


def main(arguments: list[str] | None = None) -> int:
    """0 if everything could be measured, whether or not the bars are met; 1 if not, 2 for an unknown figure."""
    parser = _parser()
    options = parser.parse_args(arguments)
    unknown = [name for name in options.figures if name not in FIGURES]
    if unknown:
        parser.error(f"unknown figure {', '.join(unknown)}; there are {', '.join(FIGURES)}")
    if options.list:
        print("\n".join(f"{figure.name:<12} {figure.about}" for figure in FIGURES.values()))
        return 0
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that daemons are ended
    output = Path(options.output).resolve()
    logs = output / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    rows, failed, shared = list[Row](), dict[str, str](), dict[str, float]()
    # Not in the system's folder for temporary files: where that is memory, flushing costs nothing and tells nothing.
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=output, ignore_cleanup_errors=True) as scratch:
        bench = Bench(quick=options.quick, scratch=Path(scratch), logs=logs, calm=options.calm)
        facts = machine(bench.scratch)
        print(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items()), flush=True)
        for name in options.figures or list(FIGURES):
            print(f"{name}: {FIGURES[name].about}", flush=True)
            error = _measure(FIGURES[name], bench, rows, shared)
            if error is not None:
                failed[name] = error
    print(f"\n{table(rows)}")
    for name, error in failed.items():
        print(f"could not be measured: {name}: {error}")
    facts["cores_used_by_others"] = shared
    path = write_json(output, machine=facts, rows=rows, failed=failed, quick=options.quick)
    print(f"\nwritten to {path}; the daemons' logs are in {logs}")
    return 1 if failed else 0


def _measure(figure: Figure, bench: Bench, rows: list[Row], shared: dict[str, float]) -> str | None:
    """Add the figure's rows, and to `shared` the cores that others used; returns what went wrong, if anything did."""
    for log in bench.logs.glob(f"{figure.name}*.log"):
        log.unlink()
    others = Others()
    try:
        for row in figure.measure(bench):
            rows.append(row)
            print("  " + table([row]).splitlines()[-1], flush=True)
    except Exception as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    finally:
        shared[figure.name] = round(others.cores(), 2)
        print(f"  meanwhile other work took {shared[figure.name]:.2f} cores", flush=True)
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help="only these (see --list)")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter measurements")
    parser.add_argument(
        "--calm", type=float, default=0.0, metavar="SECONDS", help="wait so long for other work on the machine to end"
    )
    parser.add_argument("--list", action="store_true", help="name the figures and exit")
    parser.add_argument("--output", type=Path, default=_OUTPUT, help="the folder for JSON, logs and scratch")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
