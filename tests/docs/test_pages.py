"""What the documentation says is so: its plugins load, its settings are settings, its commands and links exist."""

from __future__ import annotations

import ast
import itertools
import os
import shlex
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.docs.pages import DOCS, PAGES, ROOT, Block, Page, commands_of, page_at

from freshet.cli.app import app
from freshet.configfile import ENV_PREFIX
from freshet.configuration import Settings, load_settings
from freshet.definitions.limits import Limits, PoolLimit
from freshet.definitions.source import collecting
from freshet.engine.limits import within_limits
from freshet.engine.warnings import with_warnings
from freshet.executors.base import LoadProblem, LoadReport
from freshet.host.describe import catalog

READ = [page_at(path) for path in PAGES]
BY_HAND = [one for one in READ if "reference" not in one.path.relative_to(DOCS).parts]
KNOWN = {"python": {"part", "test", "script", "foreign"}, "console": {"skip", "daemon"}}
COMMAND: Any = typer.main.get_command(app)
BASE = 'state_dir = "state"\nplugins_dir = "plugins"\n'


def _name(one: Page | Block) -> str:
    return one.place if isinstance(one, Block) else one.path.relative_to(DOCS).as_posix()


def _blocks(language: str) -> list[Block]:
    return [one for page in READ for one in page.blocks if one.language == language]


def _plugins(page: Page) -> list[tuple[Block, str]]:
    """Each plugin of a page, with the parts that go on with it."""
    found: list[tuple[Block, str]] = []
    for block in page.blocks:
        if block.language != "python" or block.marks - {"part"}:
            continue
        if "part" in block.marks:
            first, text = found[-1]
            lines = text.count("\n")
            found[-1] = (first, text + "\n" * (block.line - first.line - lines) + block.text)
        else:
            found.append((block, block.text))
    return found


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Callable[[Block, str], types.ModuleType]:
    """Executes a block under the name of its file; afterwards nothing of it is left."""
    numbers = itertools.count(1)

    def execute(block: Block, text: str) -> types.ModuleType:
        name = Path(block.title).stem if block.title else f"docs_block_{next(numbers)}"
        module = types.ModuleType(name)
        module.__file__ = str(block.page)
        monkeypatch.setitem(sys.modules, name, module)  # dataclasses and typing look there, and other plugins
        # Errors and definitions name the page and its lines.
        exec(compile("\n" * (block.line - 1) + text, str(block.page), "exec"), module.__dict__)
        return module

    return execute


def _limits(page: Page) -> Limits:
    """The pools that the settings on the page name."""
    pools: dict[str, PoolLimit] = {}
    for block in page.blocks:
        if block.language == "toml":
            pools.update(_settings_of(block).run_limits.pools)
    return Limits(pools)


def _settings_of(block: Block) -> Settings:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "freshet.toml")
        path.write_text(block.text if "state_dir" in block.text else BASE + block.text)
        return load_settings(path)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(ENV_PREFIX):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("page", [one for one in READ if one.python()], ids=_name)
def test_plugins_load(page: Page, modules: Callable[[Block, str], types.ModuleType]) -> None:
    """As under `freshet check`. Plugins with names of files belong together; each other one stands alone."""
    limits = _limits(page)
    together: list[object] = []
    for block, text in _plugins(page):
        with collecting() as found:
            modules(block, text)
        if block.title:
            together += found
        else:
            _check(block.place, found, limits)
    _check(_name(page), together, limits)


def _check(place: str, found: list[object], limits: Limits) -> None:
    made = catalog(list(dict.fromkeys(found)), version="docs")
    report = LoadReport(made.definitions, problems=tuple(LoadProblem(**one) for one in made.problems))
    report = within_limits(report, limits)
    report = with_warnings(report, report.definitions.resolved("UTC"), time.time())
    said = [f"{place}: {one.message} ({one.hint})" for one in (*report.problems, *report.warnings)]
    assert not said, "\n".join(said)


@pytest.mark.parametrize("page", [one for one in READ if one.python("test")], ids=_name)
def test_tests_pass(page: Page, modules: Callable[[Block, str], types.ModuleType]) -> None:
    for block, text in _plugins(page):
        with collecting():
            modules(block, text)
    run = 0
    for block in page.python("test"):
        module = modules(block, block.text)
        for name, one in vars(module).items():
            if name.startswith("test_"):
                one()
                run += 1
    assert run, "no test in a block that is one"


@pytest.mark.parametrize("block", _blocks("python"), ids=_name)
def test_python_is_python(block: Block) -> None:
    ast.parse(block.text)


