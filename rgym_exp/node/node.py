"""A node's life: get ready, play rounds until told to stop, leave nothing half done."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from rgym_exp.base.called import path_for_user
from rgym_exp.base.swarm_clock import SwarmClock
from rgym_exp.chain.coordinator import ChainUnavailable, Coordinator
from rgym_exp.config.launch import Launch
from rgym_exp.config.paths import Home
from rgym_exp.config.resolved import save_resolved
from rgym_exp.config.schema import Config
from rgym_exp.node.components import (
    make_coordinator_of,
    make_exchange,
    make_judge,
    make_judge_client,
    make_player,
    make_push,
    make_tasks,
    make_tracker_of,
)
from rgym_exp.node.evaluation import Evaluation
from rgym_exp.node.interrupts import Interrupts, StopRequested
from rgym_exp.node.loop import RoundLoop, transaction_rows
from rgym_exp.node.own_classes import close_judge
from rgym_exp.node.round import Components
from rgym_exp.node.round_settings import RoundSettings, is_offline
from rgym_exp.observe.logs import route_third_party_logs
from rgym_exp.observe.metrics import before_training
from rgym_exp.observe.progress import LiveSources, Progress, RunInfo, counted
from rgym_exp.swarm.identity import load_or_create_identity
from rgym_exp.swarm.names import animal_name
from rgym_exp.tasks.source import TaskSource
from rgym_exp.training.build import Learner, build_learner
from rgym_exp.training.checkpoint import Checkpoint, CheckpointStore, SwarmRecord, TrainedModel
from rgym_exp.training.checkpoint_check import problem_with
from rgym_exp.training.finite import NotFinite
from rgym_exp.training.hardware import Hardware, choose_dtype, find_hardware
from rgym_exp.training.helpers import HelperRanks
from rgym_exp.training.models import choose_model
from rgym_exp.training.rollout import Rollout
from rgym_exp.training.split import build_split_learner
from rgym_exp.types import RoundReport

logger = logging.getLogger("rl_swarm.node")

# How long a stopping node tries to get its last transactions confirmed; the rest is sent at the next start.
_FLUSH_SECONDS = 3.0
# How long the last push may take; a second Ctrl-C ends it at once.
_PUSH_SECONDS = 120.0
# Stands for the round of a checkpoint where the hub was away from the first step on.
_NO_ROUND = -1
# So many prompts show how long prompts are.
_SAMPLE_PROMPTS = 32


@dataclass(frozen=True, kw_only=True)
class NodeOptions:
    """What a run is given besides its configuration."""

    config: Config
    home: Home
    progress: Progress
    interrupts: Interrupts
    launch: Launch | None = None
    """This process's place (always rank 0) where several are one peer."""


def run_node(options: NodeOptions) -> None:
    """Take part in the swarm until ``max_rounds``, a stop, or a failure. The caller holds the home's lock.

    Raises:
        SwarmUserError: something that a person has to mend; everything is closed by then.
    """
    with ExitStack() as life:
        try:
            node = _Node(options, life, _helpers_of(options.launch, life))
            # Registered last, so it comes first: what was trained is written before anything is closed.
            life.callback(node.finish)
            node.train()
        except StopRequested:
            logger.info("Stopping, as asked.")
        finally:
            with options.interrupts.closing():
                life.close()


