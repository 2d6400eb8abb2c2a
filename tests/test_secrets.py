"""Secrets by reference: read when needed, read again when they change, shown nowhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tests.support.unprivileged import as_nobody, his_folder

from freshet.secrets import MissingSecret, Secrets


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_each_kind_is_read_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "creds").mkdir()
    (tmp_path / "creds" / "hook").write_text("from systemd\r\n")
    (tmp_path / "key").write_text("from a file\n")
    secrets = Secrets(tmp_path, environ={"KEY": "from outside", "CREDENTIALS_DIRECTORY": str(tmp_path / "creds")})
    assert secrets.read("env:KEY") == b"from outside"
    assert secrets.read("file:key") == secrets.read(f"file:{tmp_path / 'key'}") == b"from a file"
    assert secrets.read("cred:hook") == b"from systemd"


def test_a_file_that_is_another_is_read_again(tmp_path: Path) -> None:
    path, time = tmp_path / "key", Time()
    path.write_text("one")
    secrets = Secrets(tmp_path, monotonic=time)
    assert secrets.read("file:key") == b"one"
    path.write_text("other")
    time.now += 2
    assert secrets.read("file:key") == b"other"
    path.unlink()
    time.now += 2
    with pytest.raises(MissingSecret, match=r"'file:key' cannot be read: No such file"):
        secrets.read("file:key")
    (tmp_path / "new").write_text("three")
    (tmp_path / "new").rename(path)
    time.now += 2
    assert secrets.read("file:key") == b"three"


@pytest.mark.parametrize(
    ("reference", "says", "hint"),
    [
        ("env:KEY", "not there, or empty", "set KEY in the daemon's environment"),
        ("env:EMPTY", "not there, or empty", "start it anew"),
        ("file:empty", "not there, or empty", "write the secret into"),
        ("file:.", "Is a directory", "may read"),
        ("file:huge", "over 65,536 bytes", "write the secret"),
        ("file:\0", "cannot be read", "may read"),
        ("cred:x", "no $CREDENTIALS_DIRECTORY", "LoadCredential="),
        ("cred:../x", "is no credential's name", "LoadCredential=NAME:PATH"),
        ("cred:/etc/passwd", "is no credential's name", "LoadCredential=NAME:PATH"),
    ],
)
def test_what_is_missing_says_where_and_what_to_do(tmp_path: Path, reference: str, says: str, hint: str) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "huge").write_text("x" * 70_000)
    with pytest.raises(MissingSecret) as error:
        Secrets(tmp_path, environ={"EMPTY": ""}).read(reference)
    assert says in error.value.message
    assert hint in error.value.hint
    assert "xxxx" not in str(error.value)


def test_a_credential_that_was_not_loaded_names_the_line_of_the_unit(tmp_path: Path) -> None:
    with pytest.raises(MissingSecret) as error:
        Secrets(tmp_path, environ={"CREDENTIALS_DIRECTORY": str(tmp_path)}).read("cred:orders")
    assert "'cred:orders' cannot be read: No such file" in error.value.message
    assert "LoadCredential=orders," in error.value.hint and "/etc/credstore/orders" in error.value.hint


def test_one_that_is_somebody_elses_is_said_and_not_shown() -> None:
    """As systemd leaves them: 0400. Another user than the service's reads nothing."""
    with his_folder() as folder:
        (folder / "orders").write_text("hunter2")
        (folder / "orders").chmod(0o400 if os.geteuid() == 0 else 0)
        code = (
            "import os; from pathlib import Path; from freshet.secrets import Secrets; assert os.geteuid() != 0\n"
            "Secrets(Path('.')).read('cred:orders')"
        )
        env = {"CREDENTIALS_DIRECTORY": str(folder), "PYTHONPATH": os.environ.get("PYTHONPATH", ""), "PATH": os.defpath}
        done = as_nobody([sys.executable, "-c", code], env=env, cwd=folder)
        assert done.returncode == 1, done
        assert "the secret 'cred:orders' cannot be read: Permission denied" in done.stderr
        assert "hunter2" not in done.stderr + done.stdout


def test_nothing_shows_them(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hunter2")
    secrets = Secrets(tmp_path)
    assert secrets.read_all(("file:key", "file:none"))[0] == (b"hunter2",)
    assert "hunter2" not in repr(secrets) + str(secrets)
