"""The two sockets of the daemon: TCP for the outside, Unix for the API.

They are bound before anything answers, so that clients that come early wait in the backlog.
"""

from __future__ import annotations

import errno
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from freshet.configuration import Settings
from freshet.errors import SettingsError
from freshet.http.unixpath import reachable

__all__ = ["Sockets", "bind"]

_BACKLOG = 2048


@dataclass(frozen=True)
class Sockets:
    """Bound and listening. `host` and `port` are those in use, also where the settings ask for a free port. `handed`:
    the TCP socket is the service manager's, which keeps it when this process ends."""

    tcp: socket.socket
    unix: socket.socket
    path: Path
    inode: int
    handed: bool = False

    @property
    def host(self) -> str:
        """The address bound."""
        return str(self.tcp.getsockname()[0])

    @property
    def port(self) -> int:
        """The port bound."""
        return int(self.tcp.getsockname()[1])

    def close(self) -> None:
        """Close both, and take the Unix socket's file away if it is still ours."""
        self.tcp.close()
        self.unix.close()
        with suppress(OSError):
            if self.path.stat().st_ino == self.inode:
                self.path.unlink()


def bind(settings: Settings, handed: socket.socket | None = None) -> Sockets:
    """Bind and listen on both. The caller holds the lock of the state directory, so a socket left there is stale.

    `handed`: the TCP socket to take, whatever the settings say of host and port. Raises `SettingsError` naming the key
    where an address or a path cannot be had.
    """
    tcp = handed or _bind_tcp(settings.http.host, settings.http.port)
    try:
        unix, inode = _bind_unix(settings.socket_path, guarded=settings.state_dir in settings.socket_path.parents)
    except BaseException:
        tcp.close()
        raise
    return Sockets(tcp, unix, settings.socket_path, inode, handed=handed is not None)


def _bind_tcp(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise SettingsError(f"http.host: {host!r} is no address here ({error})", hint=_set("host")) from None
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise _tcp_problem(host, port, error) from None
    return bound


def _tcp_problem(host: str, port: int, error: OSError) -> SettingsError:
    if error.errno == errno.EADDRINUSE:
        return SettingsError(
            f"http.port: {host}:{port} is in use by another program", hint=f"end that program, or {_set('port')}"
        )
    if error.errno == errno.EACCES:
        return SettingsError(f"http.port: not allowed to listen on port {port}", hint=_set("port") + " over 1023")
    return SettingsError(f"http.host: cannot listen on {host}:{port}: {error.strerror}", hint=_set("host"))


def _set(key: str) -> str:
    return f"set {key} of [http] in freshet.toml, or FRESHET_HTTP__{key.upper()}"


def _bind_unix(path: Path, *, guarded: bool) -> tuple[socket.socket, int]:
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with reachable(path) as short:
            _clear(Path(short), path, guarded=guarded)
            bound.bind(short)
            # Until listen() nobody can connect: the permissions are right from the first connection on.
            Path(short).chmod(0o600)
            inode = Path(short).stat().st_ino
        bound.listen(_BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise SettingsError(f"http.socket: {path}: {error.strerror or error}", hint=_set("socket")) from None
    except BaseException:
        bound.close()
        raise
    return bound, inode


def _clear(short: Path, path: Path, *, guarded: bool) -> None:
    """Take a stale socket away; elsewhere than under the lock, ask first whether somebody answers."""
    try:
        mode = short.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SettingsError(f"http.socket: {path} exists and is no socket", hint=f"remove it, or {_set('socket')}")
    if not guarded and _answers(short):
        raise SettingsError(f"http.socket: {path} is in use by another program", hint=_set("socket"))
    short.unlink()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
    return True
