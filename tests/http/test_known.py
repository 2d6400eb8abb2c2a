"""A name of another kind is told for what it is."""

from __future__ import annotations

import pytest

from freshet import Schedule, asset
from freshet.definitions.graph import Definitions
from freshet.errors import UnknownName
from freshet.http.api.context import known_sensor


def test_a_schedule_is_no_sensor() -> None:
    @asset
    def sales() -> int:
        return 1

    nightly = Schedule("nightly", cron="0 3 * * *", target=sales)
    definitions = Definitions(assets=(sales.spec,), schedules=(nightly.spec,))
    with pytest.raises(UnknownName, match="'nightly' is a schedule, not a sensor") as caught:
        known_sensor(definitions, "nightly")
    assert "freshet schedules nightly" in caught.value.hint
    with pytest.raises(UnknownName, match="no sensor is called 'eye'"):
        known_sensor(definitions, "eye")
