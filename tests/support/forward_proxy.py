"""A company's HTTP proxy: a process that passes requests on, and can reach nothing on the machines of those who ask.

``python -m tests.support.forward_proxy PORT LOG [NAME=HOST:PORT ...]``. It writes down whom it was asked for, a line a
request. Names that it was told lead where it was told; whatever is loopback or unknown is answered 502.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rgym_exp.base.ports import free_port, is_free
from tests.support.processes import REPOSITORY, wait_for


@dataclass(frozen=True, kw_only=True)
class ForwardProxy:
    """A proxy that runs."""

    url: str
    log_file: Path

    def asked_for(self) -> list[str]:
        """The host names of all requests so far."""
        return self.log_file.read_text().split()

    def environ(self) -> dict[str, str]:
        """The variables of somebody whose every way out leads through the proxy, and who says nothing of exceptions."""
        every = {name: self.url for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")}
        return {**every, **{name.lower(): url for name, url in every.items()}, "NO_PROXY": "", "no_proxy": ""}


@contextmanager
def forward_proxy(folder: Path, **known: str) -> Iterator[ForwardProxy]:
    """Start one with a log in ``folder``; ``known`` are names with the ``HOST:PORT`` that they lead to."""
    port, log_file = free_port(), folder / "proxy.log"
    log_file.touch()
    names = [f"{name}={address}" for name, address in known.items()]
    command = [sys.executable, "-m", "tests.support.forward_proxy", str(port), str(log_file), *names]
    process = subprocess.Popen(command, cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    try:
        wait_for(lambda: process.poll() is None and not is_free("127.0.0.1", port), what="the proxy")
        yield ForwardProxy(url=f"http://127.0.0.1:{port}", log_file=log_file)
    finally:
        process.terminate()
        process.wait(20)


async def _serve(port: int, log_file: Path, known: dict[str, str]) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
            tunnelled = method == "CONNECT"
            host = (target.rpartition(":")[0] if tunnelled else urlsplit(target).hostname) or target
            with log_file.open("a") as log:
                log.write(f"{host}\n")
            if host not in known:
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                await writer.drain()
                return
            name, _, number = known[host].rpartition(":")
            up_reader, up_writer = await asyncio.open_connection(name, int(number))
            with contextlib.closing(up_writer):
                if tunnelled:
                    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    lines = head.replace(target.encode(), (urlsplit(target).path or "/").encode(), 1).split(b"\r\n", 1)
                    up_writer.write(lines[0] + b"\r\nConnection: close\r\n" + lines[1])
                await asyncio.gather(_pass_on(reader, up_writer), _pass_on(up_reader, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", port) as server:
        await server.serve_forever()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65536):
        writer.write(chunk)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), Path(sys.argv[2]), dict(word.split("=", 1) for word in sys.argv[3:])))
