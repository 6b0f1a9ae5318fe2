"""The open questions of a judge, and who may have how many: in bounded memory, whoever asks."""

from __future__ import annotations

import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

Reason = Literal["malformed", "unknown", "expired", "answered", "too many", "busy"]


_Key = TypeVar("_Key")


class SessionRefused(Exception):
    """The judge doesn't do what it was asked. The message is a sentence for whoever asked."""

    def __init__(self, reason: Reason, message: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, kw_only=True)
class SessionLimits:
    """How much anybody may ask for."""

    lifetime_seconds: float = 600.0
    """An answer is taken for so long. A session is remembered for as long again, to say why a late one isn't."""
    per_asker_and_round: int = 16
    """Questions of one peer and round to one address."""
    per_peer_and_round: int = 64
    """The same to all addresses together. More than one asker's: who asks in another peer's name from one address
    can't use up what that peer may ask."""
    per_address: int = 4096
    """Sessions of one address without an answer yet."""
    in_all: int = 60_000
    """Beyond this the oldest session is forgotten. At half a kilobyte each: 30 MB. A thousand peers with four questions
    a round fill it in fifteen rounds."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """One question that was asked for."""

    session_id: str
    """32 hex digits that nobody can guess."""
    peer_id: str
    """As claimed by whoever asked."""
    model_name: str
    round: int
    address: str
    number: int
    """Of its question, as its owner counts them."""
    began: float
    """By the sessions' clock, seconds."""


class Sessions:
    """Sessions from their question to their answer. Not thread-safe: its owner has one thread, or locks."""

    def __init__(self, limits: SessionLimits | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits or SessionLimits()
        self._clock = clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._answered: set[str] = set()
        # These count the sessions remembered, and so are as bounded as these are.
        self._of_asker: Counter[tuple[str, str, int]] = Counter()
        self._of_peer: Counter[tuple[str, int]] = Counter()
        self._of_address: Counter[str] = Counter()

    def __len__(self) -> int:
        """Sessions remembered, whether open, answered or expired."""
        return len(self._sessions)

    def room(self, *, peer_id: str, round: int, address: str) -> int:
        """How many sessions this peer may begin now. Raises SessionRefused ("too many") instead of saying 0."""
        self._forget_before(self._clock() - 2 * self.limits.lifetime_seconds)
        of_peer = min(
            self.limits.per_asker_and_round - self._of_asker[address, peer_id, round],
            self.limits.per_peer_and_round - self._of_peer[peer_id, round],
        )
        if of_peer <= 0:
            raise SessionRefused(
                "too many", f"This peer has been asked enough in round {round}.", retry_after_seconds=60
            )
        of_address = self.limits.per_address - self._of_address[address]
        if of_address <= 0:
            raise SessionRefused(
                "too many", "Too many questions to this address; answer some later.", retry_after_seconds=60
            )
        return min(of_peer, of_address)

    def begin(self, *, peer_id: str, model_name: str, round: int, address: str, number: int) -> Session:
        """A new session. Raises SessionRefused ("too many")."""
        self.room(peer_id=peer_id, round=round, address=address)
        session = Session(
            session_id=secrets.token_hex(16),
            peer_id=peer_id,
            model_name=model_name,
            round=round,
            address=address,
            number=number,
            began=self._clock(),
        )
        self._sessions[session.session_id] = session
        self._count(session, 1)
        _add(self._of_address, address, 1)
        while len(self._sessions) > self.limits.in_all:
            self._forget_oldest()
        return session

    def answer(self, session_id: str) -> Session:
        """The session, answered from now on. Raises SessionRefused ("unknown", "expired", "answered")."""
        session = self._sessions.get(session_id)
        if session is None:
            raise SessionRefused("unknown", "There is no such session, or it is long gone.")
        if session_id in self._answered:
            raise SessionRefused("answered", "This session's question has been answered.")
        if self._clock() - session.began > self.limits.lifetime_seconds:
            raise SessionRefused(
                "expired", f"This session ended {self.limits.lifetime_seconds:g} s after its question."
            )
        self._answered.add(session_id)
        _add(self._of_address, session.address, -1)
        return session

    def reopen(self, session: Session) -> None:
        """Take the answer back, when it couldn't be looked at: it may be handed in again."""
        if session.session_id in self._answered:
            self._answered.discard(session.session_id)
            _add(self._of_address, session.address, 1)

    def _forget_before(self, moment: float) -> None:
        while self._sessions and next(iter(self._sessions.values())).began < moment:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        session_id, session = self._sessions.popitem(last=False)
        if session_id in self._answered:
            self._answered.discard(session_id)
        else:
            _add(self._of_address, session.address, -1)
        self._count(session, -1)

    def _count(self, session: Session, by: int) -> None:
        _add(self._of_asker, (session.address, session.peer_id, session.round), by)
        _add(self._of_peer, (session.peer_id, session.round), by)


def _add(counter: Counter[_Key], key: _Key, by: int) -> None:
    counter[key] += by
    if not counter[key]:
        del counter[key]
