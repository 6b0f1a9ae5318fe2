"""One round of Swarm sAmpling Policy Optimization (arXiv 2509.08721), top to bottom, in the order in which it happens.

``play_round`` is a generator: it plays up to the optimizer step, yields the batch, is sent what the step was like, and
returns the report. TRL's trainer owns the step and calls us for its rollouts, so the round is written around it.
``conclude_round`` is its last part, apart because a stop may interrupt it: the step is made and recorded by then.
"""

from __future__ import annotations

import dataclasses
import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from rgym_exp.chain.coordinator import ChainError, Coordinator
from rgym_exp.judge.judge_client import JudgeClient
from rgym_exp.node.batch import TrainingBatch, assemble
from rgym_exp.node.current_round import CurrentRound, SwarmRounds
from rgym_exp.node.evaluation import Evaluation
from rgym_exp.node.external_groups import score_shares
from rgym_exp.node.local_groups import LocalGroups
from rgym_exp.node.prediction import MarketPlayer
from rgym_exp.node.round_settings import RoundSettings
from rgym_exp.observe.phases import Phases
from rgym_exp.swarm.exchange import Exchange
from rgym_exp.swarm.selection import select
from rgym_exp.tasks.source import TaskSource
from rgym_exp.training.policy import Policy
from rgym_exp.types import Completion, Group, RoundReport, Share, SharedGroup, StepStats

logger = logging.getLogger("rl_swarm.node")


@dataclass(frozen=True, kw_only=True)
class Components:
    """The components that a round calls."""

    coordinator: Coordinator
    tasks: TaskSource
    policy: Policy
    exchange: Exchange
    evaluation: Evaluation
    judge_client: JudgeClient | None
    """The judge's questions; None where there is no judge."""
    player: MarketPlayer | None
    """Plays the prediction market; None where there is none, or this node doesn't play."""
    sleep: Callable[[float], object]
    """Waits for so many seconds; a stop ends it."""
    announce_phase: Callable[[str, str, int | None], None]
    """Told the phase's name, what there is to say of it ("" mostly), and the round once it is known."""
    device: str
    """What trains: cpu, cuda or mps; says whose memory to report."""


def play_round(
    components: Components, settings: RoundSettings, rounds: SwarmRounds, *, step: int
) -> Generator[TrainingBatch, StepStats, RoundReport]:
    """Play the next round of the swarm, which will be this node's optimizer step number ``step``."""
    phases = Phases(components.announce_phase)
    me = components.exchange.peer_id

    # 1. Which round is it? Behind: jump to it. Ahead: wait. The hub away for long: an interim round.
    with phases("wait"):
        current = rounds.await_next()
    phases.round = current.number

    # 2. This peer's problems follow from (swarm, round, peer, slot). Alone, we answer for the missing others too.
    local = LocalGroups(components.tasks, components.policy, settings, round=current.number, peer_id=me)
    alone = not components.exchange.peers()

    # 3. In the background from here on: others' shares, the judge's questions, the market's clue.
    gathering = components.exchange.start_gathering(current.number)
    if components.judge_client is not None and not current.interim:
        components.judge_client.begin(current.round, step)
    if components.player is not None and not current.interim:
        components.player.begin()

    # 4. G completions for each own problem, in one batched call; 5. scored, resampled where all rewards are equal.
    local.draw(settings.local_groups + (settings.external_groups if alone else 0), phases)
    local.resample(settings.resamples, phases)
    with phases("publish"):
        swarm_round = rounds.reached(current)
        components.exchange.publish(
            _share(local.groups, settings.swarm_id, current.number, me, components.tasks.digest),
            swarm_round=swarm_round,
            model_name=components.policy.model_name,
            account=components.coordinator.account,
            mean_reward=local.mean_reward,
        )

    # 6. Close the gathering; score everything ourselves; choose uniformly over peers, zero-advantage groups left out.
    with phases("gather"):
        received = gathering.close(
            timeout_seconds=settings.gather_timeout_seconds,
            enough_shares=2 * settings.external_groups,
            swarm_round=swarm_round,
        )
    with phases("score"):
        rng = random.Random(f"{settings.swarm_id}/{current.number}/{me}")
        seen = score_shares(received, components.tasks, settings, rng)
        external = select(seen.groups, count=settings.external_groups, per_peer=settings.groups_per_peer, rng=rng)
    batch = assemble(local, external, local_groups=settings.local_groups, total=settings.total_groups, phases=phases)

    # 7. One optimizer step on local and external groups.
    with phases("train", "on local and external groups" if external else "on local groups"):
        stats = yield batch

    # 8. Reward and vote go to the outbox; training never waits for the chain, which knows of no interim rounds.
    with phases("record"):
        vote = best_peer(seen.groups)
        outbox_depth = _tell_the_contract(components.coordinator, current, int(local.total_reward), vote, me)
    return _report(current, local, batch, stats, phases, components, vote, outbox_depth, seen.unscored)


