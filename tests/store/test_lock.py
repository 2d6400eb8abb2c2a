"""One daemon on one state directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from freshet.errors import StateDirectoryLocked, StoreError
from freshet.store import statedir
from freshet.store.lock import FileLock, lock_state_dir
from freshet.store.statedir import network_file_system, prepare_state_dir

_HOLDER = """
import sys
from pathlib import Path
from freshet.store.lock import lock_state_dir
lock = lock_state_dir(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_holder_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    state = tmp_path / "a b" / ("x" * 200)
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(state)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(StateDirectoryLocked, match=f"process {holder.pid}") as caught:
        lock_state_dir(state)
    assert caught.value.hint
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    with lock_state_dir(state) as lock:
        assert lock.path.read_text() == f"{os.getpid()}\n"


def test_let_go_it_can_be_taken_again(tmp_path: Path) -> None:
    with lock_state_dir(tmp_path):
        pass
    with lock_state_dir(tmp_path):
        pass


def test_shared_locks_keep_an_exclusive_one_out(tmp_path: Path) -> None:
    one, two, three = (FileLock(tmp_path / "children.lock") for _ in range(3))
    assert one.acquire(shared=True)
    assert two.acquire(shared=True)
    assert not three.acquire()
    one.release()
    assert not three.acquire()
    two.release()
    assert three.acquire()
    assert not one.acquire(shared=True)
    assert three.acquire(shared=True)
    assert one.acquire(shared=True)
    for lock in (one, three):
        lock.release()


def test_a_child_that_inherits_the_descriptor_holds_the_lock(tmp_path: Path) -> None:
    lock, other = FileLock(tmp_path / "children.lock"), FileLock(tmp_path / "children.lock")
    assert lock.acquire(shared=True)
    assert not os.get_inheritable(lock.fd)
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[lock.fd])
    lock.release()
    assert not other.acquire()
    child.kill()
    child.communicate()
    assert other.acquire()
    other.release()
    with pytest.raises(ValueError, match="not held"):
        _ = other.fd


def test_the_state_directory_is_its_owners_alone(tmp_path: Path) -> None:
    assert prepare_state_dir(tmp_path / "deep" / "state") == tmp_path / "deep" / "state" / "freshet.db"
    assert (tmp_path / "deep" / "state").stat().st_mode & 0o777 == 0o700
    prepare_state_dir(tmp_path / "deep" / "state")


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StoreError, match="no folder"):
        prepare_state_dir(tmp_path / "state")
    with pytest.raises(StoreError, match="cannot be created") as caught:
        prepare_state_dir(tmp_path / "state" / "below")
    assert caught.value.hint


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the kernel's number is read is shown by /proc, which has a number of its own."""
    assert network_file_system(tmp_path) is None
    monkeypatch.setattr(statedir, "_NETWORK", {0x9FA0: "procfs"})
    assert network_file_system(Path("/proc")) == "procfs"
    monkeypatch.setattr(statedir, "network_file_system", {tmp_path: "NFS"}.get)
    with pytest.raises(StoreError, match="is on NFS") as caught:
        prepare_state_dir(tmp_path)
    assert "local disk" in caught.value.hint