class _Node:
    """The parts of one run."""

    def __init__(self, options: NodeOptions, life: ExitStack, helpers: HelperRanks | None) -> None:
        config, home, progress = options.config, options.home, options.progress
        self._options = options
        self._helpers = helpers
        self._peer_id = load_or_create_identity(home.identity).peer_id
        sharers = options.launch.local_size if options.launch else 1
        self._hardware = find_hardware(config.training.device, sharers=sharers)
        self._model_name = choose_model(
            config.training.model_name, config.network.model_name, _pool(config, self._hardware), self._peer_id
        )
        self._store = CheckpointStore(home.checkpoints, keep=config.training.checkpoints_to_keep)

        tasks = make_tasks(config)
        life.callback(tasks.close)
        # Before the model, whose loading takes long: what is wrong with chain or login is told at once.
        clock = SwarmClock()
        coordinator = make_coordinator_of(config, home, clock)
        life.callback(lambda: coordinator.close(flush_seconds=_FLUSH_SECONDS))
        progress.started(self._run_info())
        self._learner = self._build_learner(tasks)
        self._resumed = self._checkpoint_to_resume()
        self._newest = self._resumed
        self._saved_step = self._resumed.record.step if self._resumed else 0
        self._learner.trainer.begin_after(self._saved_step)
        exchange = make_exchange(config, home, tasks.digest, _contract_bootnodes(coordinator), clock)
        life.callback(exchange.close)
        progress.watch(
            LiveSources(
                peers=exchange.peers,
                waiting=coordinator.pending,
                transactions=lambda: transaction_rows(coordinator),
            )
        )
        self._tracker = make_tracker_of(config, home, run_name=animal_name(self._peer_id))
        life.callback(self._tracker.close)
        coordinator.register(self._peer_id)
        save_resolved(config, home.logs / "config.yaml")

        judge = make_judge(config)
        if judge is not None:
            life.callback(close_judge, judge)
        published = self._learner.policy.model_name
        judge_client = make_judge_client(config, judge, peer_id=self._peer_id, model_name=published)
        if judge_client is not None:
            life.callback(judge_client.close)
        player = make_player(config, home, judge, coordinator.market, peer_id=self._peer_id)
        if player is not None:
            life.callback(player.close)
        self._evaluation = Evaluation(tasks, items=config.eval.items, every_rounds=config.eval.every_rounds)
        self._components = Components(
            coordinator=coordinator,
            tasks=tasks,
            policy=self._learner.policy,
            exchange=exchange,
            evaluation=self._evaluation,
            judge_client=judge_client,
            player=player,
            sleep=options.interrupts.sleep,
            announce_phase=lambda name, detail, round: progress.phase(name, detail, round=round),
            device=self._hardware.device,
        )
        self._push = make_push(config, home, tasks, self._learner, peer_id=self._peer_id, model_name=self._model_name)
        if self._push is not None:
            life.callback(self._push.close)
            self._push.check_in_background()
        self._loop = RoundLoop(
            self._components,
            RoundSettings.of(config),
            tokens=self._learner.tokens,
            progress=progress,
            tracker=self._tracker,
            interrupts=options.interrupts,
            save=self._save_between,
            after_round=self._push_if_due,
            checkpoint_seconds=60 * config.training.checkpoint_minutes,
            last_round=self._last_round(),
            last_interim=self._last_interim(),
            steps=self._saved_step,
        )
        self._learner.trainer.add_callback(self._loop)
        options.interrupts.what_is_lost = self._what_is_lost

    def train(self) -> None:
        """Play rounds until the end of the run."""
        if self._evaluation.is_on and self._resumed is None:
            self._options.progress.phase("evaluate", "held-out accuracy before training")
            accuracy = self._evaluation.accuracy(self._learner.policy)
            self._options.progress.held_out(accuracy)
            self._tracker.log_round(before_training(accuracy, time=time.time()))
            if self._push is not None:
                self._push.held_out_before(accuracy)
        try:
            self._learner.trainer.train(resume_from_checkpoint=str(self._resumed.folder) if self._resumed else None)
        except NotFinite:
            self._set_aside_what_led_here()
            raise

    def save(self) -> None:
        """Write a checkpoint of the last round.

        Raises:
            CheckpointError: it can't be written.
        """
        trainer, last_round = self._learner.trainer, self._loop.last_round
        record = SwarmRecord(
            step=trainer.state.global_step,
            round=_NO_ROUND if last_round is None else last_round,
            swarm_id=self._options.config.network.swarm_id,
            peer_id=self._peer_id,
            model_name=self._model_name,
            lora=self._options.config.training.lora,
            lora_rank=self._trained_model.lora_rank,
            interim=self._loop.last_interim,
        )
        self._newest = self._store.save(trainer.write_checkpoint, record)
        self._saved_step = record.step
        logger.info("Checkpoint of step %d (round %d) written.", record.step, record.round)

    def _set_aside_what_led_here(self) -> None:
        """A checkpoint after which not one gradient was finite would end every later run as it ended this one."""
        trainer = self._learner.trainer
        # The step that raised isn't counted yet.
        since = trainer.state.global_step + 1 - self._saved_step
        if self._newest is not None and since <= trainer.guard.skipped_in_a_row:
            self._store.set_aside(self._newest, "no step after it had a finite gradient")

    def _save_between(self) -> None:
        # Weights whose gradient isn't finite may be past mending: they don't take the place of a good checkpoint.
        if self._learner.trainer.guard.skipped_in_a_row:
            logger.warning("The checkpoint that is due is left out, for the last step was skipped.")
        else:
            self.save()

    def finish(self) -> None:
        """Write a checkpoint unless the last one holds everything already; push likewise."""
        progress = self._options.progress
        if self._learner.trainer.state.global_step > self._saved_step:
            progress.phase("checkpoint")
            self.save()
        if self._push is not None:
            self._push.finish(
                self._learner.trainer.write_model,
                wait_seconds=_PUSH_SECONDS,
                announce=lambda: progress.phase("push to the model hub"),
            )
        progress.phase("leave the swarm")

    def _what_is_lost(self) -> str:
        """By an end at this very moment."""
        made, saved = self._learner.trainer.state.global_step, self._saved_step
        if made <= saved:
            held = f": the checkpoint of step {saved} has every round" if saved else ", before the first round"
            return f"Ended at once{held}."
        rounds = counted(made - saved, "round")
        if saved:
            return f"Ended at once: {rounds} since the checkpoint of step {saved} lost. The next start goes on from it."
        return f"Ended at once: {rounds} lost, which is all, for no checkpoint had been written yet."

    def _push_if_due(self, report: RoundReport) -> None:
        if self._push is not None:
            self._push.round_done(report, self._learner.trainer.write_model)

    def _play(self) -> Rollout:
        return self._loop.play()

    def _build_learner(self, tasks: TaskSource) -> Learner:
        training = self._options.config.training
        self._options.progress.phase("load model", self._model_name)
        # Libraries imported by now put terminal handlers of their own in place.
        route_third_party_logs()
        build = build_learner if self._helpers is None else partial(build_split_learner, self._helpers)
        return build(
            training,
            self._hardware,
            model_name=self._model_name,
            max_completion_length=training.max_completion_length or tasks.max_completion_length,
            sample_chats=[tasks.messages(problem) for problem in tasks.held_out(_SAMPLE_PROMPTS)],
            play=self._play,
        )

    @property
    def _trained_model(self) -> TrainedModel:
        training = self._options.config.training
        return TrainedModel(model_name=self._model_name, lora_rank=training.lora_rank if training.lora else None)

    def _checkpoint_to_resume(self) -> Checkpoint | None:
        # Any, since the trainer's model may be missing, says TRL.
        policy: Any = self._learner.trainer.model
        return self._store.resume(self._trained_model, lambda folder: problem_with(folder, policy))

    def _last_round(self) -> int | None:
        """The round of the checkpoint, if it was one of this very swarm: another's rounds have their own numbers."""
        if self._resumed is None:
            return None
        record = self._resumed.record
        logger.info("Resuming after step %d (round %d) from %s.", record.step, record.round, self._resumed.folder)
        return record.round if self._is_of_this_swarm(record) and record.round != _NO_ROUND else None

    def _last_interim(self) -> int:
        """Likewise, the number of its last interim round."""
        record = self._resumed.record if self._resumed is not None else None
        return record.interim if record is not None and self._is_of_this_swarm(record) else 0

    def _is_of_this_swarm(self, record: SwarmRecord) -> bool:
        return record.swarm_id == self._options.config.network.swarm_id

    def _run_info(self) -> RunInfo:
        config, home, launch = self._options.config, self._options.home, self._options.launch
        return RunInfo(
            peer_id=self._peer_id,
            peer_name=animal_name(self._peer_id),
            model_name=self._model_name,
            network=config.network.name,
            device=self._hardware.device if launch is None else f"{launch.size} x {self._hardware.device}",
            dtype=str(choose_dtype(config.training.dtype, self._hardware)).removeprefix("torch."),
            tasks=config.network.tasks if config.tasks == "auto" else str(config.tasks),
            max_rounds=config.training.max_rounds or None,
            log_file=path_for_user(home.logs / "swarm.log"),
            has_hub=not is_offline(config),
        )


def _helpers_of(launch: Launch | None, life: ExitStack) -> HelperRanks | None:
    if launch is None:
        return None
    logger.info("One peer of %d processes: waiting for the others.", launch.size)
    helpers = HelperRanks.of(launch)
    life.callback(helpers.close)
    return helpers


def _pool(config: Config, hardware: Hardware) -> list[str]:
    return config.default_large_model_pool if hardware.is_large else config.default_small_model_pool


def _contract_bootnodes(coordinator: Coordinator) -> list[str]:
    try:
        return coordinator.bootnodes()
    except ChainUnavailable as error:
        logger.warning("The contract's list of bootnodes cannot be read now (%s); using the network's.", error)
        return []
