"""The way to a chain's JSON-RPC server, which may be a stranger's: answers are bounded in size, depth and time."""

from __future__ import annotations

import json
import threading
import time
from typing import Any, cast

from web3 import HTTPProvider, Web3
from web3.types import RPCEndpoint, RPCResponse

from rgym_exp.base.http_client import BoundedSession, read_body
from rgym_exp.base.shallow_json import shallow_json

REQUEST_TIMEOUT_SECONDS = 10.0
MAX_ANSWER_BYTES = 16 * 1024 * 1024


def connect(rpc_url: str, timeout_seconds: float = REQUEST_TIMEOUT_SECONDS) -> Web3:
    """A client without retries of its own (ours count and report them) that follows no URL an answer may contain."""
    provider = BoundedProvider(rpc_url, timeout_seconds)
    provider.global_ccip_read_enabled = False
    web3 = Web3(provider)
    # It asks for the chain's id before every call, to compare it with that of a transaction; we know which chain it is.
    web3.middleware_onion.remove("validation")
    return web3


class NoBatches(ValueError):
    """The server takes one question at a time, or refuses this batch as a whole: ask one by one."""


class BoundedProvider(HTTPProvider):
    """web3's own, but for reading the answer: at most ``MAX_ANSWER_BYTES``, within ``timeout_seconds`` in all.

    web3's way has no bound on the size, and its time-out starts anew with every byte.
    """

    def __init__(self, rpc_url: str, timeout_seconds: float) -> None:
        super().__init__(rpc_url, exception_retry_configuration=None)
        self._url = rpc_url
        self._timeout_seconds = timeout_seconds
        self._per_thread = threading.local()

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Ask once.

        Raises:
            requests.exceptions.RequestException: no answer, an error status, or one too slow.
            ValueError: an answer that is too large, nested too deeply, or no JSON.
        """
        return cast(RPCResponse, self._post(self.encode_rpc_request(method, params)))

    def make_batch_request(self, requests: list[tuple[RPCEndpoint, Any]]) -> list[RPCResponse]:
        """Ask several things at once; the answers in the order of the questions.

        Raises like ``make_request``; also NoBatches, and ValueError when an answer is missing.
        """
        calls = [
            {"jsonrpc": "2.0", "id": place, "method": method, "params": params}
            for place, (method, params) in enumerate(requests)
        ]
        answers = self._post(json.dumps(calls).encode())
        if not isinstance(answers, list):
            raise NoBatches("its answer to several questions is one")
        by_place = {answer["id"]: answer for answer in answers if isinstance(answer, dict) and "id" in answer}
        if any(place not in by_place for place in range(len(calls))):
            raise ValueError("its answer to several questions is not whole")
        return [cast(RPCResponse, by_place[place]) for place in range(len(calls))]

    def _post(self, body: bytes) -> Any:
        deadline = time.monotonic() + self._timeout_seconds
        headers, seconds, session = self.get_request_headers(), self._timeout_seconds, self._session()
        with (
            session.until(deadline),
            session.post(self._url, data=body, headers=headers, timeout=seconds, stream=True) as answer,
        ):
            answer.raise_for_status()
            return shallow_json(read_body(answer, max_bytes=MAX_ANSWER_BYTES, deadline=deadline))

    def _session(self) -> BoundedSession:
        """One a thread: sessions keep the connection open, and aren't made to be shared."""
        if not hasattr(self._per_thread, "session"):
            self._per_thread.session = BoundedSession(self._url)
        session: BoundedSession = self._per_thread.session
        return session
