"""The reference that is committed is what the code generates."""

from __future__ import annotations

import pytest
from tests.docs.__main__ import GENERATED, generate
from tests.docs.pages import DOCS


@pytest.mark.parametrize("name", GENERATED)
def test_the_reference_is_that_of_the_code(name: str) -> None:
    written = (DOCS / "reference" / f"{name}.md").read_text()
    assert written.splitlines() == generate(name).splitlines(), "run `make docs`, and commit what it writes"


def test_nothing_else_is_in_its_folder() -> None:
    assert sorted(one.stem for one in (DOCS / "reference").iterdir()) == sorted(GENERATED)
