"""Rounds inside TRL's training loop: one round is one of its steps."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rgym_exp.chain.coordinator import ChainError, Coordinator
from rgym_exp.node.batch import TrainingBatch
from rgym_exp.node.current_round import SwarmRounds
from rgym_exp.node.interrupts import Interrupts
from rgym_exp.node.round import Components, conclude_round, play_round
from rgym_exp.node.round_settings import RoundSettings
from rgym_exp.observe.metrics import peak_memory_bytes
from rgym_exp.observe.progress import Progress, TransactionRow
from rgym_exp.observe.tracker import Tracker
from rgym_exp.training.checkpoint import CheckpointError
from rgym_exp.training.heap import return_freed_memory
from rgym_exp.training.policy import ChatTokens
from rgym_exp.training.rollout import Rollout, logged_weight_statistics, to_rollout
from rgym_exp.types import RoundReport, StepStats

logger = logging.getLogger("rl_swarm.node")


class RoundLoop(TrainerCallback):
    """Plays a round whenever the trainer asks for a rollout, and finishes it when the step is logged.

    ``play_round`` is suspended at its optimizer step while TRL makes that step.
    """

    def __init__(
        self,
        components: Components,
        settings: RoundSettings,
        *,
        tokens: ChatTokens,
        progress: Progress,
        tracker: Tracker,
        interrupts: Interrupts,
        save: Callable[[], None],
        after_round: Callable[[RoundReport], None],
        checkpoint_seconds: float,
        last_round: int | None,
        last_interim: int,
        steps: int,
    ) -> None:
        self._components = components
        self._settings = settings
        self._tokens = tokens
        self._progress = progress
        self._tracker = tracker
        self._interrupts = interrupts
        self._save = save
        self._after_round = after_round
        self._checkpoint_seconds = checkpoint_seconds
        self._checkpoint_time = time.monotonic()
        self._playing: Generator[TrainingBatch, StepStats, RoundReport] | None = None
        self._rounds = SwarmRounds(
            components.coordinator,
            last_round=last_round,
            last_interim=last_interim,
            resumed=last_round is not None,
            poll_seconds=settings.poll_seconds,
            sleep=components.sleep,
            nobody_else_waits=lambda: settings.goes_on_alone and not components.exchange.peers(),
        )
        self._steps = steps
        """Optimizer steps made so far, those before a resume included."""

    @property
    def last_round(self) -> int | None:
        """The last of the contract's rounds that was trained on."""
        return self._rounds.last_round

    @property
    def last_interim(self) -> int:
        """The number of the last interim round that was trained on since; 0 without any."""
        return self._rounds.last_interim

    def play(self) -> Rollout:
        """Play the next round up to its optimizer step; called by the trainer once per step."""
        self._playing = play_round(self._components, self._settings, self._rounds, step=self._steps + 1)
        batch = next(self._playing)
        return to_rollout(
            batch.groups,
            me=self._components.exchange.peer_id,
            tokens=self._tokens,
            messages=self._components.tasks.messages,
        )

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """From the update to its record in the report a stop has to wait, or step count and weights would part."""
        self._interrupts.raise_shield()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """The step is made and logged: finish its round."""
        if self._playing is None:
            return  # TRL's summary at the very end belongs to no round.
        # The Trainer keeps every log line for ever, and a node runs for weeks.
        state.log_history.clear()
        report = self._finish_round(_stats(state.global_step, logs or {}, self._components))
        self._rounds.played(report.round, interim=report.interim)
        self._steps = report.step
        try:
            # An evaluation takes long, and a stop need not wait for it.
            self._interrupts.lower_shield()
            report = conclude_round(self._components, report, last_step=args.max_steps)
        finally:
            # Also when a stop came: the round was played, and its weights are about to be saved.
            with self._interrupts.shielded():
                self._tell(report)
                self._after_round(report)
                return_freed_memory()
        with self._interrupts.shielded():
            self._save_if_due()

    def _tell(self, report: RoundReport) -> None:
        self._tracker.log_round(report)
        self._progress.round_done(report)
        try:
            rows = transaction_rows(self._components.coordinator)
        except ChainError as error:
            logger.warning("The outbox cannot be read: %s", error)
            return
        self._progress.transactions(rows)

    def _save_if_due(self) -> None:
        if time.monotonic() - self._checkpoint_time < self._checkpoint_seconds:
            return
        self._progress.phase("checkpoint")
        try:
            self._save()
        except CheckpointError as error:
            # Somebody may make room meanwhile; ending now would lose what the next attempt may save.
            logger.warning("%s Training goes on; tried again in %.1f minutes.", error, self._checkpoint_seconds / 60)
        self._checkpoint_time = time.monotonic()

    def _finish_round(self, stats: StepStats) -> RoundReport:
        assert self._playing is not None
        playing, self._playing = self._playing, None
        try:
            playing.send(stats)
        except StopIteration as done:
            report: RoundReport = done.value
            return report
        raise RuntimeError("play_round yielded a second batch; a round is exactly one of the trainer's steps")


def transaction_rows(coordinator: Coordinator) -> list[TransactionRow]:
    """The last few transactions as views list them, newest first. Raises ChainError."""
    return [(row.kind, row.round, row.status, row.detail) for row in coordinator.transactions()]


def _stats(step: int, logs: dict[str, float], components: Components) -> StepStats:
    return StepStats(
        step=step,
        loss=float(logs.get("loss", 0.0)),
        entropy=float(logs.get("entropy") or 0.0),
        grad_norm=float(logs.get("grad_norm", 0.0)),
        clip_share=float(logs.get("clip_ratio/region_mean") or 0.0),
        peak_memory_bytes=peak_memory_bytes(components.device),
        external_weights=logged_weight_statistics(logs),
    )
