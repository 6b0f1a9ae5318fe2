"""Which round it is: waiting for the next one, jumping over missed ones, going back with a chain that was set back, and
playing interim rounds while the hub is away or nobody else waits for the next round."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass

from rgym_exp.base.background import Background
from rgym_exp.base.outage import Outage
from rgym_exp.chain.coordinator import ChainError, ChainUnavailable, Coordinator
from rgym_exp.types import contract_round, interim_count, interim_round

logger = logging.getLogger("rl_swarm.node")

SILENCE_SECONDS = 60.0
"""After the hub has been silent for so long, training goes on without it."""
BELOW_SECONDS = 30.0
"""A chain that is below our last round for so long was set back. Shorter, it may be an endpoint that lags behind."""
_SLOWEST_POLL_SECONDS = 15.0
_SHORT_LOOK_SECONDS = 1.0
"""How long an interim round waits to hear whether the hub is back."""

RoundAndStage = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class CurrentRound:
    """A round that this node is about to play."""

    round: int
    """The contract's; of an interim round, the last one that the contract was seen at."""
    stage: int
    skipped: int
    """Rounds between the last one played and this one: the swarm moved on meanwhile."""
    interim: int = 0
    """Which interim round after ``round`` this is, counted from 1; 0 for a round of the contract."""

    @property
    def number(self) -> int:
        """What names the round among peers, in shares and in the seeds of problems."""
        return interim_round(self.round, self.interim)


