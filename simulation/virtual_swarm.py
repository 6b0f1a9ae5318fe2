"""A swarm in virtual time: the real keeper, peer activity, reading of levels and shards, gathering and selection.

Only generating, training and the network are waits, so an hour of a swarm of hundreds passes in a minute or less.
"""

from __future__ import annotations

import asyncio
import math
import random
import statistics
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from rgym_exp.hub.keeper import RoundLimits
from simulation.virtual_dht import VirtualDht, VirtualRecords
from simulation.virtual_peer import Contract, PlayedRound, VirtualPeer, share_of
from simulation.virtual_rule import PRESENT, RoundKeeper, Rule
from simulation.virtual_time import VirtualTimeLoop, run_virtually

_P95_TO_P5 = 2 * 1.645
"""Standard deviations between the 5th and the 95th percentile of a normal distribution."""


@dataclass(frozen=True, kw_only=True)
class SwarmPlan:
    """What happens in a simulated swarm. Times of day are minutes, the rest seconds."""

    peers: int = 8
    spread: float = 4.0
    """Ratio of the 95th to the 5th percentile of what the peers' work takes; log-normal."""
    minutes: float = 60.0
    seed: int = 1
    generate_seconds: float = 6.0
    train_seconds: float = 3.0
    arrive_seconds: float = 5.0
    """All peers arrive within so long."""
    dead_at: float | None = None
    """The first peer dies without a word."""
    newcomer: float | None = None
    """From minute 5 on there is one more peer, so many times slower than the median."""
    hub_restart_at: float | None = None
    hub_away: tuple[float, float] | None = None
    """From when to when the hub is away."""
    apart_from: float | None = None
    """Every second peer is out of the hub's reach from then on until the end of its absence."""
    strangers: int = 0
    """So many others, from ``strangers_at`` on, of the kind that ``run`` is given."""
    strangers_at: float = 5.0
    limits: RoundLimits = field(default_factory=RoundLimits)


