"""Which dependencies a condition looks at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from freshet.errors import DefinitionError

__all__ = ["Selection", "selected"]


@dataclass(frozen=True)
class Selection:
    """Names of assets, `group:NAME`, `tag:NAME` or `tag:NAME=VALUE`. `allow` None: all; what is in `ignore` is out."""

    allow: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()

    def has(self, name: str, group: str | None, tags: Mapping[str, str]) -> bool:
        """Whether an asset belongs to it."""
        labels = {name, f"group:{group}", *(f"tag:{key}" for key in tags)}
        labels.update(f"tag:{key}={value}" for key, value in tags.items())
        return (self.allow is None or not labels.isdisjoint(self.allow)) and labels.isdisjoint(self.ignore)

    def allowing(self, more: tuple[str, ...]) -> Selection:
        """These allowed as well, or if all were, these alone."""
        return Selection(_joined(self.allow or (), more), self.ignore)

    def ignoring(self, more: tuple[str, ...]) -> Selection:
        """These left out as well."""
        return Selection(self.allow, _joined(self.ignore, more))

    @property
    def names(self) -> tuple[str, ...]:
        """The assets that it names."""
        return tuple(one for one in (*(self.allow or ()), *self.ignore) if ":" not in one)

    def __str__(self) -> str:
        allow = "" if self.allow is None else f".allow({', '.join(map(repr, self.allow))})"
        return allow + (f".ignore({', '.join(map(repr, self.ignore))})" if self.ignore else "")


def selected(given: Iterable[object], what: str) -> tuple[str, ...]:
    """What was given to `allow` or `ignore`, as texts. Raises `DefinitionError` for what names no asset."""
    found = list[str]()
    for one in given:
        name: object = getattr(getattr(one, "spec", None), "name", one)
        kind, colon, rest = name.partition(":") if isinstance(name, str) else ("", "", "")
        if not isinstance(name, str) or not kind or (colon and (kind not in ("group", "tag") or not rest)):
            raise DefinitionError(
                f"{what}({name!r}) names no asset", hint='give an asset, its name, "group:NAME", or "tag:NAME=VALUE"'
            )
        found.append(name)
    if not found:
        raise DefinitionError(f"{what}() names nothing", hint=f'write {what}("upstream") or {what}("group:staging")')
    return tuple(found)


def _joined(known: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*known, *more)))
