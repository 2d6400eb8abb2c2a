"""Keys from a file or standard input, streamed to the daemon."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.http.hand_control import Served, served_in

from freshet.cli.app import run


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with served_in(tmp_path) as found:
        yield found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\nb\r\n\nc d", "3 added\n"),
        ('"a"\n{"key": "b", "metadata": {"n": 1}}\n', "2 added\n"),
        ('\n"a"\n', "1 added\n"),
        ("\n".join(f"key {n}" for n in range(5000)), "5000 added\n"),
    ],
)
@pytest.mark.parametrize("source", ["file", "-"])
def test_keys_come_from_a_file(
    served: Served,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    said: str,
    source: str,
) -> None:
    config = ["--config", str(tmp_path / "freshet.toml")]
    file = tmp_path / "keys.txt"
    file.write_bytes(text.encode())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    chosen = str(file) if source == "file" else "-"
    assert run([*config, "partitions", "batches", "add", "--from", chosen]) == 0
    assert capsys.readouterr().out == said
    assert run([*config, "partitions", "batches", "delete", "--from", str(file)]) == 0
    assert capsys.readouterr().out == said.replace("added", "deleted")


def test_a_wrong_file_is_refused_with_its_line(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["--config", str(tmp_path / "freshet.toml"), "partitions", "batches"]
    file = tmp_path / "keys.txt"
    file.write_bytes(b"a\n.b\n")
    assert run([*call, "add", "--from", str(file)]) == 1
    assert "line 2" in capsys.readouterr().err
    file.write_bytes(b"a\n\xff\n")
    assert run([*call, "add", "--from", str(file)]) == 1
    assert "line 2" in capsys.readouterr().err
    assert run([*call, "--json"]) == 0
    assert '"partitions": []' in capsys.readouterr().out
    for wrong in (["add", "x", "--from", str(file)], ["--from", str(file)], ["add", "--from", str(tmp_path / "no")]):
        assert run([*call, *wrong]) == 2
        assert "--from" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('a\nb\n{"key": "c", "metadata": {"n": 1}}\n', "line 3 is a JSON object"),
        ('"a"\n\nb\n', "line 3 is a plain key, 'b'"),
        ("\n".join(f"key {n}" for n in range(2500)) + '\n{"key": "c"}\n', "line 2501 is a JSON object"),
    ],
)
def test_a_file_of_both_forms_is_refused_with_the_line(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    call = ["--config", str(tmp_path / "freshet.toml"), "partitions", "batches"]
    file = tmp_path / "keys.txt"
    file.write_text(text)
    assert run([*call, "add", "--from", str(file)]) == 2
    assert says in capsys.readouterr().err
    assert run([*call, "--json"]) == 0
    assert '"partitions": []' in capsys.readouterr().out, "nothing of it holds"
    file.write_text("b {\n{a\n")
    assert run([*call, "add", "--from", str(file)]) == 0
    assert capsys.readouterr().out == "2 added\n"