@pytest.mark.parametrize("block", _blocks("toml"), ids=_name)
def test_settings_are_settings(block: Block) -> None:
    _settings_of(block)


@pytest.mark.parametrize("block", _blocks("console"), ids=_name)
def test_commands_are_commands(block: Block) -> None:
    found = list(commands_of(block))
    assert found, f"{block.place}: no command; each begins with '$ '"
    for line, command, _ in found:
        for one in _freshet_calls(command):
            _parse(one, f"{block.place.partition(':')[0]}:{line}")


def _freshet_calls(command: str) -> Iterator[list[str]]:
    """The arguments of each call of `freshet` on a line of the shell."""
    words = _split(command) if "freshet " in command else []
    for is_end, group in itertools.groupby(words, key=lambda word: set(word) <= set("|&;<>") and word != ""):
        part = list(group)
        if is_end:
            continue
        while part and (part[0] == "sudo" or "=" in part[0]):
            part = part[1:]
        if part and part[0].rpartition("/")[2] == "freshet":
            yield part[1:]


def _split(command: str) -> list[str]:
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    return list(lexer)


def _parse(argv: list[str], place: str) -> None:
    """Parse a command line to its end, and run nothing."""
    command = COMMAND
    try:
        context: Any = command.make_context("freshet", [*argv])
        while hasattr(command, "commands"):
            rest = [*context._protected_args, *context.args]
            name, command, rest = command.resolve_command(context, rest)
            context = command.make_context(name, rest, parent=context)
    except typer.Exit:
        pass  # --version
    except Exception as error:
        raise AssertionError(f"{place}: freshet {' '.join(argv)}: {error}") from error


def _leaves(command: Any, path: str = "") -> Iterator[str]:
    for name, one in command.commands.items():
        if hasattr(one, "commands"):
            yield from _leaves(one, f"{path}{name} ")
        else:
            yield path + name


@pytest.mark.parametrize("command", sorted(_leaves(COMMAND)))
def test_each_command_is_explained_somewhere(command: str) -> None:
    told = "\n".join(one.path.read_text() for one in BY_HAND)
    assert f"freshet {command}" in told, f"no page that is written by hand names `freshet {command}`"


@pytest.mark.parametrize("page", READ, ids=_name)
def test_links_lead_somewhere(page: Page) -> None:
    for line, link in page.links:
        if link.startswith(("https://", "http://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.path.parent / name).resolve() if name else page.path
        place = f"{_name(page)}:{line}: {link}"
        assert target.is_relative_to(ROOT), f"{place}: outside of the repository"
        assert target.exists(), f"{place}: there is no such file"
        if anchor:
            assert anchor in page_at(target).anchors, f"{place}: no such heading there"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_the_front_pages_lead_somewhere(name: str) -> None:
    page = page_at(ROOT / name)
    for line, link in page.links:
        target, _, anchor = link.partition("#")
        path = ROOT / target if target else page.path
        assert "//" in link or path.exists(), f"{name}:{line}: {link}: there is no such file"
        assert not anchor or "//" in link or anchor in page_at(path).anchors, f"{name}:{line}: {link}: no such heading"


def test_the_front_page_shows_commands_that_are() -> None:
    found = 0
    for block in page_at(ROOT / "README.md").blocks:
        if block.language not in ("", "sh", "console"):
            continue
        for number, line in enumerate(block.text.splitlines(), start=block.line):
            if line.removeprefix("$ ").startswith(("freshet ", "sudo freshet ")):
                for argv in _freshet_calls(line.removeprefix("$ ").replace(" RUN", " 1")):
                    _parse(argv, f"README.md:{number}")
                    found += 1
    assert found > 5, "they are written another way now"


def test_each_page_is_reached_from_the_index() -> None:
    seen, left = set[Path](), [DOCS / "README.md"]
    while left:
        path = left.pop()
        if path not in seen and path.suffix == ".md" and path.is_relative_to(DOCS):
            seen.add(path)
            links = [link for _, link in page_at(path).links if "//" not in link]
            left += [(path.parent / link.partition("#")[0]).resolve() for link in links]
    assert sorted(seen & set(PAGES)) == PAGES


@pytest.mark.parametrize("page", READ, ids=_name)
def test_blocks_say_what_they_are(page: Page) -> None:
    for block in page.blocks:
        assert block.language, f"{block.place}: a block without a language"
        assert block.marks <= KNOWN.get(block.language, set()), f"{block.place}: {sorted(block.marks)}"
