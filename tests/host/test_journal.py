from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import orjson
import pytest

from freshet.host.journal import LINE_MAX, Journal, LineCutter, journal_path
from freshet.host.output import JournalStream


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal(tmp_path / "not" / "yet" / "runs", clock=lambda: 1.5)
    made.begin(7, "orders", 2)
    return made


def lines(tmp_path: Path) -> list[dict[str, Any]]:
    text = journal_path(tmp_path / "not" / "yet" / "runs", 7).read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_each_kind_of_line(journal: Journal, tmp_path: Path) -> None:
    journal.text("stdout", "hello")
    journal.log("info", "read", {"rows": 3})
    journal.progress(1, None)
    journal.metadata({"a": [1]})
    journal.state("started", pid=4)
    journal.close()
    journal.state("died")
    journal.close()
    head = {"t": 1.5, "step": "orders", "attempt": 2}
    assert lines(tmp_path) == [
        {**head, "stream": "stdout", "text": "hello"},
        {**head, "stream": "log", "level": "info", "message": "read", "fields": {"rows": 3}},
        {**head, "stream": "progress", "fields": {"done": 1, "total": None}},
        {**head, "stream": "metadata", "fields": {"a": [1]}},
        {**head, "stream": "state", "message": "started", "fields": {"pid": 4}},
        {**head, "stream": "state", "message": "died", "fields": {}},
    ]


def test_that_a_step_has_started_is_said_with_its_first_line(journal: Journal, tmp_path: Path) -> None:
    journal.started(os.getpid())
    assert not (tmp_path / "not").exists()
    journal.text("stdout", "hello")
    journal.text("stdout", "again")
    journal.succeeded()
    said = [line.get("text", line.get("message")) for line in lines(tmp_path)]
    assert said == ["started", "hello", "again", "succeeded"]


def test_who_says_nothing_has_no_journal_of_its_own(journal: Journal, tmp_path: Path) -> None:
    journal.started(os.getpid())
    journal.succeeded()
    journal.close()
    assert not (tmp_path / "not").exists()
    journal.begin(7, "orders", 3)
    journal.text("stdout", "hello")
    assert [line.get("text") for line in lines(tmp_path)] == ["hello"]


def test_who_says_nothing_has_its_states_in_the_journal_that_others_made(journal: Journal, tmp_path: Path) -> None:
    journal.started(os.getpid())
    other = Journal(tmp_path / "not" / "yet" / "runs")
    other.begin(7, "orders", 2)
    other.texts("stdout", ["through the pipe"])
    journal.succeeded()
    assert [line.get("text", line.get("message")) for line in lines(tmp_path)] == [
        "through the pipe",
        "started",
        "succeeded",
    ]


def test_what_a_fork_says_first_does_not_start_the_step_twice(journal: Journal, tmp_path: Path) -> None:
    journal.started(os.getpid())
    pid = os.fork()
    if pid == 0:
        journal.text("stdout", "below")
        os._exit(0)
    os.waitpid(pid, 0)
    journal.text("stdout", "above")
    assert [line.get("text", line.get("message")) for line in lines(tmp_path)] == ["below", "started", "above"]


def test_what_processes_below_say_comes_after_the_start_where_that_was_said(journal: Journal, tmp_path: Path) -> None:
    journal.started(os.getpid())
    journal.say_started()
    journal.say_started()
    other = Journal(tmp_path / "not" / "yet" / "runs")
    other.begin(7, "orders", 2)
    other.texts("stdout", ["through the pipe"])
    journal.succeeded()
    said = [line.get("text", line.get("message")) for line in lines(tmp_path)]
    assert said == ["started", "through the pipe", "succeeded"]


def test_first_lines_of_many_threads_are_all_kept(journal: Journal, tmp_path: Path) -> None:
    journal.started(os.getpid())
    threads = [threading.Thread(target=journal.text, args=("stdout", str(one))) for one in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = [line.get("text", line.get("message")) for line in lines(tmp_path)]
    assert said[0] == "started" and set(said[1:]) == {str(one) for one in range(20)} and len(said) == 21


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"path": Path("/x")}, {"path": "PosixPath('/x')"}),
        ({"big": 2**70}, {"big": str(2**70)}),
        ({"lone": "\ud800"}, {"lone": "\\ud800"}),
        ({"keys": {1: 2}}, {"keys": {"1": 2}}),
        ({"nan": float("nan")}, {"nan": None}),
    ],
)
def test_what_json_cannot_hold_is_shown_another_way(
    journal: Journal, tmp_path: Path, given: dict[str, Any], kept: dict[str, Any]
) -> None:
    journal.log("info", "x", given)
    journal.close()
    assert lines(tmp_path)[0]["fields"] == kept


def test_long_lines_are_cut(journal: Journal, tmp_path: Path) -> None:
    journal.text("stdout", "x" * (LINE_MAX + 5))
    journal.close()
    assert [len(line["text"]) for line in lines(tmp_path)] == [LINE_MAX, 5]


def test_threads_and_other_writers_do_not_mix_lines(journal: Journal, tmp_path: Path) -> None:
    second = Journal(tmp_path / "not" / "yet" / "runs")
    second.begin(7, "orders", 2)
    journal.text("stdout", "first")

    def write(to: Journal) -> None:
        for _ in range(200):
            to.text("stdout", "y" * 300)

    threads = [threading.Thread(target=write, args=(to,)) for to in (journal, second, journal, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    second.close()
    assert len(lines(tmp_path)) == 801


def test_a_stream_writes_whole_lines(journal: Journal, tmp_path: Path) -> None:
    stream = JournalStream(journal, "stdout", 1)
    print("one\ntwo", file=stream)
    print("10%\r20%\r30%\r", file=stream)
    print("rest", end="", file=stream)
    stream.flush()
    print("", file=stream)
    stream.write("z" * (LINE_MAX + 1))
    journal.close()
    assert [line["text"] for line in lines(tmp_path)][:5] == ["one", "two", "30%", "rest", ""]
    assert sum(len(line["text"]) for line in lines(tmp_path)[5:]) == LINE_MAX + 1
    assert (stream.encoding, stream.fileno(), stream.isatty()) == ("utf-8", 1, False)


def test_bytes_are_cut_into_lines() -> None:
    found: list[str] = []
    cutter = LineCutter(found.extend)
    for piece in (b"on", b"e\r\ntw\xff", b"o\n\n", b"x" * (LINE_MAX + 1), b"tail"):
        cutter.feed(piece)
    cutter.end()
    cutter.end()
    assert found == ["one", "tw\\xffo", "", "x" * (LINE_MAX + 1), "tail"]


def test_a_line_is_one_write(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []

    def write(fd: int, data: bytes) -> int:
        written.append(data)
        return len(data)

    monkeypatch.setattr(os, "write", write)
    journal.text("stdout", "x" * 10_000)
    journal.close()
    assert len(written) == 1
    assert orjson.loads(written[0])["text"] == "x" * 10_000
