"""Which files a sensor means, and which partition key a file has: pure functions of the relative path."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from freshet import DefinitionError

__all__ = ["KeyTemplate", "Pattern", "temporary"]

_TOKEN = re.compile(r"\{\{|\}\}|\{(?P<field>[^{}]*)\}|[^{}]|[{}]")
_UNFINISHED = (".tmp", ".part", ".partial", "~")
_DEEP = "**"
_WILD = {"*": "[^/]*", "?": "[^/]"}
_BRACES = {"{{": "{", "}}": "}"}


def temporary(name: str) -> bool:
    """Whether a file or folder of this name is taken for unfinished: `.x`, `x.tmp`, `x.part`, `x.partial`, `x~`."""
    return name.startswith(".") or name.lower().endswith(_UNFINISHED)


class Pattern:
    """A pattern: a relative path with `/` between folders.

    Within a name, `*` is any text (also none), `?` one character, `{field}` any text of at least one character, as
    short as the rest allows. `**` alone between slashes is any number of folders, also none: `**/{name}.csv` means the
    files of the folder itself, too. A field that stands twice must be the same text. Everything else is itself, also
    `[ab]`; `{{` and `}}` are braces. Upper and lower case differ.

    `fields`: the names of its fields, in order. Raises `DefinitionError`.
    """

    def __init__(self, text: str, *, what: str = "pattern") -> None:
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # plugins are not type-checked
            raise DefinitionError(f"{what} takes a text, not {text!r}", hint='for example "{date}/{name}.csv"')
        self.text = text
        self._what = what
        segments = text.split("/")
        if segments[-1] == _DEEP:
            segments.append("*")
        if any(segment in ("", ".", "..") for segment in segments):
            raise self._wrong("is no relative path of plain names", 'for example "{date}/{name}.csv"')
        if any(segment != _DEEP and temporary(segment) for segment in segments):
            raise self._wrong(
                "asks for names that are taken for unfinished", "`.x`, `x.tmp`, `x.part`, `x.partial`, `x~` are ignored"
            )
        seen: list[str] = []
        whole: list[str] = []
        self._folders: list[re.Pattern[str] | None] = []
        for at, segment in enumerate(segments):
            last = at == len(segments) - 1
            if segment == _DEEP:
                whole.append(r"(?:[^/]+/)*")
                self._folders.append(None)
                continue
            whole.append(self._expression(segment, seen) + ("" if last else "/"))
            if not last:
                self._folders.append(re.compile(self._expression(segment, None)))
        self.fields = tuple(seen)
        self._whole = re.compile("".join(whole))
        self.matches: Callable[[str], object] = self._whole.fullmatch
        """Whether a relative path is meant: true or false in the sense of `if`. A scan asks this for every name."""

    def match(self, path: str) -> dict[str, str] | None:
        """The fields of a relative path, None where it is not meant."""
        found = self._whole.fullmatch(path)
        return None if found is None else found.groupdict()

    def enters(self, folder: str) -> bool:
        """Whether a file that is meant may lie in this folder (relative, without a slash at its end) or below."""
        parts = folder.split("/")
        for at, part in enumerate(parts):
            if at == len(self._folders):
                return False
            allowed = self._folders[at]
            if allowed is None:
                return True
            if not allowed.fullmatch(part):
                return False
        return True

    @property
    def flat(self) -> bool:
        """Whether all files that are meant lie in the folder itself."""
        return not self._folders

    def _expression(self, segment: str, seen: list[str] | None) -> str:
        """A segment as a regular expression; `seen` collects the fields, None leaves them unnamed."""
        parts: list[str] = []
        before = ""
        for text, field in _tokens(segment):
            kind = "field" if field is not None else text
            if field is not None:
                parts.append(self._field(field, seen))
            elif text in ("{", "}"):
                raise self._wrong(f"has a stray {text!r}", "write a field as {name}, a brace twice")
            else:
                parts.append(_WILD.get(text) or re.escape(_BRACES.get(text, text)))
            if {kind, before} <= {"field", "*"}:
                raise self._wrong(
                    f"leaves open where one part of {segment!r} ends and the next begins",
                    "put text between fields and stars; ** stands alone between slashes",
                )
            before = kind
        return "".join(parts)

    def _field(self, field: str, seen: list[str] | None) -> str:
        if not field.isidentifier():
            raise self._wrong(f"has the field {{{field}}}", "a field is a plain name, such as {batch}")
        if seen is None:
            return "[^/]+"
        if field in seen:
            return f"(?P={field})"
        seen.append(field)
        return f"(?P<{field}>[^/]+?)"

    def _wrong(self, reason: str, hint: str) -> DefinitionError:
        return DefinitionError(f"{self._what} {self.text!r} {reason}", hint=hint)


class KeyTemplate:
    """A file's partition key: `"{date}-{name}"` from the fields of its pattern.

    Without a text: the fields joined by `-`; of a pattern without fields, the relative path. Raises `DefinitionError`.
    """

    def __init__(self, text: str | None, pattern: Pattern, *, what: str = "key") -> None:
        self.text = text
        self._parts: list[tuple[str, str | None]] = []
        if text is None:
            self._parts = [(field, field) for field in pattern.fields]
            return
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionError(f"{what} takes a text, not {text!r}", hint='for example "{date}-{name}"')
        for part, field in _tokens(text):
            if part in ("{", "}"):
                raise DefinitionError(f"{what} {text!r} has a stray {part!r}", hint="write a brace twice")
            if field is not None and field not in pattern.fields:
                raise DefinitionError(
                    f"{what} {text!r} asks for {{{field}}}, which the pattern {pattern.text!r} does not have",
                    hint=f"it has {', '.join(pattern.fields) or 'no fields'}",
                )
            self._parts.append((_BRACES.get(part, part), field))
        if not text:
            raise DefinitionError(f"{what} is empty", hint='for example "{date}-{name}"')

    def key(self, path: str, fields: dict[str, str]) -> str:
        """The key, not yet checked for what a key may hold."""
        if self.text is None:
            return "-".join(fields[name] for name, _ in self._parts) if self._parts else path
        return "".join(part if field is None else fields[field] for part, field in self._parts)


def _tokens(text: str) -> Iterator[tuple[str, str | None]]:
    for found in _TOKEN.finditer(text):
        yield found[0], found["field"]
