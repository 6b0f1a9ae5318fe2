"""One peer in virtual time: its rounds, gathering (or another rule's) and selection are the real ones; working and
fetching are waits."""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rgym_exp.chain.coordinator import ChainUnavailable
from rgym_exp.node.current_round import CurrentRound, SwarmRounds
from rgym_exp.swarm.listing import listed_under
from rgym_exp.swarm.publishing import CAPABILITIES
from rgym_exp.swarm.selection import select
from rgym_exp.swarm.share import encode_share
from rgym_exp.types import Announcement, Completion, Group, Problem, ReceivedShare, Share, SharedGroup
from simulation.memory_chain import MemoryChain, MemoryCoordinator
from simulation.virtual_dht import VirtualRecords
from simulation.virtual_rule import EXTERNAL_GROUPS, RULES, Rule

GROUPS_A_SHARE = 2
"""With an advantage, of the four that a share would have: the others are never selected, and cost time."""
FETCH_SECONDS = 0.3
_POLL_SECONDS = 1.0
_CHAIN_SECONDS = 0.05
_NOISE = 0.1
"""Standard deviation of the logarithm of what one piece of work takes, from round to round."""

_GROUPS = tuple(
    SharedGroup(slot=slot, completions=(Completion(text="1", ended=True), Completion(text="2", ended=True)))
    for slot in range(GROUPS_A_SHARE)
)
_PROBLEMS = [Problem(slot=slot, dataset="sum", question="?", entry={}) for slot in range(GROUPS_A_SHARE)]


class Contract(MemoryChain):
    """The contract in memory, and when each round began."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self.began = [now()]
        self.out_of_reach: set[str] = set()
        """The peers that can't reach the hub, although it may be there for others."""
        self._now = now

    def round_and_stage(self) -> tuple[int, int]:
        """See ``ContractClient``."""
        return self.round, self.stage

    def advance_round(self) -> None:
        """See ``ContractClient``."""
        self.advance()
        self.began.append(self._now())


class _PeersCoordinator(MemoryCoordinator):
    """The contract as one peer sees it, whose account is its peer id."""

    def __init__(self, contract: Contract, peer_id: str) -> None:
        super().__init__(contract, peer_id)
        self._contract = contract

    def round_and_stage(self, *, after: int | None = None) -> tuple[int, int]:
        if self.account in self._contract.out_of_reach:
            raise ChainUnavailable("The hub is out of this peer's reach.")
        return super().round_and_stage(after=after)