class SwarmRounds:
    """The rounds that this node plays, one after the other."""

    def __init__(
        self,
        coordinator: Coordinator,
        *,
        last_round: int | None,
        last_interim: int = 0,
        resumed: bool = False,
        poll_seconds: float,
        sleep: Callable[[float], object],
        clock: Callable[[], float] = time.monotonic,
        nobody_else_waits: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Args:
            last_round: the last of the contract's rounds that was played; None before the first.
            last_interim: as ``self.last_interim``.
            resumed: that was in a run before this one.
            poll_seconds: pause between two looks at the chain.
            sleep: waits for so many seconds (an event's ``wait``, so that a stop ends it).
            nobody_else_waits: whether a round need not last until the next one is there: interim rounds are played
                meanwhile, whose numbers leave the round's own to it, so that whoever comes finds it where it should be.
        """
        self.last_round = last_round
        """The last of the contract's rounds that was played. An interim round is none of them: a hub that comes back
        would otherwise seem to have been set back."""
        self.last_interim = last_interim
        """The number of the last interim round that was played since; 0 without any."""
        self._coordinator = coordinator
        self._poll_seconds = poll_seconds
        self._sleep = sleep
        self._clock = clock
        self._nobody_else_waits = nobody_else_waits
        # A coordinator of somebody's own may know no long poll.
        self._polls_long = "after" in inspect.signature(coordinator.round_and_stage).parameters
        self._repeats_round = resumed
        """Whether the round played last may be played once more. After a resume and after an absence of the hub nobody
        else may have it: the swarm would wait for our announcement, and we for its next round."""
        self._below_since: float | None = None
        self._silent_since: float | None = None
        # Counted on from there after a resume: the weights have seen the problems of those rounds.
        self._base = contract_round(last_interim) if last_interim else last_round or 0
        """The contract's round when it was last heard of."""
        self._interim = interim_count(last_interim)
        """Interim rounds played after ``_base``."""
        self._background: Background | None = None
        """Looks for the hub while interim rounds are played; None while it is there."""
        self._looking: Future[RoundAndStage] | None = None
        self._outage = Outage(
            logger,
            failing="The chain does not answer (%s). Waiting for it; nothing is lost meanwhile.",
            works="The chain answers again.",
        )

    def await_next(self) -> CurrentRound:
        """Wait until the swarm is at a round that this node has not played, and return it.

        While the chain cannot be reached the wait goes on, less and less often, and says so once; after a minute an
        interim round is played instead, and the hub is looked for before each further one.

        Raises:
            ChainError: the chain or the contract is another than it was.
        """
        pause = self._poll_seconds
        while True:
            began = self._clock()
            try:
                round_number, stage = self._look()
            except ChainUnavailable as error:
                self._outage.fails(error)
                left = self._seconds_of_waiting_left()
                if left <= 0:
                    return self._interim_round()
                pause = min(pause * 2, _SLOWEST_POLL_SECONDS)
                self._sleep(min(pause, left))
                continue
            if self._outage.trouble:
                pause = self._poll_seconds
            self._heard(round_number)
            if self._is_new(round_number):
                return self._round(round_number, stage)
            if self._nobody_else_waits():
                return self._next_interim()
            # A long poll has waited already.
            self._sleep(max(0.0, self._poll_seconds - (self._clock() - began)))

    def reached(self, current: CurrentRound) -> int:
        """The round that the swarm has reached while this node worked on ``current``; that one when nobody can say."""
        if current.interim:
            return current.number
        try:
            reached = max(current.round, self._coordinator.round_and_stage()[0])
        except ChainError as error:
            logger.debug("Where the swarm is by now can't be asked: %s", error)
            return current.round
        if reached > self._base:
            self._base, self._interim = reached, 0
        return reached

    def played(self, round_number: int, *, interim: int = 0) -> None:
        """Take in that the step of this round is made."""
        if interim:
            self.last_interim = interim_round(round_number, interim)
        else:
            self.last_round, self.last_interim = round_number, 0

    def _look(self) -> RoundAndStage:
        """Where the contract is. Raises ChainUnavailable, within about a second while interim rounds are played."""
        return self._ask() if self._background is None else self._short_look(self._background)

    def _ask(self) -> RoundAndStage:
        if self._polls_long and self._background is None and not self._repeats_round and self.last_round is not None:
            return self._coordinator.round_and_stage(after=self.last_round)
        return self._coordinator.round_and_stage()

    def _short_look(self, background: Background) -> RoundAndStage:
        """An address from which nothing comes back holds a question up for long; the training need not wait for it."""
        earlier, self._looking = self._looking, None
        looking = earlier or background.submit(self._ask)
        if not wait([looking], _SHORT_LOOK_SECONDS).done:
            self._looking = looking
            raise ChainUnavailable("no answer yet")
        answer = looking.result()
        # The answer to an earlier question may be out of date by a round.
        return answer if earlier is None else self._ask()

    def _heard(self, round_number: int) -> None:
        self._outage.works()
        self._silent_since = None
        if round_number != self._base:
            self._base, self._interim = round_number, 0
        if self._background is not None:
            self._background.close()
            self._background = self._looking = None
            self._repeats_round = True

    def _is_new(self, round_number: int) -> bool:
        """Whether to play the round that the contract is at now."""
        repeats, self._repeats_round = self._repeats_round, False
        if self.last_round is None or round_number > self.last_round:
            return True
        if round_number == self.last_round:
            self._below_since = None
            return repeats
        if self._below_since is None:
            self._below_since = self._clock()
            logger.debug("The chain is at round %d, before our %d; waiting.", round_number, self.last_round)
        return self._clock() - self._below_since >= BELOW_SECONDS

    def _round(self, round_number: int, stage: int) -> CurrentRound:
        self._below_since = None
        skipped = 0
        if self.last_round is not None and round_number < self.last_round:
            logger.warning(
                "The chain was set back to round %d, from %d at the least; playing on from there.",
                round_number,
                self.last_round,
            )
        elif self.last_round is not None:
            skipped = max(0, round_number - self.last_round - 1)
            if skipped:
                logger.info(
                    "The swarm moved on from round %d to %d; skipping %d.", self.last_round, round_number, skipped
                )
        return CurrentRound(round=round_number, stage=stage, skipped=skipped)

    def _seconds_of_waiting_left(self) -> float:
        if self._background is not None:
            return 0.0
        now = self._clock()
        if self._silent_since is None:
            self._silent_since = now
        return self._silent_since + SILENCE_SECONDS - now

    def _interim_round(self) -> CurrentRound:
        if self._background is None:
            self._background = Background("rl-swarm-round")
            logger.warning(
                "The hub has been silent for %.0f s. Training on without it, with the peers that can still be heard; "
                "joining its round when it is back.",
                SILENCE_SECONDS,
            )
        return self._next_interim()

    def _next_interim(self) -> CurrentRound:
        self._interim += 1
        return CurrentRound(round=self._base, stage=0, skipped=0, interim=self._interim)
