"""Reading an HTTP answer of a server that may be a stranger's: bounded in size and in time."""

from __future__ import annotations

import time

import requests
import urllib3

_CHUNK_BYTES = 64 * 1024


def read_body(answer: requests.Response, *, max_bytes: int, deadline: float) -> bytes:
    """The body of an answer that was asked for with ``stream=True``. ``deadline`` is one of ``time.monotonic``.

    requests' own way has no bound on the size, and its time-out starts anew with every byte.

    Raises:
        requests.exceptions.RequestException: it broke off, or isn't whole at the deadline.
        ValueError: it has more than ``max_bytes``.
    """
    body = bytearray()
    try:
        # read1 returns with what there is, where read waits for more: a server that drips must not hold us.
        while chunk := answer.raw.read1(_CHUNK_BYTES, decode_content=True):
            body += chunk
            if len(body) > max_bytes:
                raise ValueError(f"its answer has over {max_bytes} bytes")
            if time.monotonic() > deadline:
                raise requests.exceptions.ReadTimeout("no whole answer in time")
    except urllib3.exceptions.HTTPError as error:
        raise requests.exceptions.ConnectionError(f"the answer broke off: {error}") from error
    return bytes(body)
