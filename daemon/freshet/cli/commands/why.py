"""The command that explains: a condition as an indented tree, a line each."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.text import Text

from freshet.cli.session import Session, print_json
from freshet.cli.tables import console, state_text
from freshet.cli.text import age, clock, error_line, in_line
from freshet.http.models import (
    DependencyAnswer,
    EventAnswer,
    GateAnswer,
    MakerAnswer,
    PromiseAnswer,
    RunAnswer,
    SomeAnswer,
    WhyAnswer,
    WhyNode,
)

__all__ = ["lines_of", "why"]

_LONG = 12 * 3600.0
_JOINED = {
    "and": "all of",
    "or": "any of",
    "not": "not",
    "any_deps_match": "any dependency",
    "all_deps_match": "every dependency",
}
_CHOSEN = re.compile(r"(?:\.(?:allow|ignore)\([^()]*\))+$")
_SAID = {
    "materialized": "materialized",
    "requested": "asked for",
    "started": "begun",
    "failed": "failed",
    "released": "let go",
    "partition_added": "added",
    "freshness_lapsed": "lapsed",
    "freshness_warned": "warned",
    "freshness_restored": "fresh again",
    "code_changed": "other code",
    "rewired": "other dependencies",
    "check_passed": "a check passed",
    "check_failed": "a check failed",
}


def why(session: Session, asset: str, partition: str | None) -> None:
    """Explain one partition of an asset."""
    with session.client() as client:
        answer = client.why(asset, partition=partition)
    if session.json:
        print_json(answer)
        return
    out = console()
    for line in lines_of(answer):
        if line.no_wrap and sys.stdout.isatty():
            line.truncate(out.width, overflow="ellipsis")
        out.print(line, soft_wrap=True)


def lines_of(one: WhyAnswer) -> Iterator[Text]:
    """All that is said, line by line. A terminal shows of those with `no_wrap` what its width has room for."""
    now = one.now
    title = Text(in_line(one.asset), "bold")
    if one.partition is not None:
        title.append(f"  partition {in_line(one.partition)} of {one.partitions:,}" if one.partitions else "")
    yield title.append("  ").append(state_text(one.state))
    if one.freshness is not None:
        yield _freshness(one.freshness, now)
    if one.reported is not None:
        yield _reported(one.reported, now)
    yield from _run(one, now)
    yield from (_gate(gate, one, now) for gate in one.gates)
    if one.stopped is not None:
        yield _stopped(one.stopped, now)
    yield from (_maker(maker) for maker in one.makers)
    if one.tree is None:
        if one.external:
            yield Text(f"made by something else: freshet report {in_line(one.asset)} says so, or a sensor's Report")
        elif not one.makers:
            yield Text("no condition, sensor or schedule asks for it: freshet materialize does")
    else:
        yield from _condition(one, one.tree, now)
    if one.dependencies:
        yield Text("depends on")
        yield from (_long(Text("  ").append(_dependency(dep))) for dep in one.dependencies)


def _freshness(one: PromiseAnswer, now: float) -> Text:
    line = state_text(one.state)
    if one.deadline is None:
        return line
    return line.append(f"{'' if one.state == 'lapsed' else ', lapses'} {_when(one.deadline, now)}")


def _reported(event: EventAnswer, now: float) -> Text:
    data: Any = event.data or {}
    said = f", as made {_when(data['at'], now)}" if "at" in data else ""
    return Text(f"reported {_when(event.at, now)}{said}")


def _run(one: WhyAnswer, now: float) -> Iterator[Text]:
    run = one.run
    if run is None and (one.external or one.reported is not None):
        return
    if run is None:
        yield Text("never asked for" + (f", added {_when(one.added_at, now)}" if one.added_at is not None else ""))
        return
    line = Text(f"run {run.id} ").append(state_text(run.state)).append(f"  asked for by {in_line(run.origin)} ")
    yield line.append(f"{_when(run.created_at, now)}{_ended(run, now)}")
    errors = [step.error for step in run.steps if step.name == one.asset and step.state == "failed"]
    errors += [step.error for step in run.steps if step.name.startswith(f"{one.asset}.") and step.state == "failed"]
    if run.state == "failed" and (error := next(iter(errors), run.error)) is not None:
        yield _long(Text(f"  {error_line(error)}", "red"))
    if run.blocked_by:
        yield Text(f"  {in_line(run.blocked_by)}", "yellow")
    if one.earlier is not None:
        yield _long(Text(f"  under an earlier condition: {in_line(one.earlier)}"))
    if run.version is not None and run.version != one.definitions_version:
        was, now_is = in_line(run.version[:12]), in_line(one.definitions_version[:12])
        yield Text(f"  with version {was} of the plugins; {now_is} is in force now")


def _gate(gate: GateAnswer, one: WhyAnswer, now: float) -> Text:
    said = f"held back from those below: the check {in_line(gate.check)} "
    if gate.failed and gate.at is not None:
        said += f"failed {_when(gate.at, now)}" + (f" in run {gate.run_id}" if gate.run_id is not None else "")
    elif gate.run_id is not None:
        return Text(f"{said}is still to look at it, in run {gate.run_id}", "yellow")
    else:
        said += "has not looked at it"
    return Text(f"{said}; freshet verify {_of(one.asset, one.partition)} lets it look", "red")


def _of(asset: str, key: str | None) -> str:
    """As a command names them."""
    return in_line(asset if key is None else f"{asset} -p {shlex.quote(key)}")


def _ended(run: RunAnswer, now: float) -> str:
    return "" if run.ended_at is None else f", ended {_when(run.ended_at, now)}"


def _stopped(event: EventAnswer, now: float) -> Text:
    data: Any = event.data or {}
    said = f"not asked for again {_when(event.at, now)}: {data['depth'] - 1} automatic runs led to it"
    said += f", the last of them run {data['run']}" if data.get("run") else ""
    return Text(f"{said}; break the loop, or raise [automation] max_chain", "red")


def _maker(one: MakerAnswer) -> Text:
    line = Text(f"the {one.kind} {in_line(one.name)} asks for it  ").append(state_text(one.status))
    if one.waiting:
        line.append(f", {one.waiting:,} of its requests wait")
    if one.status == "paused":
        return line.append(f"; freshet resume {in_line(one.name)} lets it go on")
    said = [in_line(one.problem)] if one.problem else []
    said += [f"freshet resume {in_line(one.name)} lets it go on"] if one.status == "quarantined" else []
    said += [error_line(one.error, with_place=True)] if one.error is not None else []
    return line.append(f": {'; '.join(said)}" if said else "")


def _condition(one: WhyAnswer, tree: WhyNode, now: float) -> Iterator[Text]:
    yield Text(f"condition {one.condition}: ").append(
        "true" if tree.value else "not true", "green" if tree.value else "yellow"
    )
    yield from _tree(tree, one.asset, 1, now)
    if tree.value and one.state != "in_progress" and one.run is not None and one.run.ended:
        yield Text("it was asked for when this became true, and is again once it has been false")
    if one.needs:
        yield Text("it is asked for when")
        yield from (_long(Text(f"  {'or ' if at else ''}{in_line(said)}")) for at, said in enumerate(one.needs))


def _tree(node: WhyNode, of: str, depth: int, now: float) -> Iterator[Text]:
    mark, style = (_marks()[0], "green") if node.value else (_marks()[1], "red")
    yield _long(Text("  " * depth).append(mark, style).append(" ").append(_said(node, of, now)))
    for child in () if _bare_not(node) else node.children:
        yield from _tree(child, of, depth + 1, now)


def _bare_not(node: WhyNode) -> bool:
    """`not in_progress`: one line."""
    return node.kind == "not" and node.label is None and not node.children[0].children


def _said(node: WhyNode, of: str, now: float) -> str:
    if _bare_not(node):
        return f"not {_said(node.children[0], of, now)}"
    name = in_line((node.label or _JOINED.get(node.kind) or _own(node)) + _chosen(node))
    line = f"{in_line(node.asset)}: {name}" if node.asset != of else name
    if node.asked != 1:
        line += f"  {_some(node.true_of, node.asked)}"
    if node.attempts is not None:
        failed, most = node.attempts
        line += f"  {failed} of {most} attempts failed" + (", exhausted" if failed >= most else "")
    if node.until is not None and node.until > now:
        line += f"  waits until {_when(node.until, now)}"
    if node.event is not None:
        line += f"  {_event(node.event, now)}"
    return line


def _chosen(node: WhyNode) -> str:
    """The dependencies that it is about, where those are chosen."""
    found = _CHOSEN.search(node.expression) if node.kind.endswith("_deps_match") else None
    return "" if found is None else found[0]


def _own(node: WhyNode) -> str:
    """A node without what it is made of, which is in the lines below it."""
    inner = node.children[0].expression if node.children else None
    if node.kind == "since":
        return f"since {node.children[1].expression}"
    if node.kind == "asset_matches":
        return f"asset_matches({node.children[0].asset!r})"
    if inner is not None and node.expression.startswith(inner):
        return node.expression.removeprefix(inner).lstrip(".")
    return node.kind if inner is not None else node.expression


def _some(some: SomeAnswer, of: int) -> str:
    return f"{some.count:,} of {of:,}{_keys(some)}"


def _keys(some: SomeAnswer) -> str:
    more = "..., " if some.count > len(some.keys) else ""
    return f" ({more}{', '.join(map(in_line, some.keys))})" if some.keys else ""


def _event(event: EventAnswer, now: float) -> str:
    by = f" by run {event.run_id}" if event.run_id is not None else ""
    return f"[{event.seq}: {_SAID.get(event.type, event.type)} {_when(event.at, now)}{by}]"


def _dependency(one: DependencyAnswer) -> Text:
    line = Text(f"{in_line(one.asset)}: ")
    if one.named == 0:
        line.append("no partition of it")
    elif one.named == 1:
        look = _of(one.asset, next(iter(one.held.keys), None))
        states = [(f"held by its checks (freshet why {look})", one.held), ("failed", one.failed)]
        states += [("on its way", one.moving), ("missing", one.missing)]
        said = [word for word, some in states if some.count]
        line.append(", ".join(["materialized"] * bool(one.materialized) + said))
    else:
        line.append(f"{one.materialized:,} of {one.named:,} materialized")
        states = [("held by their checks", one.held), ("failed", one.failed)]
        states += [("on their way", one.moving), ("missing", one.missing)]
        for word, some in states:
            if some.count:
                line.append(f", {some.count:,} {word}{_keys(some)}")
    if one.holds is not None:
        line.append("; holds back" if one.holds == "hard" else "; holds back for a time", "yellow")
    return line


def _when(at: float, now: float) -> str:
    """`3m ago (12:00:05.123)`, with the date instead of the time where it is long ago, and neither before 1970."""
    if at < 0:
        return age(at, now)
    long = abs(now - at) >= _LONG
    return (
        f"{age(at, now)} ({datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M})"
        if long
        else f"{age(at, now)} ({clock(at)})"
    )


def _long(line: Text) -> Text:
    line.no_wrap = True
    return line


def _marks() -> tuple[str, str]:
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return ("✓", "✗") if encoding.startswith("utf") else ("+", "-")
