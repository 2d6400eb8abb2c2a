"""What comes from outside stays text on the terminal."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.cli.arguments import json_argument, parameters
from freshet.cli.commands.show import failing_schedule
from freshet.cli.journal_lines import parse_line, rendered
from freshet.cli.session import UsageError
from freshet.cli.text import age, error_line, error_text, in_line, plain
from freshet.http.models import ScheduleAnswer


@given(st.text(alphabet=st.characters(categories=None)))
def test_no_control_character_reaches_the_terminal(text: str) -> None:
    for char in plain(text):
        assert char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp")
    assert not set(in_line(text)) & set("\n\t\u202e\u2066\u200f")


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S"])))
def test_letters_stay_as_they_are(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202eb", "a\\u202eb"),
        ("\ud800", "\\ud800"),
        ("a\r\nb", "a\\x0d\nb"),
        ("[red]x[/red]", "[red]x[/red]"),
        ("grün 日本", "grün 日本"),
    ],
)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert plain(text) == shown


@pytest.mark.parametrize(
    ("stream", "line"),
    [
        ({"stream": "stdout", "text": "12 rows"}, "raw | 12 rows"),
        ({"stream": "stderr", "text": "\x1b[2J"}, "raw | \\x1b[2J"),
        (
            {"stream": "log", "level": "info", "message": "read", "fields": {"rows": 3, "f": "a\nb"}},
            "raw info: read rows=3 f=a\\nb",
        ),
        ({"stream": "progress", "fields": {"done": 3, "total": 10}}, "raw progress 3/10 (30%)"),
        ({"stream": "progress", "fields": {"done": 3, "total": None}}, "raw progress 3"),
        ({"stream": "metadata", "fields": {"rows": 3}}, "raw metadata rows=3"),
        ({"stream": "state", "message": "started", "fields": {"pid": 7}}, "raw started pid=7"),
        (
            {"stream": "state", "message": "failed", "fields": {"error": {"type": "E", "message": "no"}}},
            "raw failed: E: no",
        ),
        (
            {"stream": "state", "message": "failed", "fields": {"error": {"message": "no", "traceback": "a\nb\n"}}},
            "raw failed: a\n    b",
        ),
        ({"stream": "new", "text": "x"}, "raw new: x"),
    ],
)
def test_a_journal_line_is_one_for_people(stream: dict[str, object], line: str) -> None:
    found = rendered(parse_line(json.dumps({"t": 0.5, "step": "raw", "attempt": 1, **stream}).encode()))
    assert found[12:] == f" {line}"
    assert found[8:12] == ".500"


def test_a_later_attempt_is_marked_and_a_torn_line_is_shown() -> None:
    assert " raw#2 | x" in rendered(
        parse_line(b'{"t": 1, "step": "raw", "attempt": 2, "stream": "stdout", "text": "x"}')
    )
    assert '{"t": 1, "st\\x1b' in rendered(parse_line(b'{"t": 1, "st\x1b'))
    assert "[1]" in rendered(parse_line(b"[1]"))


def test_errors_are_shown_in_any_form() -> None:
    error = {"type": "ValueError", "message": "bad\nline", "traceback": "Traceback\n  x\n"}
    assert error_text(error) == "Traceback\n  x"
    assert error_line(error) == "ValueError: bad\\nline"
    assert error_text("lost") == "lost"
    assert error_text({"code": 3}) == '{"code": 3}'


def test_ages() -> None:
    assert [age(at, 100.0) for at in (None, 100.2, 40.0, 160.0, 100.0 - 3700)] == [
        "-",
        "now",
        "1m ago",
        "in 1m",
        "1h1m ago",
    ]


def test_parameters_are_told_apart_at_the_first_equals_sign() -> None:
    assert parameters(["n=1", "t=abc", "l=[1, 2]", "e=", "eq=a=b", "b=true", 'q="1"', "x=NaN"]) == {
        "n": "1",
        "t": "abc",
        "l": "[1, 2]",
        "e": "",
        "eq": "a=b",
        "b": "true",
        "q": '"1"',
        "x": "NaN",
    }
    for wrong in (["n"], ["=1"], ["n=1", "n=2"]):
        with pytest.raises(UsageError):
            parameters(wrong)


@pytest.mark.parametrize("text", ["{", "NaN", "[1, Infinity]", "[" * 100_000, "abc"])
def test_a_json_argument_must_be_json(text: str) -> None:
    with pytest.raises(UsageError, match="the cursor is not JSON"):
        json_argument(text, "the cursor")


def test_a_failing_schedule_is_told_in_one_line() -> None:
    trace = 'Traceback:\n  File "/opt/lib.py", line 3, in go\n  File "/p/a.py", line 7, in body\n'
    answer = ScheduleAnswer(
        name="nightly",
        doc="",
        cron="0 6 * * *",
        every=None,
        timezone="UTC",
        target=None,
        misfire="latest",
        status="failing",
        next=86_400.0,
        last_fired=None,
        held_at=21_600.0,
        retry_at=21_700.0,
        failures=2,
        last_error={"type": "ValueError", "message": "not\ntoday", "traceback": trace},
        file=None,
        line=None,
    )
    assert failing_schedule(answer, 21_690.0) == (
        "nightly: failed 2 times, held at 1970-01-01T06:00:00+00:00, asked again in 10s: "
        "/p/a.py:7: ValueError: not\\ntoday"
    )
