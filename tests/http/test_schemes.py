"""Signatures, against what the senders document and what an independent implementation makes."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from freshet.definitions.intake import Intake, SchemeName
from freshet.errors import DefinitionError
from freshet.http.schemes import SCHEMES, Delivery, Refused, Verified, verify

NOW = 1_760_000_000.0
KEY = b"a secret of some length"
SECRET = "whsec_" + base64.b64encode(KEY).decode()


def intake(scheme: SchemeName, **options: object) -> Intake:
    return Intake("orders", scheme, **({} if scheme == "none" else {"secret": "env:S"}), **options)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def hexed(*parts: bytes, key: bytes = KEY) -> str:
    return hmac.new(key, b"".join(parts), hashlib.sha256).hexdigest()


def standard(body: bytes, when: float = NOW, name: str = "msg_1") -> dict[str, str]:
    made = Webhook(SECRET).sign(name, datetime.fromtimestamp(when, UTC), body.decode())
    return {"webhook-id": name, "webhook-timestamp": str(int(when)), "webhook-signature": made}


def github(body: bytes, when: float = NOW) -> dict[str, str]:
    return {"x-hub-signature-256": f"sha256={hexed(body)}", "x-github-delivery": "d-1"}


def stripe(body: bytes, when: float = NOW) -> dict[str, str]:
    stamp = str(int(when)).encode()
    return {"stripe-signature": f"t={stamp.decode()},v1={'0' * 64},v1={hexed(stamp, b'.', body)},v0=abc"}


def slack(body: bytes, when: float = NOW) -> dict[str, str]:
    stamp = str(int(when)).encode()
    signed = hexed(b"v0:", stamp, b":", body)
    return {"x-slack-request-timestamp": stamp.decode(), "x-slack-signature": f"v0={signed}"}


def plain(body: bytes, when: float = NOW) -> dict[str, str]:
    return {"x-signature": hexed(body)}


Sign = Callable[..., dict[str, str]]
SIGNED: list[tuple[SchemeName, Sign]] = [
    ("standard-webhooks", standard),
    ("github", github),
    ("stripe", stripe),
    ("slack", slack),
    ("gitlab", standard),
    ("hmac-sha256", plain),
]
TIMED = [one for one in SIGNED if one[1] in (standard, stripe, slack)]


def secret_of(sign: Sign) -> bytes:
    return SECRET.encode() if sign is standard else KEY


@pytest.mark.parametrize(("scheme", "sign"), SIGNED)
@given(body=st.text().map(str.encode))
def test_what_the_sender_signed_is_taken(scheme: SchemeName, sign: Sign, body: bytes) -> None:
    verify(intake(scheme), Delivery(sign(body), body), [b"an older secret", secret_of(sign)], NOW)


@pytest.mark.parametrize(
    ("scheme", "sign", "name", "malformed"),
    [("stripe", stripe, "stripe-signature", "v1=xyz,"), ("standard-webhooks", standard, "webhook-signature", "v1,= ")],
)
def test_of_several_signatures_one_that_is_malformed_spoils_no_other(
    scheme: SchemeName, sign: Sign, name: str, malformed: str
) -> None:
    headers = sign(b"{}")
    several = headers | {name: malformed + headers[name]}
    verify(intake(scheme), Delivery(several, b"{}"), [secret_of(sign)], NOW)
    alone = headers | {name: f"t={NOW:.0f},{malformed}" if sign is stripe else malformed}
    with pytest.raises(Refused, match="the signature is no"):
        verify(intake(scheme), Delivery(alone, b"{}"), [secret_of(sign)], NOW)


@pytest.mark.parametrize(("scheme", "sign"), SIGNED)
@given(body=st.text(min_size=1).map(str.encode), at=st.integers(min_value=0), flip=st.integers(1, 255))
def test_a_changed_body_is_refused(scheme: SchemeName, sign: Sign, body: bytes, at: int, flip: int) -> None:
    changed = bytearray(body)
    changed[at % len(body)] ^= flip
    with pytest.raises(Refused, match="signature is wrong"):
        verify(intake(scheme), Delivery(sign(body), bytes(changed)), [secret_of(sign)], NOW)


@pytest.mark.parametrize(("scheme", "sign"), SIGNED)
def test_another_secret_is_refused(scheme: SchemeName, sign: Sign) -> None:
    for others in ([b"another"], []):
        with pytest.raises(Refused):
            verify(intake(scheme), Delivery(sign(b"{}"), b"{}"), others, NOW)


@pytest.mark.parametrize("scheme", [name for name in SCHEMES if name != "none"])
def test_without_a_signature_is_refused(scheme: SchemeName) -> None:
    with pytest.raises(Refused):
        verify(intake(scheme), Delivery({}, b"{}"), [KEY], NOW)


@pytest.mark.parametrize(("scheme", "sign"), TIMED)
@pytest.mark.parametrize("off", [-301, 301])
def test_an_old_copy_is_refused_and_one_within_the_tolerance_is_not(scheme: SchemeName, sign: Sign, off: int) -> None:
    delivery = Delivery(sign(b"{}", NOW + off), b"{}")
    with pytest.raises(Refused, match="301 s"):
        verify(intake(scheme), delivery, [secret_of(sign)], NOW)
    verify(intake(scheme, tolerance="302s"), delivery, [secret_of(sign)], NOW)


@pytest.mark.parametrize(("scheme", "sign"), TIMED)
@given(when=st.text(max_size=20).filter(lambda text: not (text.isascii() and text.isdigit())))
def test_a_time_that_is_none_is_refused(scheme: SchemeName, sign: Sign, when: str) -> None:
    headers = {name: value.replace(str(int(NOW)), when) for name, value in sign(b"{}").items()}
    with pytest.raises(Refused):
        verify(intake(scheme), Delivery(headers, b"{}"), [secret_of(sign)], NOW)


@pytest.mark.parametrize("scheme", SCHEMES)
@given(headers=st.dictionaries(st.sampled_from([
    "x-hub-signature-256", "stripe-signature", "x-slack-signature", "x-slack-request-timestamp", "webhook-id",
    "webhook-timestamp", "webhook-signature", "x-gitlab-token", "x-signature", "authorization",
]), st.text(st.characters(max_codepoint=0x2FF), max_size=80)))  # fmt: skip
def test_nonsense_is_refused_and_never_an_error_of_ours(scheme: SchemeName, headers: dict[str, str]) -> None:
    try:
        verify(intake(scheme), Delivery(headers, b"{}"), [KEY], NOW)
    except Refused:
        return
    assert scheme == "none"


def test_the_documented_examples() -> None:
    """GitHub's and Slack's own, from their documentation."""
    body, secret = b"Hello, World!", b"It's a Secret to Everybody"
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    verify(intake("github"), Delivery({"x-hub-signature-256": signature}, body), [secret], NOW)
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&"
        b"channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&"
        b"response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F"
        b"96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    headers = {
        "x-slack-request-timestamp": "1531420618",
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    }
    verify(intake("slack"), Delivery(headers, body), [b"8f742231b10e8888abcd99yyyzzz85a5"], 1531420618.0)


def test_ids_and_what_stands_for_an_id_that_is_not_signed() -> None:
    assert verify(intake("standard-webhooks"), Delivery(standard(b"{}"), b"{}"), [SECRET.encode()], NOW).id == "msg_1"
    made = verify(intake("github"), Delivery(github(b"{}"), b"{}"), [KEY], NOW)
    assert made == Verified("d-1", hashlib.sha256(b"{}").digest())


def test_tokens() -> None:
    for scheme, headers in (("bearer", {"authorization": "Bearer tok"}), ("gitlab", {"x-gitlab-token": "tok"})):
        name: SchemeName = "bearer" if scheme == "bearer" else "gitlab"
        verify(intake(name), Delivery(headers, b""), [b"old", b"tok"], NOW)
        with pytest.raises(Refused, match="token is wrong"):
            verify(intake(name), Delivery(headers, b""), [b"other"], NOW)
    with pytest.raises(Refused, match="no bearer token"):
        verify(intake("bearer"), Delivery({"authorization": "Basic tok"}, b""), [b"tok"], NOW)
    verify(intake("bearer", header="X-Token"), Delivery({"x-token": "tok"}, b""), [b"tok"], NOW)


def test_hmac_as_the_sender_likes_it() -> None:
    made = base64.b64encode(hmac.new(KEY, b"{}", hashlib.sha256).digest()).decode()
    shaped = intake("hmac-sha256", header="X-Shop-Hmac", prefix="v=", encoding="base64")
    verify(shaped, Delivery({"x-shop-hmac": f"v={made}"}, b"{}"), [KEY], NOW)
    with pytest.raises(Refused, match="does not begin"):
        verify(shaped, Delivery({"x-shop-hmac": made}, b"{}"), [KEY], NOW)


def test_events_of_one_cause_are_different_deliveries_of_an_older_gitlab() -> None:
    headers = {"x-gitlab-token": "tok", "x-gitlab-event-uuid": "u-1"}
    one, same, two = (verify(intake("gitlab"), Delivery(headers, body), [b"tok"], NOW) for body in (b"1", b"1", b"2"))
    assert one == same
    assert one.id != two.id
    named = Delivery({**headers, "idempotency-key": "k"}, b"1")
    assert verify(intake("gitlab"), named, [b"tok"], NOW).id == "k"


def test_what_is_no_ascii_counts_as_it_was_sent() -> None:
    """Header values come as Latin-1, whatever bytes they were."""
    sent = "törken".encode().decode("latin-1")
    verify(intake("bearer"), Delivery({"authorization": f"Bearer {sent}"}, b""), ["törken".encode()], NOW)
    verify(intake("gitlab"), Delivery({"x-gitlab-token": sent}, b""), ["törken".encode()], NOW)
    headers = {**standard(b"{}", name="mög"), "webhook-id": "mög".encode().decode("latin-1")}
    verify(intake("standard-webhooks"), Delivery(headers, b"{}"), [SECRET.encode()], NOW)


def test_gitlab_with_a_signature_is_not_saved_by_its_token() -> None:
    headers = {**standard(b"{}"), "x-gitlab-token": SECRET}
    with pytest.raises(Refused, match="signature is wrong"):
        verify(intake("gitlab"), Delivery(headers, b"[]"), [SECRET.encode()], NOW)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"path": "../x"}, "no such path"),
        ({"path": ""}, "no such path"),
        ({"path": "a//b"}, "no such path"),
        ({"scheme": "githob"}, "github"),
        ({"secret": "hunter2"}, "stands in the plugin"),
        ({"secret": ()}, "needs a secret"),
        ({"scheme": "none"}, "takes no secret"),
        ({"id_from": "body.id"}, "json:/event/id"),
        ({"max_body": 0}, "max_body=0"),
        ({"header": "a b"}, "no header's name"),
        ({"encoding": "octal"}, "hex"),
        ({"tolerance": "soon"}, "duration"),
    ],
)
def test_what_cannot_be_declared(wrong: dict[str, object], said: str) -> None:
    options: dict[str, object] = {"path": "orders", "scheme": "github", "secret": "env:S", **wrong}
    with pytest.raises(DefinitionError, match=said):
        Intake(**options)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
