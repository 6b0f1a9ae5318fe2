"""The contract's round as the swarm's hub tells it: one request, which may wait at the hub until the round moves."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests

from rgym_exp.base.http_client import BoundedSession, read_body, reason_of
from rgym_exp.base.shallow_json import shallow_json

logger = logging.getLogger("rl_swarm.chain")

LONGEST_WAIT_SECONDS = 20.0
"""How long a look may wait at the hub. Longer than most rounds of a busy swarm, shorter than proxies' time-outs."""
TIMEOUT_SECONDS = 5.0
"""For the rest of the exchange. A hub that is slower than this isn't asked; the contract is."""
PAUSE_SECONDS = 10.0
"""After a failure the contract is asked for so long, half to one and a half times by chance."""
UNKNOWN_PAUSE_SECONDS = 600.0
"""The same where the hub doesn't know the route: it is of an earlier version, and may be replaced one day."""
MAX_ANSWER_BYTES = 16 * 1024

OnTime = Callable[[float, float, float], None]
"""Called with the hub's time (seconds since the epoch), and our ``time.monotonic`` when the question left, less what it
waited at the hub, and when the answer was here."""


class HubSilent(Exception):
    """The hub tells no round just now: ask the contract. The message is a sentence."""


@dataclass(frozen=True, kw_only=True)
class ToldRound:
    """What the hub said."""

    round: int
    stage: int


class HubRounds:
    """Asks one hub for one contract's round. Safe to use from several threads."""

    def __init__(
        self,
        hub_url: str,
        *,
        contract: str,
        on_time: OnTime | None = None,
        wait_seconds: float = LONGEST_WAIT_SECONDS,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """``contract``: 0x-hex; a hub that keeps another contract's rounds isn't asked again."""
        self._url = f"{hub_url.rstrip('/')}/round"
        self._contract = contract
        self._on_time = on_time
        self._wait_seconds = wait_seconds
        self._timeout_seconds = timeout_seconds
        self._per_thread = threading.local()
        self._silent_until = 0.0
        """By ``time.monotonic``."""

    def look(self, *, after: int | None) -> ToldRound:
        """The round; with ``after`` the hub answers when it is beyond that, or after some seconds. Raises HubSilent."""
        if time.monotonic() < self._silent_until:
            raise HubSilent(f"The hub at {self._url} isn't asked just now.")
        params: dict[str, int | float] = {} if after is None else {"after": after, "wait": self._wait_seconds}
        waits = 0.0 if after is None else self._wait_seconds
        try:
            sent = time.monotonic()
            status, body = self._get(params, deadline=sent + waits + self._timeout_seconds)
            received = time.monotonic()
            if status in (404, 405):
                raise self._silent(f"The hub at {self._url} is of an earlier version.", UNKNOWN_PAUSE_SECONDS)
            if status != 200:
                raise self._silent(f"The hub at {self._url} tells no round (status {status}).")
            said = shallow_json(body)
        except requests.exceptions.RequestException as error:
            raise self._silent(f"The hub at {self._url} doesn't answer ({reason_of(error)}).") from error
        except ValueError as error:
            raise self._silent(f"What answers at {self._url} is no hub ({error}).") from error
        told = self._told(said)
        self._tell_time(said, sent, received)
        return told

    def _get(self, params: dict[str, int | float], *, deadline: float) -> tuple[int, bytes]:
        session = self._session()
        timeout = deadline - time.monotonic()
        with (
            session.until(deadline),
            session.get(
                self._url,
                params=params,
                timeout=(self._timeout_seconds, timeout),
                allow_redirects=False,
                stream=True,
            ) as answer,
        ):
            return answer.status_code, read_body(answer, max_bytes=MAX_ANSWER_BYTES, deadline=deadline)

    def _session(self) -> BoundedSession:
        """One a thread: sessions keep the connection open, and aren't made to be shared."""
        if not hasattr(self._per_thread, "session"):
            self._per_thread.session = BoundedSession(self._url)
        session: BoundedSession = self._per_thread.session
        return session

    def _told(self, said: Any) -> ToldRound:
        match said:
            case {"round": int(round), "stage": int(stage)} if _is_count(round) and _is_count(stage):
                contract = said.get("contract")
                if isinstance(contract, str) and contract.lower() != self._contract.lower():
                    raise self._silent(f"The hub at {self._url} keeps another contract's rounds.", math.inf)
                return ToldRound(round=round, stage=stage)
        raise self._silent(f"What answers at {self._url} says no round.", UNKNOWN_PAUSE_SECONDS)

    def _tell_time(self, said: Any, sent: float, received: float) -> None:
        """The hub stamps its answer as it leaves. So a question that waited there left, as it were, so much later."""
        match said:
            case {"time": float() | int() as time, "waited": float() | int() as waited} if (
                self._on_time is not None and 0 < time < 1e11 and 0 <= waited <= received - sent
            ):
                self._on_time(float(time), sent + float(waited), received)

    def _silent(self, reason: str, pause: float = PAUSE_SECONDS) -> HubSilent:
        """Leave the hub alone for a while. By chance, so that the nodes of a swarm don't all come back at once."""
        self._silent_until = time.monotonic() + pause * random.uniform(0.5, 1.5)
        logger.debug("%s The contract is asked instead.", reason)
        return HubSilent(reason)


def _is_count(value: int) -> bool:
    return not isinstance(value, bool) and 0 <= value < 2**63
