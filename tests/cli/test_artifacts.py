"""`freshet artifacts`, and the API below it, against a whole engine."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.served import ServedEngine, served_engine

from freshet import asset
from freshet.http.unixpath import reachable

SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


@asset
def above(ctx: Any) -> int:
    ctx.artifact("note", markdown="above \x1b[31m")
    return 1


@asset
def below(ctx: Any, above: int) -> int:
    ctx.artifact("note", markdown="first")
    ctx.artifact("note", markdown="# Last")
    ctx.artifact("rows", table=[{"shop": "berlin", "sum": 2.5}])
    ctx.artifact("docs", link="https://example.org/")
    ctx.artifact("drawing", image=SVG)
    return above


@pytest.fixture
def served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Generator[ServedEngine]:
    with served_engine(tmp_path, [above, below], capsys) as one:
        (tmp_path / "state" / "runs").symlink_to(tmp_path / "runs")  # the engine's folder is not the server's here
        assert one.cli("materialize", "above", "below").status == 0
        one.settle()
        yield one


def test_they_are_listed_and_printed(served: ServedEngine, tmp_path: Path) -> None:
    cli = served.cli
    listed = cli("artifacts", "1", "--json").json
    assert [(one["step"], one["name"], one["kind"]) for one in listed] == [
        ("above", "note", "markdown"),
        ("below", "note", "markdown"),
        ("below", "rows", "table"),
        ("below", "docs", "link"),
        ("below", "drawing", "image"),
    ]
    shown = cli("artifacts", "1").out
    assert "https://example.org/" in shown
    assert "drawing" in shown
    assert cli("artifacts", "1", "note", "--step", "below").out == "# Last\n"
    assert cli("artifacts", "1", "note", "--step", "above").out == "above \\x1b[31m\n"
    assert "berlin" in cli("artifacts", "1", "rows").out
    assert cli("artifacts", "1", "rows", "--json").json == {
        "columns": ["shop", "sum"],
        "rows": [["berlin", 2.5]],
        "more": 0,
    }
    assert cli("artifacts", "1", "docs").out == "https://example.org/\n"
    assert cli("artifacts", "1", "drawing", "-o", str(tmp_path / "drawn.svg")).status == 0
    assert (tmp_path / "drawn.svg").read_bytes() == SVG
    assert "artifact name=note kind=markdown size=6" in cli("logs", "1").out


def test_what_is_not_there_is_said(served: ServedEngine) -> None:
    cli = served.cli
    assert "2 steps have an artifact 'note'" in cli("artifacts", "1", "note").err
    assert "did you mean 'rows'?" in cli("artifacts", "1", "rowz").err
    assert "there is no run 9" in cli("artifacts", "9").err


def test_a_plugins_content_is_no_page_of_ours(served: ServedEngine, tmp_path: Path) -> None:
    with reachable(tmp_path / "state" / "freshet.sock") as path:
        transport = httpx.HTTPTransport(uds=path)
        with httpx.Client(transport=transport, base_url="http://freshet/api/v1/") as http:
            (file,) = [one["file"] for one in http.get("runs/1/artifacts").json() if one["kind"] == "image"]
            answer = http.get(f"runs/1/artifacts/{file}")
            assert (answer.content, answer.headers["content-type"]) == (SVG, "image/svg+xml")
            assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
            assert answer.headers["x-content-type-options"] == "nosniff"
            for other in ("index.jsonl", "..%2Fjournal.jsonl", "0-1-99.md"):
                assert http.get(f"runs/1/artifacts/{other}").status_code == 404
