"""A journal is bounded: the beginning and the end of what is too much are kept, and a line says what is not."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from freshet.host import journal as journals
from freshet.host.journal import ATTEMPT_MAX, Journal, journal_path


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal(tmp_path, clock=lambda: 1.5)
    made.begin(7, "orders", 1)
    return made


def lines(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal_path(tmp_path, 7).read_bytes().splitlines()]


def test_the_beginning_and_the_last_lines_of_too_much_are_kept(journal: Journal, tmp_path: Path) -> None:
    journal.state("started", pid=1)
    count = 0
    while count < 400_000:
        journal.text("stdout", f"{count:0100}")
        count += 1
    journal.log("error", "x" * 5_000, {})
    journal.progress(1, 2)
    assert journal.full
    journal.state("failed")
    journal.close()
    found = lines(tmp_path)
    size = journal_path(tmp_path, 7).stat().st_size
    assert ATTEMPT_MAX < size < ATTEMPT_MAX + 100_000
    streams = [line["stream"] for line in found]
    first = streams.index("cut")
    assert [int(line["text"]) for line in found[1:first]] == list(range(first - 1))
    second = found[first + 1]
    assert (second["stream"], second["fields"]["lines"]) == ("cut", 400_002 - (first - 1))
    tail = found[first + 2 : -1]
    assert [int(line["text"]) for line in tail[:-1]] == list(range(400_000 - len(tail) + 1, 400_000))
    assert (len(tail), tail[-1]["message"]) == (100, "x" * 1_000)
    assert found[-1]["message"] == "failed"


def test_output_that_nobody_cuts_into_lines_any_more_ends_with_its_last(journal: Journal, tmp_path: Path) -> None:
    journal.full = True
    for number in range(5_000):
        journal.skip("stdout", b"%d\n" % number)
    journal.skip("stderr", b"no end")
    journal.settle()
    journal.settle()
    journal.close()
    cut, *tail = lines(tmp_path)
    assert cut["fields"] == {"lines": 5_000, "bytes": sum(len(str(number)) + 1 for number in range(5_000)) + 6}
    out = [line["text"] for line in tail if line["stream"] == "stdout"]
    assert out[-3:] == ["4998", "4999", ""]
    assert len(out) == 100
    assert tail[-1]["text"] == "no end"


def test_the_next_attempt_begins_anew(journal: Journal, tmp_path: Path) -> None:
    for _ in range(300):
        journal.text("stdout", "x" * 64 * 1024)
    assert journal.full
    journal.close()
    journal.begin(8, "orders", 2)
    journal.text("stdout", "kept")
    journal.close()
    assert b"kept" in journal_path(tmp_path, 8).read_bytes()


def test_a_run_as_a_whole_has_a_limit(journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "RUN_MAX", 2**20)
    for _ in range(8):  # as many processes that an attempt forks
        other = Journal(tmp_path)
        other.begin(7, "orders", 1)
        for _ in range(100):
            other.text("stdout", "x" * 10_000)
        other.close()
    assert journal_path(tmp_path, 7).stat().st_size < 2**20 + 8 * (256 * 1024 + 20_000)


def json_line(line: dict[str, Any]) -> bytes:
    return orjson.dumps(line) + b"\n"


def test_lines_that_come_at_once_are_one_write(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bytes] = []

    def write(fd: int, data: bytes) -> int:
        written.append(data)
        return len(data)

    odd = ["a", "", 'quo"ted', "\x00\u2028 ä", "\\xff", "y" * 65_537]
    monkeypatch.setattr(os, "write", write)
    journal.texts("stdout", odd[:-1])
    assert len(written) == 1
    monkeypatch.undo()
    journal.texts("stdout", odd)
    journal.texts("stdout", [])
    journal.close()
    found = lines(tmp_path)
    assert written == [b"".join(json_line(line) for line in found[:5])]
    assert [line["text"] for line in found] == [*odd[:-1], "y" * 65_536, "y"]
    for line in odd[:-1]:
        journal.text("stdout", line)
    journal.close()
    assert lines(tmp_path)[-5:] == found[:5], "written one by one they are the same"


def test_a_line_that_a_full_disk_tears_harms_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int | None] = []
    journal = Journal(tmp_path, unwritten=lambda error: told.append(error.errno))
    journal.begin(7, "orders", 1)
    journal.text("stdout", "before")
    write = os.write

    def write_ten(fd: int, data: bytes) -> int:
        return write(fd, data[:10])

    monkeypatch.setattr(os, "write", write_ten)
    journal.text("stdout", "torn")
    monkeypatch.undo()
    journal.text("stdout", "after")
    journal.close()
    raw = journal_path(tmp_path, 7).read_bytes().splitlines()
    assert told == [errno.ENOSPC]
    assert [json.loads(raw[0])["text"], json.loads(raw[2])["text"]] == ["before", "after"]
    assert len(raw) == 3
