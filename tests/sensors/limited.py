"""Run in a user namespace of its own, whose inotify limits it sets: `python -m tests.sensors.limited KIND FOLDER`.

Prints what a file sensor says at the limit, and after the limit was raised.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anyio
from tests.sensors.living import land, living, state

from freshet_sensors import wake


async def main(kind: str, inbox: Path) -> None:
    """`kind`: watches or instances; `inbox`: a folder with folders in it."""
    limit = Path(f"/proc/sys/user/max_inotify_{kind}")
    limit.write_text("0" if kind == "instances" else "3")
    setattr(wake, "_RETRY_LIMIT", 0.05)  # noqa: B010  # it is private, and a minute
    async with living(inbox, settle="0s", pattern="**/{name}.csv") as life:
        said = [life.sensor.watching]
        land(inbox / "3" / "a.csv")
        await life.look()
        limit.write_text("100")
        await life.until(lambda: state(life) == "watching")
        said.append(life.sensor.watching)
        land(inbox / "4" / "b.csv")
        await life.until(lambda: life.world.files_run == ["3/a.csv", "4/b.csv"])
        print(json.dumps({"said": said, "log": [line[1] for line in life.world.log.lines]}))  # noqa: T201


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], Path(sys.argv[2]))
