"""Strangers who would set the pace of a virtual swarm, each kind a ``Stranger``. None of them does any work."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from simulation.virtual_swarm import Stranger, VirtualSwarm

_LOOK_SECONDS = 0.5


async def announce_at_once(swarm: VirtualSwarm, number: int) -> None:
    """Announces every round as soon as it begins, to have rounds end before anybody is done."""
    await _each_round(swarm, f"instant {number}", after=0.0)


async def announce_at_the_limit(swarm: VirtualSwarm, number: int) -> None:
    """Announces two seconds before the longest that a round may take, if by then it still can, to be waited for."""
    while True:
        round = swarm.contract.round
        await asyncio.sleep(swarm.plan.limits.longest - 2)
        swarm.announce(f"limit {number}", round)


async def announce_and_vanish(swarm: VirtualSwarm, number: int) -> None:
    """Announces every round under a new name, which is then active and never heard of again."""
    await _each_round(swarm, f"vanishing {number}", after=4.0, is_new_each_round=True)


async def make_identities(swarm: VirtualSwarm, number: int) -> None:
    """Announces every round at once under a new name: half of the swarm, if names could vote."""
    await _each_round(swarm, f"fresh {number}", after=0.0, is_new_each_round=True)


STRANGERS: Mapping[str, Stranger] = {
    "instant": announce_at_once,
    "limit": announce_at_the_limit,
    "vanish": announce_and_vanish,
    "fresh": make_identities,
}


async def _each_round(swarm: VirtualSwarm, name: str, *, after: float, is_new_each_round: bool = False) -> None:
    last = -1
    while True:
        while swarm.contract.round == last:
            await asyncio.sleep(_LOOK_SECONDS)
        last = swarm.contract.round
        await asyncio.sleep(after)
        if swarm.contract.round == last:
            swarm.announce(f"{name} of {last}" if is_new_each_round else name, last)
