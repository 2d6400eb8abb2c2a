"""Whether what says that it is a CloudEvent is one: its four attributes, in the body or in headers. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, cast

from freshet.definitions.outcome import Json
from freshet.http.payload import BadPayload

__all__ = ["NOT_TAKEN", "check_event", "is_taken"]

_REQUIRED = ("specversion", "id", "source", "type")
_STRUCTURED = "application/cloudevents"
NOT_TAKEN = "CloudEvents are taken one by one and in JSON, as application/cloudevents+json or in binary mode"


def is_taken(content_type: str) -> bool:
    """Whether a delivery of this type can be read; of CloudEvents, batches and other formats cannot."""
    kind = _kind(content_type)
    return not kind.startswith(_STRUCTURED) or kind in (_STRUCTURED, f"{_STRUCTURED}+json")


def check_event(headers: Mapping[str, str], value: Json) -> None:
    """Raise `BadPayload` for a CloudEvent without one of its attributes. What says nothing of the sort is well.

    `headers`: names in lower case. `value`: the body, where that is JSON.
    """
    if _kind(headers.get("content-type", "")).startswith(_STRUCTURED):
        if not isinstance(value, dict):
            raise BadPayload(f"a CloudEvent must be an object, found {type(value).__name__}")
        _check_attributes(cast("dict[str, Any]", value), "")
        _check_data(cast("dict[str, Any]", value))
    elif any(f"ce-{name}" in headers for name in _REQUIRED):
        _check_attributes({name: headers.get(f"ce-{name}") for name in _REQUIRED}, "ce-")


def _check_attributes(event: Mapping[str, Any], prefix: str) -> None:
    for name in _REQUIRED:
        value = event.get(name)
        if value is None or value == "":
            raise BadPayload(
                f"a CloudEvent must have {', '.join(prefix + one for one in _REQUIRED)}: no {prefix}{name}"
            )
        if not isinstance(value, str):
            raise BadPayload(f"the {name} of a CloudEvent is a text, found {value!r:.100}")


def _check_data(event: Mapping[str, Any]) -> None:
    if "data_base64" not in event:
        return
    if "data" in event:
        raise BadPayload("a CloudEvent has data or data_base64, and not both")
    try:
        base64.b64decode(event["data_base64"], validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise BadPayload("the data_base64 of a CloudEvent is no base64") from None


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
