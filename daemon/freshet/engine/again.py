"""From a run that has ended to one that makes what it did not. Pure."""

from __future__ import annotations

from dataclasses import replace

from freshet.definitions.check import is_check
from freshet.definitions.graph import Definitions
from freshet.engine.requests import call_job, find_asset, run_of_assets
from freshet.errors import Conflict
from freshet.store.records import RunRow, RunToAdmit

__all__ = ["run_again"]


def run_again(definitions: Definitions, row: RunRow, now: float, *, whole: bool = False) -> RunToAdmit:
    """A run of the steps that did not succeed (`whole`: of all), of the same partition, parameters, tags and priority,
    by today's definitions. It carries no run key: that of the first stays with it.

    Raises `Conflict` for a run that has not ended, or, unless `whole`, has succeeded, and `UnknownName` for what is not
    there any more.
    """
    if not (whole and row.state == "succeeded"):
        _check_ended(row)
    if row.kind == "job":
        run = call_job(definitions, row.target, row.params, priority=0, tags={})
    else:
        left = [step.name for step in row.steps if whole or step.state != "succeeded"]
        specs = [find_asset(definitions, name) for name in left if not is_check(name)]
        made = {spec.name for spec in specs}
        checks = [one for one in left if one in definitions.check and definitions.check[one].asset not in made]
        if not specs and not checks:
            said = f"run {row.id} has nothing left but checks that no plugin declares any more"
            raise Conflict(said, hint=f"freshet materialize {row.target} makes it once more")
        looked_at = [definitions.check[one] for one in checks]
        partitioned = any(spec.partitions is not None for spec in specs)
        partitioned |= any(not one.whole and definitions.asset[one.asset].partitions is not None for one in looked_at)
        if partitioned and row.key is None and row.origin.startswith("backfill:"):
            raise Conflict(f"run {row.id} has many partitions", hint=f"freshet retry {row.origin} makes what is left")
        names = definitions.select(spec.name for spec in specs)
        key = row.key if partitioned else None
        run = run_of_assets(definitions, names, key=key, origin="", now=now, checks=checks, params=row.params)
    return replace(run, policy="allow", origin=f"retry:{row.id}", tags=row.tags, priority=row.priority)


def _check_ended(row: RunRow) -> None:
    if row.state == "succeeded":
        hint = f"freshet retry {row.id} --all makes it once more"
        raise Conflict(f"run {row.id} has succeeded: nothing of it is left", hint=hint)
    if row.state == "interrupted":
        raise Conflict(f"run {row.id} has not ended (interrupted)", hint="it starts again by itself")
    if row.state not in ("failed", "canceled"):
        raise Conflict(f"run {row.id} has not ended ({row.state})", hint=f"freshet cancel {row.id} ends it")
