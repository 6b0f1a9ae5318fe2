"""The least that a thousand HTTP clients in one process need: JSON over kept connections, from chosen addresses."""

from __future__ import annotations

import asyncio
import json
from typing import Any

TIMEOUT_SECONDS = 40.0
LONGEST_ANSWER = 4 * 1024 * 1024


class Connection:
    """One kept connection from ``address``, opened when needed; requests wait for each other."""

    def __init__(self, host: str, port: int, address: str) -> None:
        self.place = host, port
        self._address = address
        self._one_at_a_time = asyncio.Lock()
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> tuple[int, Any]:
        """Status and parsed answer. Raises OSError, EOFError or ValueError."""
        return await self._exchange(f"GET {path} HTTP/1.1\r\nHost: {self.place[0]}\r\n\r\n".encode())

    async def post(self, path: str, body: Any) -> tuple[int, Any]:
        """The same with a body."""
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: {self.place[0]}\r\nContent-Length: {len(data)}\r\n\r\n"
        return await self._exchange(head.encode() + data)

    def close(self) -> None:
        """Close it, if it is open."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    async def _exchange(self, request: bytes) -> tuple[int, Any]:
        try:
            async with self._one_at_a_time, asyncio.timeout(TIMEOUT_SECONDS):
                if self._open is None or self._open[0].at_eof():
                    self.close()
                    host, port = self.place
                    self._open = await asyncio.open_connection(host, port, local_addr=(self._address, 0))
                reader, writer = self._open
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(_length(head))
        except BaseException:
            self.close()
            raise
        status = int(head.split(b" ", 2)[1])
        try:
            return status, json.loads(body)
        except ValueError:
            return status, {}


async def post_once(host: str, port: int, address: str, path: str, body: Any) -> tuple[int, Any]:
    """A request over a connection of its own, as nodes ask their judge."""
    connection = Connection(host, port, address)
    try:
        return await connection.post(path, body)
    finally:
        connection.close()


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
            if not 0 <= length <= LONGEST_ANSWER:
                raise ValueError(f"an answer of {length} bytes")
            return length
    return 0
