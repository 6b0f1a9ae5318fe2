"""The arms of ``benchmarks.round``: trainers in threads that make one round at a time, when told to."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Read by libraries when they are imported, as `rl-swarm run` sets them.
os.environ.update(TRL_EXPERIMENTAL_SILENCE="1", TOKENIZERS_PARALLELISM="false", HF_DATASETS_DISABLE_PROGRESS_BARS="1")

import psutil
import torch
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from benchmarks.fixed_tasks import FixedLengthTasks
from rgym_exp.config.schema import TrainingConfig
from rgym_exp.node.batch import TrainingBatch
from rgym_exp.node.current_round import SwarmRounds
from rgym_exp.node.evaluation import Evaluation
from rgym_exp.node.round import Components, play_round
from rgym_exp.node.round_settings import RoundSettings
from rgym_exp.swarm.libp2p import LibP2PExchange
from rgym_exp.training.build import placeholders, training_arguments
from rgym_exp.training.bundled import BUNDLED_MODEL
from rgym_exp.training.hardware import choose_dtype, find_hardware
from rgym_exp.training.heap import return_freed_memory
from rgym_exp.training.memory_estimate import MemoryPlan
from rgym_exp.training.models import load_model
from rgym_exp.training.policy import ChatPolicy, ChatTokens
from rgym_exp.training.rollout import Rollout, to_rollout
from rgym_exp.training.samplers import InferenceCopy, SharedPrefillSampler
from rgym_exp.training.sampling import SamplingSettings
from rgym_exp.training.trainer import SwarmTrainer, swarm_reward
from rgym_exp.types import Completion, RoundReport, Share, SharedGroup, StepStats
from simulation.memory_chain import MemoryChain

SWARM = "benchmark"
SWARM_PHASES = ("wait", "score", "publish", "gather", "record")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a round samples and trains."""

    groups: int
    completions: int
    prompt_tokens: int
    completion_tokens: int

    @classmethod
    def parse(cls, text: str) -> Shape:
        groups, completions, prompt, completion = (int(part) for part in text.split("x"))
        return cls(groups=groups, completions=completions, prompt_tokens=prompt, completion_tokens=completion)

    def __str__(self) -> str:
        return f"{self.groups} x {self.completions} x ({self.prompt_tokens} + {self.completion_tokens})"


@dataclass
class Measured:
    """One arm's rounds."""

    arm: str
    seconds: list[float] = field(default_factory=list)
    """Whole rounds, from the question for the batch to the logged step."""
    overheads: list[float] = field(default_factory=list)
    """Swarm parts over generation and step; empty for plain TRL."""
    sampled_tokens: int = 0
    """A round's."""
    extra_bytes: int = 0
    """Most memory above what the process held before the round."""


class Turnstile(TrainerCallback):
    """Lets a trainer that runs in its own thread make one step at a time."""

    def __init__(self) -> None:
        self.go, self.done = threading.Semaphore(0), threading.Semaphore(0)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if "loss" in (logs or {}):
            self.after_step(state.global_step, logs or {})
            self.done.release()

    def after_step(self, step: int, logs: dict[str, float]) -> None:
        """What belongs to the round after its step."""