@dataclass(frozen=True, kw_only=True)
class SwarmOutcome:
    """What came of it; speeds are in the order of the peers' numbers, and strangers are not counted anywhere."""

    plan: SwarmPlan
    began: list[float]
    """When each round began, seconds."""
    speeds: list[float]
    """By what each peer's work is multiplied."""
    steps: list[int]
    shares_made: int
    shares_lost: int
    shares_used: int
    uses: list[int]
    """How often a share of each peer was trained on."""
    made: list[int]
    """Shares that each peer made."""
    places_filled: float
    gather_seconds: float
    reads_per_step: float
    """Shards that a peer reads in a round."""
    keeper_looks: int
    keeper_shards: int
    keeper_announcements: int
    played: list[list[PlayedRound]]
    """The rounds of each peer."""

    @property
    def round_seconds(self) -> list[float]:
        """How long each round took, but for the first three, in which a swarm finds together."""
        return [after - before for before, after in zip(self.began[3:], self.began[4:], strict=False)]

    def rounds_between(self, first_minute: float, last_minute: float) -> list[float]:
        """How long the rounds took that ended in between, seconds."""
        ended = zip(self.began, self.began[1:], strict=False)
        return [after - before for before, after in ended if first_minute * 60 < after <= last_minute * 60]

    @property
    def rounds_per_hour(self) -> float:
        return (len(self.began) - 1) * 60 / self.plan.minutes

    @property
    def steps_per_hour(self) -> float:
        """Of a peer, on average."""
        return statistics.mean(self.steps) * 60 / self.plan.minutes

    @property
    def unused(self) -> float:
        """The part of the shares on which nobody trained."""
        return 1 - self.shares_used / max(1, self.shares_made)

    @property
    def never_heard(self) -> int:
        """How many peers nobody ever trained on."""
        return sum(1 for uses in self.uses if not uses)

    @property
    def uses_by_quarter(self) -> list[float]:
        """How often a share was trained on, on average, from the quickest quarter of the peers to the slowest."""
        order = sorted(range(len(self.speeds)), key=self.speeds.__getitem__)
        bounds = [quarter * len(order) // 4 for quarter in range(5)]
        quarters = [order[first:last] for first, last in zip(bounds, bounds[1:], strict=False)]
        return [sum(self.uses[i] for i in q) / max(1, sum(self.made[i] for i in q)) for q in quarters if q]


class VirtualSwarm:
    """The world of one simulation, as strangers see it too."""

    def __init__(self, plan: SwarmPlan, loop: VirtualTimeLoop, rule: Rule = PRESENT) -> None:
        self.plan = plan
        self._rule = rule
        self.now = loop.time
        self.dht = VirtualDht()
        self.contract = Contract(loop.time)
        self.served: dict[str, bytes] = {}
        rng = random.Random(plan.seed)
        sigma = math.log(plan.spread) / _P95_TO_P5
        self.speeds = [math.exp(rng.gauss(0, sigma)) for _ in range(plan.peers)]
        if plan.newcomer is not None:
            self.speeds.append(plan.newcomer)
        self.peers = [self._peer(number, speed) for number, speed in enumerate(self.speeds)]
        self._tasks: list[asyncio.Task[None]] = []
        self._keepers: list[tuple[RoundKeeper, VirtualRecords]] = []

    def announce(self, peer_id: str, round: int) -> None:
        """Have a stranger announce a share of ``round``, in time or late, at a level that the swarm reads."""
        data, announcement = share_of(peer_id, round, reached=self.contract.round, time=self.now())
        self.served[announcement.share_digest] = data
        self.dht.put(announcement, self._keepers[-1][1].level)

    async def run(self, stranger: Stranger | None) -> SwarmOutcome:
        """Play the plan."""
        end = self.plan.minutes * 60
        for number, peer in enumerate(self.peers):
            self._tasks.append(asyncio.create_task(self._live(number, peer)))
        for number in range(self.plan.strangers if stranger is not None else 0):
            assert stranger is not None
            self._tasks.append(asyncio.create_task(self._intrude(stranger, number)))
        if self.plan.apart_from is not None:
            self._tasks.append(asyncio.create_task(self._part(self.plan.apart_from * 60)))
        for begins, ends in self._hub_times(end):
            await self._host(begins, ends)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for task in self._tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                raise RuntimeError("A part of the simulation failed.") from task.exception()
        return self._outcome()

    def _hub_times(self, end: float) -> list[tuple[float, float]]:
        """From when to when there is a hub, in seconds."""
        restart, away = self.plan.hub_restart_at, self.plan.hub_away
        absences = sorted(([(restart, restart)] if restart is not None else []) + ([away] if away is not None else []))
        begins = [0.0, *(last * 60 for _, last in absences)]
        ends = [*(first * 60 for first, _ in absences), end]
        return list(zip(begins, ends, strict=True))

    async def _host(self, begins: float, ends: float) -> None:
        """There is a hub, which knows nothing of those before it."""
        await asyncio.sleep(begins - self.now())
        self.contract.available = True
        if begins:
            self.contract.out_of_reach.clear()
        keeping = asyncio.create_task(self._keep())
        self._tasks.append(keeping)
        await asyncio.sleep(ends - self.now())
        keeping.cancel()
        self.contract.available = False

    async def _part(self, at: float) -> None:
        await asyncio.sleep(at)
        self.contract.out_of_reach.update(peer.peer_id for peer in self.peers[1::2])

    async def _keep(self) -> None:
        records = VirtualRecords(self.dht, random.Random(f"{self.plan.seed} hub {len(self._keepers)}"))
        keeper = self._rule.keeper(
            client=self.contract,
            records=records,
            limits=self.plan.limits,
            clock=self.now,
            rng=random.Random(f"{self.plan.seed} keeper"),
        )
        self._keepers.append((keeper, records))
        await keeper.run()

    def _peer(self, number: int, speed: float) -> VirtualPeer:
        return VirtualPeer(
            peer_id=f"p{number}",
            place=self,
            records=VirtualRecords(self.dht, random.Random(f"{self.plan.seed} dht {number}")),
            generate_seconds=self.plan.generate_seconds * speed,
            train_seconds=self.plan.train_seconds * speed,
            rng=random.Random(f"{self.plan.seed} peer {number}"),
            now=self.now,
            rule=self._rule,
        )

    async def _live(self, number: int, peer: VirtualPeer) -> None:
        await asyncio.sleep(random.Random(f"{self.plan.seed} arrival {number}").random() * self.plan.arrive_seconds)
        if number == self.plan.peers:  # the newcomer
            await asyncio.sleep(300)
        dies = number == 0 and self.plan.dead_at is not None
        try:
            async with asyncio.timeout_at((self.plan.dead_at or 0.0) * 60 if dies else None):
                await peer.play()
        except TimeoutError:
            return

    async def _intrude(self, stranger: Stranger, number: int) -> None:
        await asyncio.sleep(self.plan.strangers_at * 60)
        await stranger(self, number)

    def _outcome(self) -> SwarmOutcome:
        used: Counter[tuple[str, int]] = sum((peer.used for peer in self.peers), Counter())
        uses: Counter[str] = Counter()
        for (author, _), count in used.items():
            uses[author] += count
        steps = sum(peer.steps for peer in self.peers)
        filled = [part for peer in self.peers for part in peer.places_filled]
        gathers = [seconds for peer in self.peers for seconds in peer.gather_seconds]
        ours = {peer.peer_id for peer in self.peers}
        return SwarmOutcome(
            plan=self.plan,
            began=list(self.contract.began),
            speeds=self.speeds,
            steps=[peer.steps for peer in self.peers],
            shares_made=sum(peer.shares_made for peer in self.peers),
            shares_lost=sum(peer.shares_lost for peer in self.peers),
            shares_used=sum(1 for author, _ in used if author in ours),
            uses=[uses[peer.peer_id] for peer in self.peers],
            made=[peer.shares_made for peer in self.peers],
            places_filled=statistics.mean(filled) if filled else 0.0,
            gather_seconds=statistics.mean(gathers) if gathers else 0.0,
            reads_per_step=sum(peer.records.shards_read for peer in self.peers) / max(1, steps),
            keeper_looks=sum(keeper.looks for keeper, _ in self._keepers),
            keeper_shards=sum(records.shards_read for _, records in self._keepers),
            keeper_announcements=sum(records.announcements_read for _, records in self._keepers),
            played=[peer.played for peer in self.peers],
        )


Stranger = Callable[[VirtualSwarm, int], Coroutine[Any, Any, None]]
"""What stranger number n does in a swarm, from its arrival until it is cancelled."""


def simulate(plan: SwarmPlan, stranger: Stranger | None = None, *, rule: Rule = PRESENT) -> SwarmOutcome:
    """Play a plan from beginning to end, in virtual time."""
    return run_virtually(lambda loop: VirtualSwarm(plan, loop, rule).run(stranger))
