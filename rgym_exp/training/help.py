"""What the ranks other than 0 do: carry out orders until they are let go (``helpers.py`` gives them)."""

from __future__ import annotations

import logging
import signal
from typing import Any

import torch
from torch import nn

from rgym_exp.config.launch import Launch
from rgym_exp.config.schema import TrainingConfig
from rgym_exp.training.build import Learner, build_learner
from rgym_exp.training.hardware import find_hardware
from rgym_exp.training.orders import (
    AddGradients,
    Answers,
    End,
    Failed,
    Order,
    PartOfGradient,
    Ready,
    Reply,
    Sample,
    SetUp,
    TakeGradient,
    TakeWeights,
)
from rgym_exp.training.ranks import RankLost, Ranks
from rgym_exp.training.rollout import Rollout
from rgym_exp.training.split import gradients_of

logger = logging.getLogger("rl_swarm.training")


def help_rank_zero(launch: Launch) -> None:
    """Join the other processes and serve rank 0 until it lets this one go.

    Raises:
        RankLost: rank 0 ended without a word.
    """
    # Until rank 0 has come, a Ctrl-C must end this process even inside the library that waits for it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    ranks = Ranks.join(launch)
    # From here on rank 0 decides: it is told to stop as well, and first finishes what it needs this process for.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    logger.info("Process %d of %d of this peer is ready to help.", launch.rank, launch.size)
    try:
        Helper(ranks, sharers=launch.local_size).serve()
    except RankLost as error:
        logger.error("%s", error)
        raise
    logger.info("Rank 0 is done; so are we.")


class Helper:
    """One rank that helps.

    Args:
        sharers: processes that share this machine's memory.
    """

    def __init__(self, ranks: Ranks, *, sharers: int = 1) -> None:
        self._ranks = ranks
        self._sharers = sharers
        self._learner: Learner | None = None
        self._model: nn.Module = nn.Identity()

    def serve(self) -> None:
        """Carry out orders until the last.

        Raises:
            RankLost: rank 0 is gone.
        """
        while not isinstance(order := self._ranks.receive(0), End):
            try:
                reply = self._carry_out(order)
            except Exception as error:  # Whatever it was, rank 0 must hear of it, or it waits for ever.
                if isinstance(order, TakeWeights | AddGradients):
                    # No answer is expected here: this process's end is what rank 0 will notice.
                    raise
                logger.exception("%s failed.", type(order).__name__)
                reply = Failed(why=f"{type(error).__name__}: {error}")
            if reply is not None:
                self._ranks.send(0, reply)
            if isinstance(order, SetUp) and isinstance(reply, Ready):
                self._ranks.use(order.device)

    def _carry_out(self, order: Order) -> Reply | None:
        match order:
            case SetUp():
                return self._set_up(order)
            case Sample():
                return self._sample(order)
            case TakeGradient():
                return self._take_gradient(order)
            case TakeWeights():
                self._ranks.spread(self._ready.trainer.trained_weights())
            case AddGradients():
                self._ranks.add_up(gradients_of(self._ready.trainer.trained_weights()))
                # Room for sampling; the next gradient starts from nothing anyway.
                self._model.zero_grad(set_to_none=True)
        return None

    @property
    def _ready(self) -> Learner:
        assert self._learner is not None, "rank 0 sets its helpers up first"
        return self._learner

    def _set_up(self, order: SetUp) -> Ready:
        self._learner = build_learner(
            TrainingConfig(**order.config),
            find_hardware(order.device, sharers=self._sharers),
            model_name=order.model_name,
            max_completion_length=order.max_completion_length,
            sample_chats=order.sample_chats,
            play=_no_rounds_here,
        )
        trainer = self._learner.trainer
        self._model = trainer.get_ready_without_training()
        return Ready(trained_parameters=sum(weight.numel() for weight in trainer.trained_weights()))

    def _sample(self, order: Sample) -> Answers:
        if not order.prompts or not order.copies:
            return Answers(rows=[])
        torch.manual_seed(order.seed)
        return Answers.of(self._ready.sampler.sample(order.prompts, order.copies, greedy=order.greedy))

    def _take_gradient(self, order: TakeGradient) -> PartOfGradient:
        trainer = self._ready.trainer
        device = trainer.args.device
        batch: dict[str, Any] = {key: value.to(device) for key, value in order.batch.items()}
        self._model.train()
        loss = trainer.take_gradient(self._model, batch, order.groups)
        # Now, while a failure can still be told.
        gradients_of(trainer.trained_weights())
        return PartOfGradient(loss=float(loss), metrics=trainer.take_metrics())


def _no_rounds_here() -> Rollout:
    raise RuntimeError("Only rank 0 plays rounds.")
