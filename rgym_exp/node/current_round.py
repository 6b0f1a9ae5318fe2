"""Which round it is: waiting for the next one, and jumping over those that were missed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from rgym_exp.base.outage import Outage
from rgym_exp.chain.coordinator import ChainError, ChainUnavailable, Coordinator

logger = logging.getLogger("rl_swarm.node")

_SLOWEST_POLL_SECONDS = 15.0


@dataclass(frozen=True, kw_only=True)
class CurrentRound:
    """A round that this node is about to play."""

    round: int
    stage: int
    skipped: int
    """Rounds between the last one played and this one: the swarm moved on meanwhile."""


def await_current_round(
    coordinator: Coordinator, last_round: int | None, *, poll_seconds: float, sleep: Callable[[float], object]
) -> CurrentRound:
    """Wait until the swarm is at a round that this node has not played, and return it.

    While the chain cannot be reached the wait goes on, less and less often, and says so once.

    Args:
        last_round: the last round played; None before the first.
        poll_seconds: pause between two looks at the chain.
        sleep: waits for so many seconds (an event's ``wait``, so that a stop ends it).
    """
    pause = poll_seconds
    outage = Outage(
        logger,
        failing="The chain does not answer (%s). Waiting for it; nothing is lost meanwhile.",
        works="The chain answers again.",
    )
    while True:
        try:
            round_number, stage = coordinator.round_and_stage()
        except ChainUnavailable as error:
            outage.fails(error)
            pause = min(pause * 2, _SLOWEST_POLL_SECONDS)
            sleep(pause)
            continue
        if outage.trouble:
            outage.works()
            pause = poll_seconds
        if last_round is None or round_number > last_round:
            skipped = 0 if last_round is None else round_number - last_round - 1
            if skipped:
                logger.info("The swarm moved on from round %d to %d; skipping %d.", last_round, round_number, skipped)
            return CurrentRound(round=round_number, stage=stage, skipped=skipped)
        if round_number < last_round:
            logger.debug("The chain is at round %d, before our %d; waiting.", round_number, last_round)
        sleep(pause)


def round_by_now(coordinator: Coordinator, current: CurrentRound) -> int:
    """The round that the swarm has reached while this node worked on ``current``; that one when nobody can say."""
    try:
        return max(current.round, coordinator.round_and_stage()[0])
    except ChainError as error:
        logger.debug("Where the swarm is by now can't be asked: %s", error)
        return current.round
