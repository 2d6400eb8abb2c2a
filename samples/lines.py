"""A stream over TCP: one JSON object a line, `{"id": ..., "params": {...}}`. The source is answered `ack ID`,
and delivers again what was not acknowledged. A plugin to copy into plugins/, with LINES_AT=HOST:PORT.
"""

import asyncio
import json
import os

from freshet import job
from freshet_sensors import Message, StreamSensor


@job
def take(ctx, number: int) -> None:
    ctx.log.info("taken", number=number)


class Lines(StreamSensor):
    """Lines of JSON from a TCP source."""

    async def messages(self, after):
        host, _, port = os.environ["LINES_AT"].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            while line := await reader.readline():
                found = json.loads(line)

                async def ack(key=found["id"]):
                    writer.write(f"ack {key}\n".encode())
                    await writer.drain()

                yield Message(found["id"], found["params"], ack=ack)
        finally:
            writer.close()


lines = Lines("lines", target=take, batch=20, ahead=50)
