"""What decides when a round of a virtual swarm ends and who is fetched: the rule in use, and whatever is compared."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from rgym_exp.hub.keeper import ContractClient, Keeper, RecordSource, RoundLimits
from rgym_exp.swarm.exchange import Drops, KnownPeers, SharesDealtWith
from rgym_exp.swarm.fetching import SlowServers
from rgym_exp.swarm.gathering import RoundGathering
from rgym_exp.swarm.listing import MAX_ROUNDS_LATE
from rgym_exp.swarm.verify import ShareRules
from rgym_exp.types import Announcement, ReceivedShare
from simulation.virtual_dht import VirtualRecords

EXTERNAL_GROUPS = 4
ENOUGH_SHARES = 2 * EXTERNAL_GROUPS
RULES = ShareRules(swarm_id="virtual", tasks_digest="tasks", max_slots=32, num_generations=2)


class OneGathering(Protocol):
    """The gathering of one round, which began when it was made."""

    async def finish(self, *, timeout_seconds: float, swarm_round: int) -> list[ReceivedShare]:
        """The shares, once the peer's own is published; the swarm is at ``swarm_round`` by then."""
        ...

    async def stop(self) -> None:
        """End what is still under way; called in any case."""
        ...


class Gatherings(Protocol):
    """All gatherings of one peer, and what it remembers of others from round to round."""

    @property
    def is_alone(self) -> bool:
        """Whether the peer knows of nobody."""
        ...

    def begin(self, round: int) -> OneGathering:
        """Begin the gathering of a round."""
        ...


class MakeGatherings(Protocol):
    """Makes a peer's."""

    def __call__(
        self,
        *,
        peer_id: str,
        records: VirtualRecords,
        fetch: Callable[[Announcement], Awaitable[bytes]],
        rng: random.Random,
        clock: Callable[[], float],
    ) -> Gatherings: ...


class RoundKeeper(Protocol):
    """Ends rounds."""

    looks: int
    """How often it has looked at the announcements."""

    async def run(self) -> None:
        """Until cancelled."""
        ...


class MakeKeeper(Protocol):
    """Makes a hub's."""

    def __call__(
        self,
        *,
        client: ContractClient,
        records: RecordSource,
        limits: RoundLimits,
        clock: Callable[[], float],
        rng: random.Random,
    ) -> RoundKeeper: ...


@dataclass(frozen=True, kw_only=True)
class Rule:
    """See above."""

    keeper: MakeKeeper
    gatherings: MakeGatherings
    rounds_late: int
    """So many rounds after its own a share is still listed where others look; one that is later is lost."""


class PresentGatherings:
    """The real ones."""

    def __init__(
        self,
        *,
        peer_id: str,
        records: VirtualRecords,
        fetch: Callable[[Announcement], Awaitable[bytes]],
        rng: random.Random,
        clock: Callable[[], float],
    ) -> None:
        self._peer_id, self._records, self._fetch = peer_id, records, fetch
        self._rng, self._clock = rng, clock
        self._known = KnownPeers(peer_id)
        self._dealt_with = SharesDealtWith()
        self._slow_servers = SlowServers()

    @property
    def is_alone(self) -> bool:
        """See ``Gatherings``."""
        return not self._known.newest_first()

    def begin(self, round: int) -> PresentGathering:
        """See ``Gatherings``."""
        gathering = RoundGathering(
            round=round,
            records=self._records,
            fetch=self._fetch,
            rules=RULES,
            known=self._known,
            dealt_with=self._dealt_with,
            slow_servers=self._slow_servers,
            drops=Drops(),
            own_peer_id=self._peer_id,
            fetches_at_once=4,
            rng=self._rng,
            clock=self._clock,
        )
        gathering.start()
        return PresentGathering(gathering)


class PresentGathering:
    """A ``RoundGathering`` that wants as many shares as a node with the usual batch."""

    def __init__(self, gathering: RoundGathering) -> None:
        self._gathering = gathering

    async def finish(self, *, timeout_seconds: float, swarm_round: int) -> list[ReceivedShare]:
        """See ``OneGathering``."""
        return await self._gathering.finish(
            timeout_seconds=timeout_seconds, enough_shares=ENOUGH_SHARES, swarm_round=swarm_round
        )

    async def stop(self) -> None:
        """See ``OneGathering``."""
        await self._gathering.stop()


PRESENT = Rule(keeper=Keeper, gatherings=PresentGatherings, rounds_late=MAX_ROUNDS_LATE)
