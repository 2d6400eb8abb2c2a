"""What all schemes of signatures share: what they see of a delivery, and what they say of it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from freshet.definitions.intake import Encoding, Intake

__all__ = [
    "Delivery",
    "Refused",
    "Scheme",
    "Verified",
    "decoded",
    "decoded_of",
    "digest_of",
    "raw",
    "right",
    "text_time",
]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A request as it came: header names in lower case, the raw body."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Verified:
    """The signature is right. `id`: what the sender calls the delivery, None where only the body says it, or nothing.
    `digest`: of what was signed, where the id is not: a copy under another id is the same delivery."""

    id: str | None = None
    digest: bytes | None = None


class Refused(Exception):
    """The delivery is not what it should be. The reason is for the log; the sender is told nothing."""


Scheme = Callable[[Intake, Delivery, Sequence[bytes], float], Verified]
"""From the intake, a delivery, the active secrets and now (seconds since 1970) to `Verified`. Raises `Refused`."""


def digest_of(secret: bytes, *parts: bytes) -> bytes:
    """HMAC-SHA256 over the parts, one after the other."""
    made = hmac.new(secret, digestmod=hashlib.sha256)
    for part in parts:
        made.update(part)
    return made.digest()


def right(given: Iterable[bytes], secrets: Sequence[bytes], *signed: bytes) -> None:
    """Raise `Refused` unless one of the signatures given is that of one of the secrets. All are compared, each in
    constant time."""
    signatures = list(given)
    found = False
    for secret in secrets:
        expected = digest_of(secret, *signed)
        for one in signatures:
            found |= hmac.compare_digest(one, expected)
    if not found:
        raise Refused("the signature is wrong" if signatures else "there is no signature")


def raw(header: str) -> bytes:
    """A header's value as it came: HTTP's is Latin-1, whatever the sender meant by it."""
    return header.encode("latin-1", "replace")


def decoded(text: str, encoding: Encoding) -> bytes:
    """A signature's bytes. Raises `Refused`."""
    try:
        return bytes.fromhex(text) if encoding == "hex" else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise Refused(f"the signature is no {encoding}") from None


def decoded_of(texts: Iterable[str], encoding: Encoding) -> list[bytes]:
    """Several signatures' bytes: one that is malformed spoils no other. Raises `Refused` where all are."""
    found, refused = list[bytes](), None
    for text in texts:
        try:
            found.append(decoded(text, encoding))
        except Refused as error:
            refused = error
    if refused is not None and not found:
        raise refused
    return found


def text_time(text: str | None, intake: Intake, now: float) -> bytes:
    """A signed time as the sender wrote it. Raises `Refused` where it is missing, no whole number of seconds, or
    further from `now` than the tolerance."""
    if not text or not text.isascii() or not text.isdigit() or len(text) > 12:
        raise Refused("there is no time in it" if not text else "its time is no number of seconds")
    off = now - int(text)
    if abs(off) > intake.tolerance:
        raise Refused(f"its time is {abs(off):.0f} s {'old' if off > 0 else 'ahead'}")
    return text.encode()
