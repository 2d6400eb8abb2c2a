"""How values are kept between steps: I/O managers and durable files."""

from __future__ import annotations

from freshet.io.registry import IO_NAMES, ValueRef, read_value, write_value
from freshet.io.values import Values

__all__ = ["IO_NAMES", "ValueRef", "Values", "read_value", "write_value"]
