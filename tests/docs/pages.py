"""The documentation as data: its pages, their headings and links, and the blocks of code in them.

What stands behind the language of a block says what it is:

- `python`: a plugin, complete in itself; `title="plugins/orders.py"` names its file.
- `python part`: goes on with the plugin above it on the page.
- `python test`: a file of pytest beside the plugins above it. `python script`: a program of its own.
- `python foreign`: of another system.
- `console`: commands after `$ `, and what they print; `...` stands for anything. In a tutorial they are run: `daemon`
  marks the one that goes on, `skip` those that are not run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DOCS", "PAGES", "ROOT", "Block", "Page", "commands_of", "page_at"]

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))

_FENCE = re.compile(r"^```(?P<info>\S.*)?$")
_TITLE = re.compile(r'title="([^"]+)"')
_HEADING = re.compile(r"^#{1,6} (.+?)\s*$")
_LINK = re.compile(r"(?<!!)\[(?:[^\]]*)\]\(([^)\s]+)\)")
_CODE = re.compile(r"`[^`]*`")


@dataclass(frozen=True)
class Block:
    """A block of code: its text, the line of the page on which that begins, and what its fence says."""

    page: Path
    line: int
    language: str
    marks: frozenset[str]
    title: str | None
    text: str

    @property
    def place(self) -> str:
        """`howto/s3.md:12`."""
        return f"{self.page.relative_to(DOCS).as_posix()}:{self.line}"


@dataclass(frozen=True)
class Page:
    """A page: its blocks in order, the anchors that its headings make, and its links with their lines."""

    path: Path
    blocks: tuple[Block, ...]
    anchors: frozenset[str]
    links: tuple[tuple[int, str], ...]

    def python(self, *marks: str) -> tuple[Block, ...]:
        """Its blocks of Python with just these marks."""
        return tuple(one for one in self.blocks if one.language == "python" and one.marks == frozenset(marks))


def page_at(path: Path) -> Page:
    """Read a page. Raises `ValueError` for a block that does not end."""
    blocks, anchors, links = list[Block](), list[str](), list[tuple[int, str]]()
    begun: tuple[int, str] | None = None
    held: list[str] = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        fence = _FENCE.match(line)
        if begun is not None:
            if line == "```":
                blocks.append(_block(path, *begun, held))
                begun, held = None, []
            else:
                held.append(line)
        elif fence:
            begun = (number + 1, fence["info"] or "")
        elif heading := _HEADING.match(line):
            anchors.append(_unique(_slug(heading[1]), anchors))
        else:
            links += [(number, found) for found in _LINK.findall(_CODE.sub("", line))]
    if begun is not None:
        raise ValueError(f"{path}:{begun[0]}: a block that does not end")
    return Page(path, tuple(blocks), frozenset(anchors), tuple(links))


def commands_of(block: Block) -> Iterator[tuple[int, str, list[str]]]:
    """Each command of a console block with its line, and the lines that it prints. A backslash joins lines."""
    found: list[tuple[int, str, list[str]]] = []
    for number, line in enumerate(block.text.splitlines(), start=block.line):
        if line.startswith("$ "):
            found.append((number, line[2:], []))
        elif found and found[-1][1].endswith("\\") and not found[-1][2]:
            at, command, _ = found[-1]
            found[-1] = (at, f"{command[:-1].rstrip()} {line.strip()}", [])
        elif found:
            found[-1][2].append(line)
        elif line:
            raise ValueError(f"{block.place}: output before the first command")
    yield from found


def _block(path: Path, line: int, info: str, lines: list[str]) -> Block:
    title = _TITLE.search(info)
    language, *marks = _TITLE.sub("", info).split() or [""]
    return Block(path, line, language, frozenset(marks), title and title[1], "\n".join(lines) + "\n")


def _slug(heading: str) -> str:
    """As the forges make it of a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.lower())
    return kept.replace(" ", "-")


def _unique(slug: str, taken: list[str]) -> str:
    count = sum(one == slug or re.fullmatch(rf"{re.escape(slug)}-\d+", one) is not None for one in taken)
    return slug if not count else f"{slug}-{count}"
