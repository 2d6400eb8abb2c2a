"""The plugins that ship, for the figures of a daemon as it comes."""

from __future__ import annotations

from pathlib import Path

__all__ = ["shipped_plugins"]

_PLUGINS = Path(__file__).resolve().parents[3] / "plugins"


def shipped_plugins() -> dict[str, str]:
    """File name to text. Raises `AssertionError` where none are there."""
    found = {path.name: path.read_text() for path in sorted(_PLUGINS.glob("*.py"))}
    assert found, f"no plugins in {_PLUGINS}"
    return found