def conclude_round(components: Components, report: RoundReport, *, last_step: int) -> RoundReport:
    """9. Ask the new weights: held-out problems and the judge's questions in one batched call; then let them bet.

    Only what has arrived by now counts: neither judge nor market is waited for.
    """
    questions = components.judge_client.questions() if components.judge_client and not report.interim else []
    held_out_due = components.evaluation.is_due(report.step, last_step)
    if held_out_due or questions:
        components.announce_phase("evaluate" if held_out_due else "judge", "", None)
    examined = components.evaluation.examine(components.policy, held_out=held_out_due, questions=questions)
    scores: list[float] = []
    if components.judge_client is not None:
        components.judge_client.submit(examined.answers, round=report.round)
        scores = components.judge_client.take_scores()
    if components.player is not None and not report.interim:
        components.player.play(components.policy)
    return dataclasses.replace(
        report,
        held_out=examined.held_out,
        judge_score=sum(scores) / len(scores) if scores else None,
        judge_answers=len(scores),
        bet_tokens=components.player.bet_tokens if components.player else None,
    )


def best_peer(seen: Sequence[Group]) -> str | None:
    """The other peer whose groups earned the most reward in our own scoring; None when nobody earned any."""
    totals: dict[str, float] = defaultdict(float)
    for group in seen:
        totals[group.peer_id] += sum(group.rewards)
    best = max(totals.items(), key=lambda item: (item[1], item[0]), default=None)
    return best[0] if best and best[1] > 0 else None


def _tell_the_contract(coordinator: Coordinator, current: CurrentRound, reward: int, vote: str | None, me: str) -> int:
    """Put a contract round's reward and vote in the outbox; returns how many transactions wait there."""
    try:
        if not current.interim:
            coordinator.submit_reward(round=current.round, stage=current.stage, reward=reward, peer_id=me)
        if vote is not None and not current.interim:
            coordinator.submit_winners(round=current.round, winners=[vote], peer_id=me)
        return coordinator.pending()
    except ChainError as error:
        # A damaged file, say. The step is made; its reward is worth a warning, not the end of the training.
        logger.warning("How many transactions wait can't be told: %s", error)
        return 0


def _share(groups: Sequence[Group], swarm_id: str, round: int, me: str, tasks_digest: str) -> Share:
    """What others get of our groups: slot numbers and text."""
    shared = tuple(
        SharedGroup(
            slot=group.problem.slot,
            completions=tuple(
                Completion(text=c.text, ended=c.ended, mean_logprob=c.mean_logprob) for c in group.completions
            ),
        )
        for group in groups
    )
    return Share(swarm_id=swarm_id, round=round, peer_id=me, tasks_digest=tasks_digest, groups=shared)


def _report(
    current: CurrentRound,
    local: LocalGroups,
    batch: TrainingBatch,
    step: StepStats,
    phases: Phases,
    components: Components,
    vote: str | None,
    outbox_depth: int,
    unscored: int,
) -> RoundReport:
    external = [group for group in batch.groups if group.peer_id != components.exchange.peer_id]
    return RoundReport(
        round=current.round,
        interim=current.interim,
        step=step.step,
        time=time.time(),
        skipped=current.skipped,
        local_groups=len(batch.groups) - len(external),
        external_groups=len(external),
        external_peers=tuple(dict.fromkeys(group.peer_id for group in external)),
        local_reward=local.mean_reward,
        external_reward=sum(group.mean_reward for group in external) / len(external) if external else None,
        held_out=None,
        zero_advantage_share=local.zero_advantage_share,
        truncated_share=local.truncated_share,
        loss=step.loss,
        entropy=step.entropy,
        grad_norm=step.grad_norm,
        clip_share=step.clip_share,
        tokens_per_second=local.sampled_tokens / max(phases.seconds["generate"], 1e-9),
        phase_seconds=dict(phases.seconds),
        peak_memory_bytes=step.peak_memory_bytes,
        outbox_depth=outbox_depth,
        dropped={**components.exchange.dropped(), **({"unscored": unscored} if unscored else {})},
        vote=vote,
        external_weights=step.external_weights,
        ways=dict(components.exchange.ways()),
    )
