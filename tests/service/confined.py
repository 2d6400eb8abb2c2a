"""A command within the bounds that a unit sets for system calls and address families, without rights of root's.

`python -m tests.service.confined UNIT COMMAND...`: the kernel refuses what systemd would have it refuse.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
import shutil
import socket
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path

__all__ = ["allowed", "missing"]

_HEADER = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
_ARCH = 0xC000003E
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_NO_NEW_PRIVS, _SECCOMP, _FILTER = 38, 22, 2


def missing() -> str | None:
    """Why it cannot be done here."""
    if platform.machine() != "x86_64" or not _HEADER.exists():
        return f"the numbers of system calls are not in {_HEADER}"
    if shutil.which("systemd-analyze") is None:
        return "systemd-analyze is not installed here"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "setpriv (util-linux) is not installed here, and the tests run as root"
    return None


def allowed(unit: str) -> tuple[set[int], list[int]]:
    """The system calls and the address families that a unit leaves, by their numbers."""
    names: set[str] = set()
    for words in re.findall(r"^SystemCallFilter=(.*)$", unit, re.M):
        for word in words.removeprefix("~").split():
            names = names - _group(word) if words.startswith("~") else names | _group(word)
    numbers = {found[1]: int(found[2]) for found in re.finditer(r"#define __NR_(\w+) (\d+)", _HEADER.read_text())}
    families = re.findall(r"^RestrictAddressFamilies=(.*)$", unit, re.M)
    return {numbers[name] for name in names if name in numbers}, [
        int(getattr(socket, family)) for line in families for family in line.split()
    ]


@cache
def _group(word: str) -> frozenset[str]:
    if not word.startswith("@"):
        return frozenset({word})
    said = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager", word], capture_output=True, text=True, check=True
    )
    members = (line.strip() for line in said.stdout.splitlines()[1:])
    return frozenset[str]().union(*(_group(one) for one in members if one and not one.startswith("#")))


def _program(calls: set[int], families: list[int]) -> bytes:
    """For the kernel's own machine: the architecture, then `socket` by its family, then the number of the call."""

    def refused(number: int) -> tuple[int, int, int, int]:
        return _RETURN, 0, 0, _ERRNO | number

    allow = (_RETURN, 0, 0, _ALLOW)
    code = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, _ARCH), refused(errno.ENOSYS), (_LOAD, 0, 0, 0)]
    checks = [one for family in families for one in ((_EQUAL, 0, 1, family), allow)]
    own = [(_LOAD, 0, 0, 16), *checks, refused(errno.EAFNOSUPPORT)]
    code += [(_EQUAL, 0, len(own), 41), *own]
    code += [one for number in sorted(calls - {41}) for one in ((_EQUAL, 0, 1, number), allow)]
    return b"".join(struct.pack("HBBI", *one) for one in [*code, refused(errno.EPERM)])


def _confine(calls: set[int], families: list[int]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    program = _program(calls, families)
    held = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(held))
    for call in ((_NO_NEW_PRIVS, 1, 0, 0, 0), (_SECCOMP, _FILTER, header, 0, 0)):
        if libc.prctl(*call):
            raise OSError(ctypes.get_errno(), "prctl")


def main() -> None:
    """Become the command."""
    unit, *command = sys.argv[1:]
    if os.geteuid() == 0 and "CapEff:\t0000000000000000" not in Path("/proc/self/status").read_text():
        without = ("--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
        os.execvp("setpriv", ["setpriv", *without, sys.executable, "-m", "tests.service.confined", *sys.argv[1:]])
    _confine(*allowed(Path(unit).read_text()))
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
