"""Rank 0's side of one peer over several devices.

Rank 0 is a node like any other: it plays the rounds, and its trainer, optimizer and checkpoints know nothing of other
processes. The other ranks hold the model's weights and do what they are told: sample a part of the answers, compute the
gradient of a part of the groups. Nobody waits for anybody except in answer to an order, so whatever ends rank 0 ends
the others, and rounds, resamples and evaluations may ask as often as they like.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from torch import Tensor

from rgym_exp.base.background import Background
from rgym_exp.config.launch import Launch
from rgym_exp.errors import SwarmUserError
from rgym_exp.training.orders import AddGradients, End, Failed, Order, SetUp, TakeWeights
from rgym_exp.training.ranks import Ranks

logger = logging.getLogger("rl_swarm.training")

# A helper finishes what it was told before it hears that the peer is leaving.
_LEAVING_SECONDS = 15.0

Result = TypeVar("Result")


class HelperFailed(SwarmUserError):
    """Another process of this peer could not do its part."""


class HelperRanks:
    """The ranks that help this one.

    All talk goes through one thread, in order, one whole exchange after the other: a stop may rise in the caller at any
    moment, and half an exchange would leave the others waiting for the rest.
    """

    def __init__(self, connect: Callable[[], Ranks]) -> None:
        """Waits until all ranks have come.

        Raises:
            RankLost: one of them is gone.
        """
        self._line = Background("ranks")
        self._ranks = self._line.submit(connect).result()
        self._weights_of: int | None = None

    @classmethod
    def of(cls, launch: Launch) -> HelperRanks:
        """The other processes that the launcher started."""
        return cls(lambda: Ranks.join(launch))

    @property
    def size(self) -> int:
        """Ranks in all, this one included."""
        return self._ranks.size

    def ask(self, orders: Sequence[Order]) -> Future[list[Any]]:
        """Give each helper its order (``size - 1`` of them, rank 1 first); the future has their replies.

        The future raises ``HelperFailed`` when one could not do it, and ``RankLost`` when one is gone.
        """
        return self._line.submit(lambda: self._exchange(orders))

    def set_up(self, order: SetUp) -> Future[list[Any]]:
        """Have every helper load the model; see ``ask``."""
        self._weights_of = None
        return self.ask([order] * (self.size - 1))

    def use(self, device: str) -> None:
        """Tensors will be on this kind of device."""
        self._line.submit(lambda: self._ranks.use(device)).result()

    def bring_up_to_date(self, weights: Sequence[Tensor], version: int) -> None:
        """Send the weights as they are now, unless the helpers have this version of them."""
        if self._weights_of == version:
            return
        self._weights_of = version
        self._line.submit(lambda: self._together(TakeWeights(), self._ranks.spread, weights)).result()

    def add_gradients(self, gradients: Sequence[Tensor]) -> None:
        """Add the helpers' gradients to these."""
        self._line.submit(lambda: self._together(AddGradients(), self._ranks.add_up, gradients)).result()

    def close(self) -> None:
        """Let the helpers go. One that does not answer in time finds out when this process ends."""
        try:
            self._line.submit(lambda: self._tell(End())).result(timeout=_LEAVING_SECONDS)
        except (SwarmUserError, TimeoutError) as error:
            logger.warning("A process of this peer did not take its leave: %s", error)

    def _tell(self, order: Order) -> None:
        for rank in range(1, self._ranks.size):
            self._ranks.send(rank, order)

    def _together(self, order: Order, act: Callable[[Sequence[Tensor]], None], tensors: Sequence[Tensor]) -> None:
        self._tell(order)
        act(tensors)

    def _exchange(self, orders: Sequence[Order]) -> list[Any]:
        for rank, order in enumerate(orders, start=1):
            self._ranks.send(rank, order)
        replies = [self._ranks.receive(rank) for rank in range(1, self._ranks.size)]
        for rank, reply in enumerate(replies, start=1):
            if isinstance(reply, Failed):
                raise HelperFailed(f"Process {rank} of this peer failed: {reply.why} See logs/rank-{rank}.log.")
        return replies
