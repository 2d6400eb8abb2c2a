"""The service: its units written, removed, looked at; systemd asked where it is."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from freshet.cli.session import Session, UsageError, print_json
from freshet.cli.text import in_line
from freshet.cli.units import NAMES, Place, Scope, edited, made_by_systemd, rendered, stamped
from freshet.configfile import find_config, no_config
from freshet.errors import Conflict, SettingsError

if TYPE_CHECKING:
    from freshet.configuration import Settings

__all__ = ["Where", "install", "standing", "status", "uninstall"]

BOOTED = Path("/run/systemd/system")
"""Is there where systemd runs the machine (sd_booted(3))."""
_CREDENTIAL = re.compile(rb"\bcred:([A-Za-z0-9_.@-]+)")
_SHOWN = ("ActiveState", "SubState", "StatusText", "MainPID", "NRestarts", "UnitFileState")


@dataclass(frozen=True)
class Where:
    """Whose service, and the folder of its units. `own`: that folder is not systemd's, which is then not asked."""

    scope: Scope
    folder: Path
    own: bool

    @classmethod
    def of(cls, user: bool | None, folder: Path | None) -> Where:
        """By the options of the command line."""
        scope: Scope = "user" if (os.geteuid() != 0 if user is None else user) else "system"
        if folder is not None:
            return cls(scope, folder.absolute(), own=True)
        if scope == "system":
            return cls(scope, Path("/etc/systemd/system"), own=False)
        home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
        return cls(scope, Path(home).expanduser() / "systemd" / "user", own=False)

    @property
    def systemd(self) -> bool:
        """Whether it is there to be asked."""
        return not self.own and BOOTED.is_dir() and shutil.which("systemctl") is not None

    def systemctl(self, *arguments: str) -> tuple[str, ...]:
        """A call of it."""
        return ("systemctl", *(("--user",) if self.scope == "user" else ()), *arguments)


def install(
    session: Session, where: Where, account: str, credentials: Sequence[str], *, now: bool, force: bool
) -> None:
    """Write the units and say, or with `now` run, what puts them in force."""
    if now and not where.systemd:
        raise Conflict(_absent(where), hint="leave --now out: the units are then written, and what to run is said")
    settings, place = _place(session, account, credentials)
    units = {name: stamped(text, where.scope) for name, text in rendered(place, where.scope).items()}
    missing = _first(place) if where.scope == "system" else []
    if now and missing:
        raise Conflict(f"the service cannot start yet: {shlex.join(missing[0])} is to come first", hint="call it")
    if not force:
        _spare_edited(where)
    changed = [name for name in NAMES if _read(where.folder / name) != units[name]]
    _write(where.folder, {name: units[name] for name in changed})
    after = [*_enable(where)]
    ran = [where.systemctl("daemon-reload")] if where.systemd else []
    todo = [*missing, *([] if ran else [where.systemctl("daemon-reload")]), *after]
    if now:
        ran, todo = [*ran, *after], []
    _run(ran)
    if session.json:
        body = {"folder": str(where.folder), "scope": where.scope, "changed": changed, "systemd": where.systemd}
        print_json({**body, "credentials": list(place.credentials), "ran": _lines(ran), "to_run": _lines(todo)})
        return
    _say_written(where, changed, place)
    if settings.http.host in ("0.0.0.0", "::"):  # noqa: S104  # what somebody else set
        print("note: it will listen on every address; put a proxy with TLS in front")  # noqa: T201
    if not where.systemd and not where.own:
        print(_absent(where))  # noqa: T201
    _say_todo(todo)


def uninstall(session: Session, where: Where, *, force: bool) -> None:
    """Stop the service and remove its units."""
    there = [name for name in NAMES if (where.folder / name).exists()]
    if not force:
        _spare_edited(where)
    before = [where.systemctl("disable", "--now", *reversed(NAMES))]
    after = [where.systemctl("daemon-reload")]
    ran = [*before, *after] if where.systemd and there else []
    _run(before if ran else [])
    for name in there:
        (where.folder / name).unlink()
    _run(after if ran else [])
    todo = [*before, *after] if there and not ran else []
    if session.json:
        print_json({"folder": str(where.folder), "removed": there, "ran": _lines(ran), "to_run": _lines(todo)})
        return
    for name in there:
        print(f"removed {in_line(str(where.folder / name))}")  # noqa: T201
    if not there:
        print(f"there are no units of Freshet in {in_line(str(where.folder))}")  # noqa: T201
    _say_todo(todo, "where systemd still runs it:")


def status(session: Session, where: Where) -> int:
    """What is there, and what systemd says; 1 unless all is there and up to date."""
    found = standing(session, where)
    shown = {name: _asked(where, name) for name in NAMES} if where.systemd else {}
    if session.json:
        print_json({"folder": str(where.folder), "scope": where.scope, "units": found, "systemd": shown or None})
    else:
        for name, how in found.items():
            print(f"{name:<16} {how:<9} {in_line(str(where.folder / name))}")  # noqa: T201
            for key, value in shown.get(name, {}).items():
                print(f"  {key}: {in_line(value)}")  # noqa: T201
        if "outdated" in found.values():
            print("outdated: freshet service install writes what is in use now")  # noqa: T201
        if not where.systemd and not where.own:
            print(_absent(where))  # noqa: T201
    return 0 if set(found.values()) <= {"installed", "edited"} else 1


def standing(session: Session, where: Where) -> dict[str, str]:
    """Of each unit: absent, installed, edited, or outdated. Raises `SettingsError`."""
    _, place = _place(session, _account(where), _credentials(where))
    units = {name: stamped(text, where.scope) for name, text in rendered(place, where.scope).items()}
    return {name: _standing(_read(where.folder / name), units[name]) for name in NAMES}


