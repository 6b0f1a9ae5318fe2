"""The local groups of a round: problems by slot, answered, scored, resampled where all rewards are equal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from rgym_exp.node.round_settings import RoundSettings
from rgym_exp.tasks.source import TaskSource
from rgym_exp.training.policy import Policy
from rgym_exp.types import Group

PhaseTimer = Callable[[str], AbstractContextManager[None]]


class LocalGroups:
    """Slots are taken in order from 0, so a receiver knows which problems they are."""

    def __init__(self, tasks: TaskSource, policy: Policy, settings: RoundSettings, *, round: int, peer_id: str) -> None:
        self._tasks = tasks
        self._policy = policy
        self._settings = settings
        self._round = round
        self._peer_id = peer_id
        self._first_draw = 0
        self.groups: list[Group] = []
        """Every group drawn, in slot order."""

    def draw(self, count: int, phases: PhaseTimer) -> list[Group]:
        """Answer the problems of the next ``count`` slots (fewer where the bound on slots is reached)."""
        start = len(self.groups)
        slots = range(start, min(start + count, self._settings.max_slots))
        if not slots:
            return []
        problems = [
            self._tasks.problem(swarm_id=self._settings.swarm_id, round=self._round, peer_id=self._peer_id, slot=slot)
            for slot in slots
        ]
        with phases("generate"):
            chats = [self._tasks.messages(problem) for problem in problems]
            completions = self._policy.complete(chats, self._settings.num_generations)
        with phases("score"):
            rewards = iter(
                self._tasks.score([(p, c.text) for p, row in zip(problems, completions, strict=True) for c in row])
            )
        drawn = [
            Group(
                peer_id=self._peer_id,
                problem=problem,
                completions=tuple(row),
                rewards=tuple(next(rewards) for _ in row),
            )
            for problem, row in zip(problems, completions, strict=True)
        ]
        self.groups.extend(drawn)
        if start == 0:
            self._first_draw = len(drawn)
        return drawn

    def resample(self, times: int, phases: PhaseTimer) -> None:
        """Draw another slot for each zero-advantage group, up to ``times`` times (dynamic sampling, arXiv 2503.14476).

        The bound on slots holds here and at every receiver, so nobody can look for problems that suit them.
        """
        for _ in range(times):
            missing = self._first_draw - sum(not group.is_zero_advantage for group in self.groups)
            if missing <= 0 or not self.draw(missing, phases):
                return

    @property
    def mean_reward(self) -> float:
        """Mean reward of the first draw: the policy's reward before resampling chose among problems."""
        first = self.groups[: self._first_draw]
        return sum(group.mean_reward for group in first) / len(first)

    @property
    def total_reward(self) -> float:
        """Sum of the first draw's rewards, which is what the node reports to the contract."""
        return sum(sum(group.rewards) for group in self.groups[: self._first_draw])

    @property
    def zero_advantage_share(self) -> float:
        """Share of the groups drawn whose rewards are all equal, in [0, 1]."""
        return sum(group.is_zero_advantage for group in self.groups) / len(self.groups)

    @property
    def truncated_share(self) -> float:
        """Share of completions cut off at the length limit, in [0, 1]."""
        completions = [c for group in self.groups for c in group.completions]
        return sum(not c.ended for c in completions) / len(completions)

    @property
    def sampled_tokens(self) -> int:
        """Tokens sampled in the round."""
        return sum(len(c.token_ids or ()) for group in self.groups for c in group.completions)
