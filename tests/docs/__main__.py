"""`make docs`: write the reference anew."""

from __future__ import annotations

from tests.docs.generated.cli import cli
from tests.docs.generated.http import http
from tests.docs.generated.python import python
from tests.docs.generated.settings import settings
from tests.docs.pages import DOCS

__all__ = ["GENERATED", "NOTE", "generate"]

GENERATED = {"cli": cli, "http": http, "python": python, "settings": settings}
"""The pages, and what makes them."""

NOTE = "<!-- Made from the code by `make docs`: an edit here is lost. -->\n\n"


def generate(name: str) -> str:
    """A page of the reference."""
    return NOTE + GENERATED[name]().rstrip() + "\n"


if __name__ == "__main__":
    for each in GENERATED:
        (DOCS / "reference" / f"{each}.md").write_text(generate(each))
