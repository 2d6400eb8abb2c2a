"""`S3Values`: values under a prefix of a bucket, in the same formats and by the same names as in the state."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from freshet.definitions.expect import expect
from freshet.definitions.io_manager import ValueStore
from freshet.errors import DefinitionError, ValueFormatError

__all__ = ["S3Values"]


class S3Values(ValueStore):
    """`S3Values("s3://bucket/prefix")`: what `io="s3"` means in this plugin and all others; `io="s3:parquet"` names the
    format, too. `name=` for a second one. Any S3-compatible endpoint; credentials are found as boto3 finds them.

    An object is written whole or not at all, under a name that no other attempt uses; its size and hash stand with the
    reference in the state directory, and are held against what is read.
    """

    needs = ("boto3.session",)

    def __init__(
        self, prefix: str, *, name: str = "s3", endpoint_url: str | None = None, region: str | None = None
    ) -> None:
        hint = 'write S3Values("s3://bucket/prefix")'
        scheme, _, rest = expect(prefix, (str,), "S3Values(): prefix", hint).partition("://")
        self._bucket, _, inner = rest.partition("/")
        if scheme != "s3" or not self._bucket:
            raise DefinitionError(f"S3Values({prefix!r}): not a place in S3", hint=hint)
        self._prefix = f"{inner.strip('/')}/" if inner.strip("/") else ""
        self._options = {"endpoint_url": endpoint_url, "region_name": region}
        self._client: tuple[int, Any] = (0, None)
        super().__init__(name)

    def __repr__(self) -> str:
        return f"<S3Values s3://{self._bucket}/{self._prefix}>"

    def write(self, path: str, data: bytes) -> None:
        """Put one object. Raises `ValueFormatError` where S3 refuses or cannot be reached."""
        try:
            self._opened().put_object(Bucket=self._bucket, Key=self._prefix + path, Body=data)
        except Exception as error:  # every error of botocore, and of what credentials are asked of
            raise self._failed("written", path, error) from error

    def read(self, path: str) -> bytes:
        """Get one object whole."""
        try:
            answer = self._opened().get_object(Bucket=self._bucket, Key=self._prefix + path)
            data: bytes = answer["Body"].read()
        except Exception as error:  # as above
            if getattr(error, "response", {}).get("Error", {}).get("Code") in ("NoSuchKey", "404"):
                raise FileNotFoundError(f"s3://{self._bucket}/{self._prefix}{path}") from error
            raise self._failed("read", path, error) from error
        return data

    def _opened(self) -> Any:
        """A client of this process: a fork must not use its parent's connections."""
        process, client = self._client
        if process != os.getpid():
            boto3: Any = import_module("boto3")
            client = boto3.session.Session().client("s3", **self._options)
            self._client = os.getpid(), client
        return client

    def _failed(self, what: str, path: str, error: Exception) -> ValueFormatError:
        return ValueFormatError(
            f"s3://{self._bucket}/{self._prefix}{path} cannot be {what}: {type(error).__name__}: {error}",
            hint="check the bucket, the credentials and the endpoint; the attempt can be repeated",
        )
