"""A round's components in memory: real protocols, no processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from rgym_exp.judge.judge_client import JudgeClient
from rgym_exp.node.current_round import SwarmRounds
from rgym_exp.node.evaluation import Evaluation
from rgym_exp.node.prediction import MarketPlayer
from rgym_exp.node.round import Components
from rgym_exp.node.round_settings import RoundSettings
from rgym_exp.training.policy import Chat
from rgym_exp.types import Completion, StepStats
from simulation.memory_chain import MemoryChain
from simulation.memory_exchange import MemoryExchange, MemorySwarm
from simulation.memory_tasks import MemoryTasks

SWARM = "test-swarm"
STEP = StepStats(step=1, loss=0.5, entropy=1.0, grad_norm=2.0, clip_share=0.0, peak_memory_bytes=1000)


class ScriptedPolicy:
    """Answers sums: rightly in every ``right_every``-th completion, wrongly otherwise (0: never rightly)."""

    model_name = "scripted"

    def __init__(self, right_every: int = 2) -> None:
        self.right_every = right_every
        self.calls: list[int] = []
        """Prompts of each call."""

    def complete(self, prompts: Sequence[Chat], copies: int) -> list[list[Completion]]:
        self.calls.append(len(prompts))
        return [[self._answer(chat, copy) for copy in range(copies)] for chat in prompts]

    def greedy(self, prompts: Sequence[Chat]) -> list[str]:
        return [self._answer(chat, 0).text for chat in prompts]

    def score_answers(self, prompt: Chat, answers: Sequence[str]) -> list[float]:
        return [0.0] * len(answers)

    def _answer(self, chat: Chat, copy: int) -> Completion:
        words = chat[-1]["content"].rstrip("?").split()
        right = bool(self.right_every) and copy % self.right_every == 0
        result = int(words[2]) + int(words[4]) if right else -1
        return Completion(text=f"<answer>{result}</answer>", ended=True, mean_logprob=-0.5, token_ids=(1, 2, 3))


def settings(**changes: object) -> RoundSettings:
    chosen: dict = {
        "swarm_id": SWARM,
        "num_generations": 4,
        "local_groups": 2,
        "external_groups": 2,
        "resamples": 1,
        "max_slots": 16,
        "groups_per_peer": 2,
        "gather_timeout_seconds": 5.0,
        "poll_seconds": 0.01,
    }
    return RoundSettings(**{**chosen, **changes})


def rounds_of(components: Components, last_round: int | None = None, **options: Any) -> SwarmRounds:
    """The rounds that a node with these components plays."""
    return SwarmRounds(
        components.coordinator, last_round=last_round, poll_seconds=0.01, sleep=components.sleep, **options
    )


MakeComponents = Callable[..., Components]


@pytest.fixture
def chain() -> MemoryChain:
    return MemoryChain()


@pytest.fixture
def make_components(chain: MemoryChain) -> MakeComponents:
    """Makes the components of one peer after another, all of one swarm and one chain."""
    swarm = MemorySwarm()

    def make(
        peer_id: str,
        policy: ScriptedPolicy | None = None,
        *,
        evaluate_every: int = 0,
        judge_client: JudgeClient | None = None,
        player: MarketPlayer | None = None,
    ) -> Components:
        tasks = MemoryTasks()
        coordinator = chain.coordinator(f"0x{peer_id}")
        coordinator.register(peer_id)
        return Components(
            coordinator=coordinator,
            tasks=tasks,
            policy=policy or ScriptedPolicy(),
            exchange=MemoryExchange(
                swarm=swarm,
                peer_id=peer_id,
                swarm_id=SWARM,
                tasks_digest=tasks.digest,
                max_slots=16,
                num_generations=4,
            ),
            evaluation=Evaluation(tasks, items=2, every_rounds=evaluate_every),
            judge_client=judge_client,
            player=player,
            sleep=lambda seconds: chain.advance(),
            announce_phase=lambda name, detail, round: None,
            device="cpu",
        )

    return make
