"""What a plugin imports: each public name with its signature and the first paragraph of what it says of itself."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import freshet
import freshet.testing
import freshet_sensors

__all__ = ["python"]


def python() -> str:
    """The page."""
    parts = [
        "# Names for plugins",
        "",
        "Each with its signature and the first paragraph of its documentation; `help(freshet.asset)` has all of it.",
        "",
    ]
    for module, about in (
        (freshet, "What plugins are made of."),
        (freshet_sensors, "The sensors that ship; they use nothing that yours could not."),
        (freshet.testing, "For the tests of plugins: see [test a sensor](../howto/test-a-sensor.md)."),
    ):
        parts += [f"## {module.__name__}", "", about, "", *_module(module)]
    return "\n".join(parts)


def _module(module: ModuleType) -> Iterator[str]:
    for name in sorted(module.__all__, key=str.lower):
        if not name.startswith("__"):
            yield from _entry(name, getattr(module, name))


def _entry(name: str, one: Any) -> Iterator[str]:
    yield f"### {name}"
    yield ""
    signature = _signature(name, one)
    if signature:
        yield from ("```text", signature, "```", "")
    yield _about(one)
    yield ""
    members = dict(_members(one))
    if members:
        yield "| | |"
        yield "|---|---|"
        for member, about in members.items():
            yield f"| `{member}` | {about} |"
        yield ""


def _signature(name: str, one: Any) -> str:
    if _is_interface(one) or not callable(one) or _is_alias(one):
        return ""
    if _is_plain_exception(one):
        return ""
    try:
        found = inspect.signature(one)
    except (TypeError, ValueError):
        return ""
    given = [_parameter(each) for each in found.parameters.values()]
    if [each.name for each in found.parameters.values()] == ["_", "__"] or not given:
        return f"{name}()" if not given else ""
    star = any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in found.parameters.values())
    kinds = [each.kind for each in found.parameters.values()]
    if not star and inspect.Parameter.KEYWORD_ONLY in kinds:
        given.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    line = f"{name}({', '.join(given)})"
    return line if len(line) <= 100 else f"{name}(\n" + "".join(f"    {each},\n" for each in given) + ")"


def _parameter(one: inspect.Parameter) -> str:
    mark = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}.get(one.kind.name, "")
    kind = one.annotation if isinstance(one.annotation, str) else getattr(one.annotation, "__name__", "")
    kind = "" if one.annotation is inspect.Parameter.empty else f": {kind}"
    if one.default is inspect.Parameter.empty:
        return f"{mark}{one.name}{kind}"
    default = repr(one.default)
    return f"{mark}{one.name}{kind} = {'...' if ' at 0x' in default or '<' in default else default}"


def _about(one: Any) -> str:
    if _is_alias(one):
        return f"`{_shown(one)}`"
    text = inspect.cleandoc(one.__doc__ or "").partition("\n\n")[0]
    return " ".join(text.split()) or "See its module."


def _is_alias(one: Any) -> bool:
    return typing.get_origin(one) is not None


def _shown(one: Any) -> str:
    return str(one).replace("typing.", "").replace("datetime.", "")


def _is_plain_exception(one: Any) -> bool:
    return isinstance(one, type) and issubclass(one, BaseException) and not inspect.isfunction(one.__init__)


def _is_interface(one: Any) -> bool:
    return isinstance(one, type) and getattr(one, "_is_protocol", False)


def _members(one: Any) -> Iterator[tuple[str, str]]:
    """Of `ctx`, what it offers; of conditions, their factories and operators."""
    if not (_is_interface(one) or one is freshet.AutomationCondition):
        return
    names = [name for each in reversed(one.__mro__) for name in vars(each) if not name.startswith("_")]
    for name in dict.fromkeys(names):
        member: Any = inspect.getattr_static(one, name)
        call: Any = getattr(member, "__func__", member)  # of static and class methods
        about = inspect.cleandoc(getattr(call, "__doc__", None) or "").partition("\n\n")[0]
        if about and (callable(call) or isinstance(member, property)):
            shown = name if isinstance(member, property) else _call(name, call)
            yield shown.replace("|", "\\|"), " ".join(about.split()).replace("|", "\\|")


def _call(name: str, function: Any) -> str:
    """Names alone: types would make the table as wide as a wall."""
    parts: list[str] = []
    for one in inspect.signature(function).parameters.values():
        if one.name in ("self", "cls"):
            continue
        if one.kind is inspect.Parameter.KEYWORD_ONLY:
            parts.append(f"{one.name}=")
        elif one.kind is inspect.Parameter.VAR_POSITIONAL:
            parts.append(f"*{one.name}")
        elif one.kind is inspect.Parameter.VAR_KEYWORD:
            parts.append(f"**{one.name}")
        else:
            parts.append(one.name)
    return f"{name}({', '.join(parts)})"