def _standing(there: str | None, wanted: str) -> str:
    if there is None:
        return "absent"
    if there == wanted:
        return "installed"
    return "edited" if edited(there) else "outdated"


# --- what the units are made of ------------------------------------------------------------------------------


def _place(session: Session, account: str, credentials: Sequence[str]) -> tuple[Settings, Place]:
    from freshet.configuration import check_folders, load_settings

    config = find_config(session.config)
    if config is None:
        raise no_config()
    settings = load_settings(config)
    check_folders(settings)
    if not re.fullmatch(r"[a-z_][a-z0-9_-]*\$?", account):
        raise UsageError(f"--as: {account!r} is no user's name", hint="for example --as freshet")
    if not sys.executable:
        raise Conflict("Python does not know where it is", hint="call it by its whole path")
    named = {one.partition(":")[0]: one for one in (*_named_by(settings.plugins_dir), *credentials)}
    place = Place(
        python=Path(sys.executable).absolute(),
        config=config.absolute(),
        root=settings.root,
        plugins=settings.plugins_dir,
        state=settings.state_dir,
        address=_address(settings.http.host, settings.http.port),
        grace=settings.shutdown_grace,
        user=account,
        credentials=[named[name] for name in sorted(named)],
    )
    return settings, place


def _named_by(plugins: Path) -> set[str]:
    """The credentials that stand in the texts of the plugins, which nobody runs here; one that is named and never read
    does no harm."""
    texts = (path.read_bytes() for path in plugins.rglob("*.py") if path.is_file())
    return {found.decode() for text in texts for found in _CREDENTIAL.findall(text)}


def _address(host: str, port: int) -> str:
    """As ListenStream= has it: a number, which asks nobody for names."""
    if port == 0:
        raise SettingsError("http.port: a service needs a fixed port, found 0", hint="set port of [http]")
    try:
        *_, (address, *_) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"http.host: {host!r} is no address here ({error})", hint="set host of [http]") from None
    return f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"


def _account(where: Where) -> str:
    found = re.search(r"^User=(\S+)$", _read(where.folder / "freshet.service") or "", re.M)
    return found[1] if found else "freshet"


def _credentials(where: Where) -> list[str]:
    text = _read(where.folder / "freshet.service") or ""
    return [one.replace("%%", "%") for one in re.findall(r"^LoadCredential=(.+)$", text, re.M)]


def _first(place: Place) -> list[tuple[str, ...]]:
    """What root is to do before a service of the machine can start."""
    found: list[tuple[str, ...]] = []
    try:
        pwd.getpwnam(place.user)
    except KeyError:
        shell = "/usr/sbin/nologin"
        made = ("useradd", "--system", "--user-group", "--home-dir", str(place.state), "--shell", shell, place.user)
        found.append(made)
    if not made_by_systemd(place.state) and not place.state.is_dir():
        found.append(("install", "-d", "-m", "700", "-o", place.user, "-g", place.user, str(place.state)))
    return found


# --- effects -------------------------------------------------------------------------------------------------


def _enable(where: Where) -> list[tuple[str, ...]]:
    """The socket is left as it is if it listens already; the service begins with what was written."""
    steps = [where.systemctl("enable", "--now", "freshet.socket"), where.systemctl("enable", "freshet.service")]
    return [*steps, where.systemctl("restart", "freshet.service")]


def _spare_edited(where: Where) -> None:
    for name in NAMES:
        text = _read(where.folder / name)
        if text is not None and edited(text):
            edit = shlex.join(where.systemctl("edit", name.partition(".")[0]))
            hint = f"keep edits in a drop-in ({edit}), or let it be overwritten with --force"
            raise Conflict(f"{where.folder / name} was edited, or is not Freshet's", hint=hint)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise Conflict(f"{path} cannot be read: {error}", hint="look what it is") from None


def _write(folder: Path, units: dict[str, str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in units.items():
            part = folder / f".{name}.part"
            part.write_text(text, encoding="utf-8")
            part.chmod(0o644)
            part.replace(folder / name)
    except OSError as error:
        hint = "call it as root (sudo), or with --user for a service of your own"
        raise Conflict(f"{folder} cannot be written: {error.strerror}", hint=hint) from None


def _run(commands: Sequence[Sequence[str]]) -> None:
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = in_line(done.stderr.strip()) or f"exit status {done.returncode}"
            raise Conflict(f"{shlex.join(command)} failed: {said}", hint="systemctl status freshet says more")


def _asked(where: Where, unit: str) -> dict[str, str]:
    asked = where.systemctl("show", unit, "--property", ",".join(_SHOWN))
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return {key: value for key, _, value in pairs if value}


# --- words ---------------------------------------------------------------------------------------------------


def _absent(where: Where) -> str:
    return f"systemd does not run this machine ({BOOTED} is not there), or systemctl is not installed"


def _lines(commands: Sequence[Sequence[str]]) -> list[str]:
    return [shlex.join(command) for command in commands]


def _say_written(where: Where, changed: Sequence[str], place: Place) -> None:
    for name in NAMES:
        said = "wrote" if name in changed else "as it was:"
        print(f"{said} {in_line(str(where.folder / name))}")  # noqa: T201
    for one in place.credentials:
        name, _, path = one.partition(":")
        print(f"credential {name}: read from {path or f'/etc/credstore/{name}'}")  # noqa: T201


def _say_todo(todo: Sequence[Sequence[str]], heading: str = "to put it in force:") -> None:
    for line in [heading, *(f"  {one}" for one in _lines(todo))] if todo else []:
        print(line)  # noqa: T201
