"""A proxy that makes a store on this machine as far away as a real one: a pause per request, a rate per connection.

    python -m benchmarks.delay --port 9000 --to 5555 --delay-ms 20 --rate-mb 40

A request begins where bytes come from the client after the server has answered; so it is for HTTP/1.1 with one
request at a time on a connection.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time

HOST = "127.0.0.1"
_BLOCK_BYTES = 256 * 2**10


class Connection:
    """One client's connection and the one to the server behind it.

    Args:
        delay_s: Pause before each request goes on.
        rate: Bytes of answers per second; 0 for as many as go through.
    """

    def __init__(self, delay_s: float, rate: float) -> None:
        self._delay_s = delay_s
        self._rate = rate
        self._is_answered = True

    async def run(self, client: tuple, server: tuple) -> None:
        """Carries bytes both ways until one side ends."""
        ways = [
            asyncio.create_task(self._requests(client[0], server[1])),
            asyncio.create_task(self._answers(server[0], client[1])),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for writer in (client[1], server[1]):
                writer.close()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(_BLOCK_BYTES):
            if self._is_answered:
                self._is_answered = False
                await asyncio.sleep(self._delay_s)
            writer.write(block)
            await writer.drain()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        free_at = 0.0
        while block := await reader.read(_BLOCK_BYTES):
            self._is_answered = True
            writer.write(block)
            await writer.drain()
            if self._rate:
                free_at = max(free_at, time.monotonic()) + len(block) / self._rate
                await asyncio.sleep(max(0.0, free_at - time.monotonic()))


async def serve(port: int, to: int, delay_s: float, rate: float) -> None:
    """Serves until it is ended."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):  # either side may hang up
            server = await asyncio.open_connection(HOST, to, limit=2 * _BLOCK_BYTES)
            await Connection(delay_s, rate).run((reader, writer), server)

    async with await asyncio.start_server(connected, HOST, port, limit=2 * _BLOCK_BYTES, backlog=256) as server:
        await server.serve_forever()


def main() -> None:
    """Reads the command line and serves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--to", type=int, required=True, help="port of the server")
    parser.add_argument("--delay-ms", type=float, default=20)
    parser.add_argument("--rate-mb", type=float, default=0, help="MB per second and connection; 0 for no bound")
    options = parser.parse_args()
    asyncio.run(serve(options.port, options.to, options.delay_ms / 1000, options.rate_mb * 1e6))


if __name__ == "__main__":
    main()