class Arm:
    """A trainer in a thread, stepped from outside."""

    def __init__(self, name: str, turnstile: Turnstile, trainer: GRPOTrainer, sampled_tokens: int) -> None:
        self.measured = Measured(arm=name, sampled_tokens=sampled_tokens)
        self._turnstile = turnstile
        trainer.add_callback(turnstile)
        trainer.remove_callback(PrinterCallback)
        self._thread = threading.Thread(target=trainer.train, daemon=True)
        self._thread.start()

    def round(self, *, counts: bool) -> None:
        """Make one round; ``counts`` is False for the warm-up."""
        process = psutil.Process()
        before, peak, over = process.memory_info().rss, [0], threading.Event()

        def watch() -> None:
            while not over.wait(0.02):
                peak[0] = max(peak[0], process.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        started = time.perf_counter()
        self._turnstile.go.release()
        while not self._turnstile.done.acquire(timeout=1):
            if not self._thread.is_alive():
                raise RuntimeError(f"the arm {self.measured.arm} ended before its round did; the reason is above")
        seconds = time.perf_counter() - started
        over.set()
        watcher.join()
        if counts:
            self.measured.seconds.append(seconds)
            self.measured.extra_bytes = max(self.measured.extra_bytes, peak[0] - before)
        else:
            self.measured.overheads.clear()


def trl_arm(shape: Shape, rounds: int) -> Arm:
    """GRPOTrainer as it comes: its own generation on the same prompts, fp32."""
    model, tokenizer = load_model(BUNDLED_MODEL)
    tasks, turnstile = FixedLengthTasks(shape.prompt_tokens, tokenizer), Turnstile()
    tokens = ChatTokens(tokenizer, shape.completion_tokens)

    def rollout_func(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        turnstile.go.acquire()
        problems = [
            tasks.problem(swarm_id=SWARM, round=trainer.state.global_step, peer_id="trl", slot=slot)
            for slot in range(shape.groups)
        ]
        prompt_ids = [tokens.prompt(tasks.messages(p)) for p in problems for _ in range(shape.completions)]
        completion_ids, _ = trainer._generate_single_turn(prompt_ids, None, {}, shape.completions)
        rewards = tasks.score([(p, "") for p in problems for _ in range(shape.completions)])
        return {"prompt_ids": prompt_ids, "completion_ids": completion_ids, "logprobs": None, "reward": rewards}

    arguments = _arguments(shape, model, rounds, dtype=torch.float32)
    # Only so can answers be forced to their full length; ours are by having no end of sequence.
    arguments.generation_kwargs = {"min_new_tokens": shape.completion_tokens}
    hooks: dict[str, Any] = {"reward_funcs": swarm_reward, "rollout_func": rollout_func}
    trainer = GRPOTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=placeholders(shape.groups),
        args=arguments,
        **hooks,
    )
    return Arm("trl", turnstile, trainer, shape.groups * shape.completions * shape.completion_tokens)


class RoundTurnstile(Turnstile):
    """Plays this project's rounds between the turns."""

    def __init__(
        self, components: Components, settings: RoundSettings, tokens: ChatTokens, before: Callable[[int], None]
    ) -> None:
        super().__init__()
        self._components, self._settings, self._tokens, self._before = components, settings, tokens, before
        self._playing: Generator[TrainingBatch, StepStats, RoundReport] | None = None
        self._rounds = SwarmRounds(
            components.coordinator, last_round=0, poll_seconds=settings.poll_seconds, sleep=components.sleep
        )
        self.overheads: list[float] = []

    def play(self) -> Rollout:
        """The next round up to its optimizer step."""
        self._before((self._rounds.last_round or 0) + 1)
        self.go.acquire()
        self._components.coordinator.advance()  # type: ignore[attr-defined]
        self._playing = play_round(self._components, self._settings, self._rounds, step=1)
        batch = next(self._playing)
        return to_rollout(
            batch.groups,
            me=self._components.exchange.peer_id,
            tokens=self._tokens,
            messages=self._components.tasks.messages,
        )

    def after_step(self, step: int, logs: dict[str, float]) -> None:
        assert self._playing is not None
        try:
            self._playing.send(StepStats(step=step, loss=0, entropy=0, grad_norm=0, clip_share=0, peak_memory_bytes=0))
        except StopIteration as done:
            report: RoundReport = done.value
        if report.external_groups != self._settings.external_groups:
            raise RuntimeError(
                f"the peer's groups did not arrive: {report.external_groups} external groups in the batch"
            )
        self._rounds.played(report.round)
        return_freed_memory()  # as a node does after every round
        phases = report.phase_seconds
        learning = phases["generate"] + phases["train"]
        self.overheads.append(sum(phases.get(name, 0.0) for name in SWARM_PHASES) / learning)


def our_arm(shape: Shape, rounds: int, folder: Path, *, with_peer: bool) -> Arm:
    """This project's round: alone, or with half of its groups from another peer."""
    model, tokenizer = load_model(BUNDLED_MODEL)
    tasks = FixedLengthTasks(shape.prompt_tokens, tokenizer)
    dtype = choose_dtype("auto", find_hardware("cpu"))
    external = shape.groups // 2 if with_peer else 0
    settings = RoundSettings(
        swarm_id=SWARM, num_generations=shape.completions, local_groups=shape.groups - external,
        external_groups=external, resamples=0, max_slots=64, groups_per_peer=shape.groups,
        gather_timeout_seconds=30, poll_seconds=0.01,
    )  # fmt: skip
    sampling = SamplingSettings(
        max_new_tokens=shape.completion_tokens, temperature=1.0, top_k=0, top_p=1.0, eos_token_ids=(),
        pad_token_id=int(tokenizer.pad_token_id),
    )  # fmt: skip
    sampler = SharedPrefillSampler(InferenceCopy(model, dtype), sampling)
    tokens = ChatTokens(tokenizer, shape.completion_tokens)
    name = "swarm" if with_peer else "ours"
    exchange = _exchange(folder / f"{name}.pem", tasks, shape, bootnodes=[])
    chain = MemoryChain()
    components = Components(
        coordinator=chain.coordinator(""), tasks=tasks, policy=ChatPolicy(tokens, sampler, "benchmark"),
        exchange=exchange, evaluation=Evaluation(tasks, items=1, every_rounds=0), judge_client=None, player=None,
        sleep=time.sleep, announce_phase=lambda phase, detail, round: None, device="cpu",
    )  # fmt: skip
    before = _canned_peer(folder, exchange, tasks, shape, external) if with_peer else (lambda round: None)
    turnstile = RoundTurnstile(components, settings, tokens, before)
    trainer = SwarmTrainer(
        play=turnstile.play, groups_at_once=shape.groups, shared_prompt=True, weigh_external=False, model=model,
        processing_class=tokenizer, train_dataset=placeholders(shape.groups),
        args=_arguments(shape, model, rounds, dtype=dtype),
    )  # fmt: skip
    arm = Arm(name, turnstile, trainer, settings.local_groups * shape.completions * shape.completion_tokens)
    arm.measured.overheads = turnstile.overheads
    return arm


def _canned_peer(
    folder: Path, exchange: LibP2PExchange, tasks: FixedLengthTasks, shape: Shape, groups: int
) -> Callable[[int], None]:
    """Another peer with a daemon of its own; returns what makes it publish its share of a round."""
    peer = _exchange(folder / "peer.pem", tasks, shape, bootnodes=exchange.visible_maddrs())
    answer = Completion(text=" the" * shape.completion_tokens, ended=False, mean_logprob=-1.0)

    def publish(round: int) -> None:
        shared = tuple(SharedGroup(slot=slot, completions=(answer,) * shape.completions) for slot in range(groups))
        share = Share(swarm_id=SWARM, round=round, peer_id=peer.peer_id, tasks_digest=tasks.digest, groups=shared)
        peer.publish(share, swarm_round=round, model_name="canned", account="", mean_reward=0.5)

    return publish


def _exchange(identity: Path, tasks: FixedLengthTasks, shape: Shape, bootnodes: Sequence[str]) -> LibP2PExchange:
    return LibP2PExchange(
        identity_path=identity, swarm_id=SWARM, tasks_digest=tasks.digest, max_slots=64,
        num_generations=shape.completions, bootnodes=bootnodes,
    )  # fmt: skip


def _arguments(shape: Shape, model: Any, rounds: int, *, dtype: torch.dtype) -> GRPOConfig:
    config = TrainingConfig(
        num_generations=shape.completions, local_groups=shape.groups, external_groups=0, max_rounds=rounds
    )
    plan = MemoryPlan(groups_at_once=shape.groups, gradient_checkpointing=False, needed_bytes=0, free_bytes=0)
    return training_arguments(config, find_hardware("cpu"), model, plan, shape.completion_tokens, dtype, 0)