class _MustWait(Exception):
    """``SwarmRounds`` wants to sleep, and would hold up everybody: it is called again after so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


def _wait(seconds: float) -> None:
    raise _MustWait(seconds)


@dataclass(frozen=True, kw_only=True)
class PlayedRound:
    """A round as a peer has it behind it."""

    number: int
    """As in ``CurrentRound``."""
    ended: float
    authors: frozenset[str]
    """The peers on whose groups it trained."""


class Place(Protocol):
    """Where peers meet."""

    contract: Contract
    served: dict[str, bytes]
    """The bytes of each share, by digest."""


class VirtualPeer:
    """Plays round after round until it is cancelled, and keeps count of what came of it."""

    def __init__(
        self,
        *,
        peer_id: str,
        place: Place,
        records: VirtualRecords,
        generate_seconds: float,
        train_seconds: float,
        rng: random.Random,
        now: Callable[[], float],
        rule: Rule,
    ) -> None:
        self.peer_id = peer_id
        self.steps = 0
        self.shares_made = 0
        self.shares_lost = 0
        """Made too late for anybody."""
        self.used: Counter[tuple[str, int]] = Counter()
        """(author, round) of the shares from which it trained on a group."""
        self.places_filled: list[float] = []
        """For each step, which part of the places for external groups was filled."""
        self.gather_seconds: list[float] = []
        self.played: list[PlayedRound] = []
        self.records = records
        self._place = place
        self._generate_seconds, self._train_seconds = generate_seconds, train_seconds
        self._rng = rng
        self._now = now
        self._rounds = SwarmRounds(
            _PeersCoordinator(place.contract, peer_id),
            last_round=None,
            poll_seconds=_POLL_SECONDS,
            sleep=_wait,
            clock=now,
        )
        self._rounds_late = rule.rounds_late
        self._gatherings = rule.gatherings(peer_id=peer_id, records=records, fetch=self._fetch, rng=rng, clock=now)
        self._background: set[asyncio.Task[None]] = set()

    async def play(self) -> None:
        """Play until cancelled."""
        while True:
            await self._play_round(await self._next_round())

    async def _next_round(self) -> CurrentRound:
        await asyncio.sleep(_CHAIN_SECONDS)
        while True:
            try:
                return self._rounds.await_next()
            except _MustWait as wait:
                await asyncio.sleep(wait.seconds)

    async def _play_round(self, current: CurrentRound) -> None:
        is_alone = self._gatherings.is_alone
        gathering = self._gatherings.begin(current.number)
        try:
            await self._work(self._generate_seconds * (2 if is_alone else 1))
            reached = self._rounds.reached(current)
            self._publish(current.number, reached)
            began = self._now()
            received = await gathering.finish(timeout_seconds=60.0, swarm_round=reached)
        finally:
            await gathering.stop()
        self.gather_seconds.append(self._now() - began)
        authors = self._select(received)
        await self._work(self._train_seconds)
        self.steps += 1
        self._rounds.played(current.round, interim=current.interim)
        self.played.append(PlayedRound(number=current.number, ended=self._now(), authors=authors))

    async def _work(self, seconds: float) -> None:
        await asyncio.sleep(seconds * math.exp(self._rng.gauss(0, _NOISE)))

    def _publish(self, round: int, reached: int) -> None:
        self.shares_made += 1
        is_lost = reached - round > self._rounds_late
        self.shares_lost += is_lost
        data, announcement = share_of(self.peer_id, round, reached=round if is_lost else reached, time=self._now())
        self._place.served[announcement.share_digest] = data
        task = asyncio.create_task(self.records.publish(announcement))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _fetch(self, announcement: Announcement) -> bytes:
        await asyncio.sleep(FETCH_SECONDS)
        return self._place.served[announcement.share_digest]

    def _select(self, received: list[ReceivedShare]) -> frozenset[str]:
        groups = [
            Group(
                peer_id=one.share.peer_id,
                problem=problem,
                completions=shared.completions,
                rewards=(0.0, 1.0),
            )
            for one in received
            for problem, shared in zip(_PROBLEMS, one.share.groups, strict=True)
        ]
        selected = select(groups, count=EXTERNAL_GROUPS, per_peer=EXTERNAL_GROUPS, rng=self._rng)
        rounds = {one.share.peer_id: one.share.round for one in received}
        authors = frozenset(group.peer_id for group in selected)
        for author in authors:
            self.used[author, rounds[author]] += 1
        self.places_filled.append(len(selected) / EXTERNAL_GROUPS)
        return authors


def share_of(peer_id: str, round: int, *, reached: int, time: float) -> tuple[bytes, Announcement]:
    """A share's bytes and its announcement, made when the swarm is at the round ``reached``."""
    share = Share(
        swarm_id=RULES.swarm_id, round=round, peer_id=peer_id, tasks_digest=RULES.tasks_digest, groups=_GROUPS
    )
    data = encode_share(share)
    announcement = Announcement(
        swarm_id=RULES.swarm_id,
        round=round,
        listed=listed_under(round, swarm_round=reached),
        peer_id=peer_id,
        share_digest=hashlib.sha256(data).hexdigest(),
        share_size=len(data),
        group_count=len(_GROUPS),
        tasks_digest=RULES.tasks_digest,
        model_name="m",
        account="",
        mean_reward=0.5,
        time=time,
        capabilities=CAPABILITIES,
    )
    return data, announcement
