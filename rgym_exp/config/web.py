"""Asking a web server that may be a stranger's: on the right way, and never for longer or more than was meant."""

from __future__ import annotations

import http.client
import time
import urllib.parse
import urllib.request

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")


def open_url(request: urllib.request.Request, *, timeout_seconds: float) -> http.client.HTTPResponse:
    """The answer to a request, not yet read. Raises what urllib raises: OSError, HTTPException or ValueError."""
    # A proxy in the environment is for the way out; this machine is not reached through it.
    is_own = urllib.parse.urlsplit(request.full_url).hostname in LOOPBACK_HOSTS
    opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if is_own else []))
    response: http.client.HTTPResponse = opener.open(request, timeout=timeout_seconds)
    return response


def read_capped(response: http.client.HTTPResponse, *, max_bytes: int, timeout_seconds: float) -> bytes:
    """The body; one of more than ``max_bytes`` is cut off after at least one byte more, so that its reader can tell.

    Raises TimeoutError when it takes too long: the socket's own time-out starts anew with every byte, and a server
    that drips must not hold us for ever.
    """
    deadline = time.monotonic() + timeout_seconds
    content = b""
    while len(content) <= max_bytes and (piece := response.read1(max_bytes + 1)):
        content += piece
        if time.monotonic() > deadline:
            raise TimeoutError("it answers too slowly")
    return content
