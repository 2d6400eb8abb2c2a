"""What a sensor takes in over HTTP, as data: the daemon verifies and keeps the deliveries, the sensor looks at them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from freshet.definitions.durations import Duration, parse_duration
from freshet.definitions.expect import expect
from freshet.definitions.names import nearest_hint
from freshet.errors import DefinitionError

__all__ = ["MAX_BODY", "Encoding", "Intake", "SchemeName"]

SchemeName = Literal["standard-webhooks", "github", "stripe", "slack", "gitlab", "hmac-sha256", "bearer", "none"]
Encoding = Literal["hex", "base64"]

MAX_BODY = 1 << 20
"""Bytes of a body that are taken where nothing else is said."""

_MAX_BODY_EVER = 64 << 20
_PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_REFERENCE = re.compile(r"(env|file|cred):.+", re.DOTALL)
_ID_FROM = re.compile(r"header:[A-Za-z0-9-]+|json:(/[^/]+)+|body")


@dataclass(frozen=True)
class Intake:
    """`POST /hooks/PATH`, verified by `scheme` and kept before it is answered.

    `secret`: where it stands, never the secret itself: "env:NAME", "file:PATH" or "cred:NAME" (systemd's
    LoadCredential); several while keys rotate, each of which is right. `header`, `prefix`, `encoding`: of the
    signature, for `hmac-sha256` (by default `X-Signature`, hex, no prefix); `header` also for `bearer`.
    `id_from`: what makes a delivery the same as another, where the scheme does not say: "header:NAME", "json:/pointer"
    or "body" (the same bytes are the same event, so that a copy sent again is none); without one each delivery is new.
    `max_body`: bytes. `tolerance`: seconds by which a signed time may be off.
    `observe`: take every delivery and only record whether its signature is right.

    Raises `DefinitionError`.
    """

    path: str
    scheme: SchemeName = "standard-webhooks"
    secret: tuple[str, ...] = ()
    header: str | None = None
    prefix: str = ""
    encoding: Encoding = "hex"
    id_from: str | None = None
    max_body: int = MAX_BODY
    tolerance: float = 300.0
    observe: bool = False

    def __init__(
        self,
        path: str,
        scheme: SchemeName = "standard-webhooks",
        secret: str | Sequence[str] = (),
        header: str | None = None,
        prefix: str = "",
        encoding: Encoding = "hex",
        id_from: str | None = None,
        max_body: int = MAX_BODY,
        tolerance: Duration | float = 300.0,
        observe: bool = False,
    ) -> None:
        what = f"Intake({path!r})"
        secrets = (secret,) if isinstance(secret, str) else tuple(secret)
        _check(what, path, scheme, secrets, encoding)
        if header is not None and not _HEADER.fullmatch(expect(header, (str,), f"{what}: header")):
            raise DefinitionError(f"{what}: header={header!r} is no header's name", hint='for example "X-Signature"')
        _check_signature(what, scheme, {"header": header, "prefix": prefix, "encoding": encoding})
        if id_from is not None and not _ID_FROM.fullmatch(expect(id_from, (str,), f"{what}: id_from")):
            raise DefinitionError(
                f"{what}: id_from={id_from!r}", hint='write "header:X-Delivery", "json:/event/id" or "body"'
            )
        if type(max_body) is not int or not 0 < max_body <= _MAX_BODY_EVER:
            raise DefinitionError(f"{what}: max_body={max_body!r}", hint=f"bytes, up to {_MAX_BODY_EVER}")
        seconds = float(tolerance) if isinstance(tolerance, int | float) else parse_duration(tolerance, what=what)
        object.__setattr__(self, "path", path)
        object.__setattr__(self, "scheme", scheme)
        object.__setattr__(self, "secret", secrets)
        object.__setattr__(self, "header", header)
        object.__setattr__(self, "prefix", expect(prefix, (str,), f"{what}: prefix"))
        object.__setattr__(self, "encoding", encoding)
        object.__setattr__(self, "id_from", id_from)
        object.__setattr__(self, "max_body", max_body)
        object.__setattr__(self, "tolerance", seconds)
        object.__setattr__(self, "observe", bool(observe))


def _check_signature(what: str, scheme: SchemeName, given: dict[str, str | None]) -> None:
    taken = {"hmac-sha256": ("header", "prefix", "encoding"), "bearer": ("header",)}.get(scheme, ())
    usual = {"header": None, "prefix": "", "encoding": "hex"}
    for option, value in given.items():
        if value != usual[option] and option not in taken:
            raise DefinitionError(
                f"{what}: {option}= is nothing to scheme={scheme!r}, which says itself where its signature stands",
                hint='leave it out, or use scheme="hmac-sha256"',
            )


def _check(what: str, path: str, scheme: str, secrets: tuple[str, ...], encoding: str) -> None:
    if not _PATH.fullmatch(expect(path, (str,), "Intake: path")) or len(path) > 200:
        raise DefinitionError(
            f"{what}: no such path can be", hint='letters, digits, "." "_" "-", parts divided by "/": "github/orders"'
        )
    if scheme not in get_args(SchemeName):
        raise DefinitionError(f"{what}: scheme={scheme!r} is unknown", hint=nearest_hint(scheme, get_args(SchemeName)))
    if encoding not in get_args(Encoding):
        raise DefinitionError(f"{what}: encoding={encoding!r} is unknown", hint='"hex" or "base64"')
    for one in secrets:
        if expect(one, (str,), f"{what}: secret") in ("env:", "file:", "cred:"):
            raise DefinitionError(f"{what}: secret={one!r} names nothing", hint=f'for example "{one}HOOK_SECRET"')
        if not _REFERENCE.fullmatch(one):
            raise DefinitionError(
                f"{what}: the secret itself stands in the plugin",
                hint='say where it is: secret="env:NAME", "file:PATH" or "cred:NAME"',
            )
    if scheme == "none" and secrets:
        raise DefinitionError(f'{what}: scheme="none" takes no secret', hint="leave one of them out")
    if scheme != "none" and not secrets:
        raise DefinitionError(f"{what}: scheme={scheme!r} needs a secret", hint='for example secret="env:HOOK_SECRET"')
