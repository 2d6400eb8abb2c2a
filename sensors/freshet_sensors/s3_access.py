"""Where a service is and what opens it, as a definition says it: never a secret."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from freshet import DefinitionError

__all__ = ["Access", "checked_reference", "checked_url"]

_KINDS = ("env", "file", "cred")


@dataclass(frozen=True)
class Access:
    """Where a service is and what opens it: `access_key`, `secret_key`, `session_token` are references, or None."""

    endpoint_url: str | None = None
    region: str | None = None
    access_key: str | None = None
    secret_key: str | None = None
    session_token: str | None = None


def checked_reference(what: str, reference: str | None) -> str | None:
    """A reference to a secret, as it was given. Raises `DefinitionError`, which does not repeat it."""
    if reference is None:
        return None
    kind, _, rest = str(reference).partition(":")
    if kind not in _KINDS or not rest:
        raise DefinitionError(
            f"{what}: the secret itself stands in the plugin",
            hint=f'say where it is: {what.rpartition(" ")[2]}="env:NAME", "file:PATH" or "cred:NAME"',
        )
    return reference


def checked_url(what: str, url: str | None) -> str | None:
    """An http or https URL without a name and password in it. Raises `DefinitionError`, which does not repeat them."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname)
    except (ValueError, AttributeError, TypeError):
        raise DefinitionError(f"{what} is no URL", hint='for example "https://s3.example.org"') from None
    if "@" in parts.netloc:
        raise DefinitionError(f"{what} holds a name or password", hint="give access_key= and secret_key=")
    if not good:
        raise DefinitionError(f"{what}={url!r} is no URL", hint='for example "https://s3.example.org"')
    return url
