"""The one place where aioboto3 is used: clients for S3 and SQS, and what their errors mean.

It is imported when the first client is opened, in a thread: that takes most of a second.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from freshet import FreshetError
from freshet_sensors.reference import read
from freshet_sensors.s3_access import Access

__all__ = ["Busy", "S3Error", "errors_of", "open_client", "origin_of"]

_BUSY = {
    "SlowDown", "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "TooManyRequests",
    "TooManyRequestsException", "RequestLimitExceeded", "BandwidthLimitExceeded", "RequestTimeout", "InternalError",
    "InternalFailure", "ServiceUnavailable", "OverLimit",
}  # fmt: skip
_KEYS = "check access_key, secret_key and session_token, or the usual AWS places where they are left out"
_REMEDY = {
    "AccessDenied": "allow it {actions} by policy",
    "AccessDeniedException": "allow it {actions} by policy",
    "403": "allow it {actions} by policy, or " + _KEYS,
    "NoSuchBucket": "make the bucket, or correct bucket=, region= or endpoint_url=",
    "404": "make the bucket, or correct bucket=, region= or endpoint_url=",
    "InvalidAccessKeyId": _KEYS,
    "InvalidClientTokenId": _KEYS,
    "SignatureDoesNotMatch": _KEYS,
    "InvalidToken": _KEYS,
    "ExpiredToken": "renew session_token",
    "RequestTimeTooSkewed": "set this machine's clock",
    "PermanentRedirect": "give region= the bucket's own",
    "AuthorizationHeaderMalformed": "give region= the bucket's own",
    "301": "give region= the bucket's own",
    "AWS.SimpleQueueService.NonExistentQueue": "make the queue, or correct queue_url=",
    "QueueDoesNotExist": "make the queue, or correct queue_url=",
}
_ACTIONS = {"s3": "s3:ListBucket and s3:GetObject", "sqs": "sqs:ReceiveMessage and sqs:DeleteMessage"}


class S3Error(FreshetError):
    """What does not pass by waiting: permissions, credentials, a bucket or queue that is not there."""


class Busy(Exception):
    """What passes by waiting: throttling, 5xx, a broken connection."""


def _read(what: str, reference: str | None) -> str | None:
    """The secret that a reference means. Raises `S3Error`."""
    if reference is None:
        return None
    try:
        return read(reference, what=what)
    except FreshetError as error:
        raise S3Error(error.message, hint=error.hint) from None


def _prepare(service: str, access: Access) -> tuple[Any, dict[str, Any]]:
    """A session that has read what it needs, and the options of a client. Blocks."""
    import aioboto3
    from aiobotocore.config import AioConfig
    from aiobotocore.session import AioSession

    inner = AioSession()
    loader = inner.get_component("data_loader")
    for kind in ("service-2", "endpoint-rule-set-1"):
        loader.load_service_model(service, kind)
    for kind in ("endpoints", "partitions"):
        loader.load_data(kind)
    # A page has a thousand times, and the default parser takes longer for them than all else.
    inner.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_time)
    key = _read("access_key", access.access_key)
    given = {
        "aws_access_key_id": key,
        "aws_secret_access_key": _read("secret_key", access.secret_key),
        "aws_session_token": _read("session_token", access.session_token),
    }
    session = aioboto3.Session(botocore_session=inner)
    config = AioConfig(
        retries={"total_max_attempts": 1},  # how often and when to try again is for whoever asks
        connect_timeout=10,
        read_timeout=30,
        max_pool_connections=24,
        s3={"addressing_style": "path"} if access.endpoint_url else {},
    )
    region = access.region or inner.get_config_variable("region") or "us-east-1"
    return session, given | {"endpoint_url": access.endpoint_url, "region_name": region, "config": config}


@asynccontextmanager
async def open_client(service: Literal["s3", "sqs"], access: Access) -> AsyncGenerator[Any]:
    """A client for as long as the block lasts. Raises `S3Error` for a reference that leads nowhere."""
    from freshet_sensors.aside import aside

    session, options = await aside(_prepare, service, access)
    async with AsyncExitStack() as stack:
        with errors_of(service, "open a client"):
            client = await stack.enter_async_context(session.client(service, **options))
        yield client


@contextlib.contextmanager
def errors_of(service: str, action: str) -> Generator[None]:
    """Raise `Busy` or `S3Error` for what the client raises; the texts hold nothing that the server said freely."""
    import aiohttp
    from botocore import exceptions as known
    from botocore.parsers import ResponseParserError

    try:
        yield
    except known.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code") or "")
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
        code = code if code.replace(".", "").replace("-", "").isalnum() and len(code) < 80 else str(status)
        if code in _BUSY or status >= 500 or status == 429:
            raise Busy(f"could not {action}: {code}") from None
        hint = _REMEDY.get(code) or _REMEDY.get(str(status)) or "see the service's documentation of this error"
        raise S3Error(f"may not or cannot {action}: {code}", hint=hint.format(actions=_ACTIONS[service])) from None
    except (known.NoCredentialsError, known.PartialCredentialsError, known.CredentialRetrievalError):
        raise S3Error(f"could not {action}: there are no credentials", hint=_KEYS) from None
    except (known.HTTPClientError, known.ConnectionError, ResponseParserError, known.IncompleteReadError) as error:
        raise Busy(f"could not {action}: {type(error).__name__}") from None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Busy(f"could not {action}: {type(error).__name__}") from None
    except (known.BotoCoreError, ValueError) as error:
        hint = "check endpoint_url, region, bucket and queue_url"
        raise S3Error(f"could not {action}: {type(error).__name__}", hint=hint) from None


def _time(text: Any) -> datetime:
    """A time as S3 writes them: ISO 8601 in documents, as in mail in headers."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return parsedate_to_datetime(text)


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
