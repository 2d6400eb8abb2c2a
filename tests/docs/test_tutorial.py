"""The tutorial, from its first command to its last, with a real daemon: it prints what it says it does."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docs.pages import DOCS, Block, commands_of, page_at
from tests.support.daemon import wait_until

PATIENCE = 120.0
LOOKS = re.compile(r"freshet (status|assets|sensors|schedules|runs|logs|partitions|plugins|inbox|why)\b")
"""Commands that show: asked again until they print what is expected. All others are run once."""


class Reader:
    """Somebody who does what the page says, in a folder of his own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self.started: list[subprocess.Popen[bytes]] = []
        programs = folder / "bin"
        programs.mkdir()
        for name, arguments in (("freshet", "-m freshet "), ("python", "")):
            program = programs / name
            program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {arguments}"$@"\n')
            program.chmod(0o755)
        own = {name: value for name, value in os.environ.items() if not name.startswith("FRESHET_")}
        self.environment = {**own, "PATH": f"{programs}:{os.environ['PATH']}", "NO_COLOR": "1", "COLUMNS": "200"}

    def follow(self, block: Block) -> None:
        """Do what a block says."""
        if block.title:
            path = self.folder / block.title
            path.write_text(self._here(block.text))
        elif block.language == "console" and "skip" not in block.marks:
            for line, command, expected in commands_of(block):
                self._do(self._here(command), expected, f"tutorial.md:{line}", goes_on="daemon" in block.marks)

    def _do(self, command: str, expected: list[str], place: str, *, goes_on: bool) -> None:
        if command.startswith("cd "):
            self.folder /= command[3:]
        elif goes_on:
            with (self.folder / "daemon.log").open("wb") as log:
                daemon = subprocess.Popen(
                    shlex.split(command), cwd=self.folder, env=self.environment, stdout=log, stderr=log
                )
            self.started.append(daemon)
            wait_until(lambda: "ready" in self._printed("freshet status"), f"{place}: {command}", within=PATIENCE)
        elif LOOKS.match(command):
            self._until_printed(command, expected, place)
        else:
            printed = self._printed(command)
            assert fits(printed, expected), f"{place}: {command}\n{printed}"

    def _until_printed(self, command: str, expected: list[str], place: str) -> None:
        printed = ""

        def is_so() -> bool:
            nonlocal printed
            printed = self._printed(command)
            return fits(printed, expected)

        try:
            wait_until(is_so, f"{place}: {command}", within=PATIENCE, every=0.2)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{printed}") from None

    def _printed(self, command: str) -> str:
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.stdout

    def _here(self, text: str) -> str:
        return text.replace("8765", str(self.port))

    def stop(self) -> None:
        """As Ctrl-C would."""
        for one in self.started:
            one.send_signal(signal.SIGINT)
            assert one.wait(timeout=PATIENCE) == 0

    def end(self) -> None:
        """Whatever was started is gone afterwards."""
        for one in self.started:
            with contextlib.suppress(ProcessLookupError):
                one.kill()
            one.wait()


def fits(printed: str, expected: list[str]) -> bool:
    """Whether it was printed: line by line, of which `...` stands for any number, and in a line for anything."""
    wanted = [line for line in expected if line.strip()]
    found = [line.rstrip() for line in printed.splitlines() if line.strip()]
    pattern = "".join(r"(?:.*\n)*" if line.strip() == "..." else _line(line) for line in wanted)
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in found)) is not None


def _line(line: str) -> str:
    parts = [r"\s+".join(map(re.escape, part.split())) for part in line.split("...")]
    return r"\s*" + r".*".join(parts) + r"\s*\n"


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """One who has just begun."""
    made = Reader(tmp_path)
    try:
        yield made
    finally:
        made.end()


def test_the_tutorial_does_what_it_says(reader: Reader) -> None:
    page = page_at(DOCS / "tutorial.md")
    for block in page.blocks:
        reader.follow(block)
    assert reader.started, "no daemon was started"
    reader.stop()
    log = (reader.folder / "daemon.log").read_text()
    assert "Traceback" not in log.replace("could not convert string", ""), log


@pytest.mark.parametrize(
    ("printed", "expected", "is_so"),
    [
        ("a\nb\n", ["a", "b"], True),
        ("a\nb\n", ["a"], False),
        ("a\nx\ny\nb\n", ["a", "...", "b"], True),
        ("a 12 c\n", ["a ... c"], True),
        ("a 12 c\n", ["a ... d"], False),
        ("a   c\n", ["a c"], True),
        ("", ["..."], True),
        ("x\n", [], False),
    ],
)
def test_what_is_printed_is_compared(printed: str, expected: list[str], is_so: bool) -> None:
    assert fits(printed, expected) is is_so


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
