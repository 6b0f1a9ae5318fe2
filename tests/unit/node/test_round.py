"""A round, from the question which one it is to the reward and the vote."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from rgym_exp.chain.memory_chain import MemoryChain
from rgym_exp.node.batch import TrainingBatch
from rgym_exp.node.round import Components, play_round
from rgym_exp.tasks.source import MemoryTasks
from rgym_exp.training.policy import Chat
from rgym_exp.types import Completion, Problem, RoundReport
from tests.unit.node.conftest import STEP, MakeComponents, ScriptedPolicy, settings


def finish(playing: Generator[TrainingBatch, Any, RoundReport]) -> RoundReport:
    with pytest.raises(StopIteration) as done:
        playing.send(STEP)
    report: RoundReport = done.value.value
    return report


def play(components: Components, last_round: int | None = None, **changes: object) -> tuple[TrainingBatch, RoundReport]:
    playing = play_round(components, settings(**changes), last_round=last_round, step=1)
    batch = next(playing)
    return batch, finish(playing)


def play_together(chain: MemoryChain, *peers: Components, last_round: int) -> list[tuple[TrainingBatch, RoundReport]]:
    with ThreadPoolExecutor(len(peers)) as pool:
        return list(pool.map(lambda components: play(components, last_round), peers))


def test_alone_a_node_trains_on_its_local_groups_and_votes_for_nobody(
    make_components: MakeComponents, chain: MemoryChain
) -> None:
    batch, report = play(make_components("alice"))
    assert [group.peer_id for group in batch.groups] == ["alice"] * 4
    assert (report.local_groups, report.external_groups, report.vote) == (4, 0, None)
    assert len({group.problem.slot for group in batch.groups}) == 4
    assert chain.rewards[(0, 0, "alice")] == 8  # 4 groups of 4, every second answer right
    assert chain.votes == {}


def test_two_nodes_train_on_each_others_groups_and_vote_for_each_other(
    make_components: MakeComponents, chain: MemoryChain
) -> None:
    alice, bob = make_components("alice"), make_components("bob")
    play(alice), play(bob)  # Now each knows that the other takes part.
    chain.advance()
    for (batch, report), me, other in zip(
        play_together(chain, alice, bob, last_round=0), ("alice", "bob"), ("bob", "alice"), strict=True
    ):
        assert sorted(group.peer_id for group in batch.groups) == sorted([me, me, other, other])
        assert report.external_peers == (other,)
        assert chain.votes[(1, me)] == (other,)


def test_external_answers_are_scored_by_ourselves_on_the_problem_that_the_slot_names(
    make_components: MakeComponents, chain: MemoryChain
) -> None:
    alice, bob = make_components("alice"), make_components("bob", ScriptedPolicy(right_every=4))
    play(alice), play(bob)
    chain.advance()
    (batch, _), _ = play_together(chain, alice, bob, last_round=0)
    external = [group for group in batch.groups if group.peer_id == "bob"]
    assert external
    for group in external:
        assert group.rewards == (1.0, 0.0, 0.0, 0.0)
        assert group.problem == alice.tasks.problem(
            swarm_id="test-swarm", round=1, peer_id="bob", slot=group.problem.slot
        )


def test_groups_of_a_peer_that_always_fails_are_not_trained_on(
    make_components: MakeComponents, chain: MemoryChain
) -> None:
    alice, hopeless = make_components("alice"), make_components("hopeless", ScriptedPolicy(right_every=0))
    play(alice), play(hopeless)
    chain.advance()
    (batch, report), _ = play_together(chain, alice, hopeless, last_round=0)
    assert {group.peer_id for group in batch.groups} == {"alice"}
    assert len(batch.groups) == 4
    assert report.vote is None


def test_zero_advantage_groups_are_resampled_but_the_first_draw_is_reported(make_components: MakeComponents) -> None:
    policy = ScriptedPolicy(right_every=0)
    batch, report = play(make_components("alice", policy))
    assert policy.calls == [4, 4]  # One draw and one resample, each in a single batched call.
    assert len(batch.groups) == 4
    assert report.local_reward == 0
    assert report.zero_advantage_share == 1


class BetterAtTheSecondDraw(ScriptedPolicy):
    """Wrong in all of its first draw, half right in what is resampled."""

    def complete(self, prompts: Sequence[Chat], copies: int) -> list[list[Completion]]:
        self.right_every = 2 if self.calls else 0
        return super().complete(prompts, copies)


def test_reward_and_mean_are_those_of_the_first_draw_whatever_resampling_found(
    make_components: MakeComponents, chain: MemoryChain
) -> None:
    batch, report = play(make_components("alice", BetterAtTheSecondDraw(right_every=0)))
    assert [group.mean_reward for group in batch.groups] == [0.5] * 4
    assert (report.local_reward, chain.rewards[(0, 0, "alice")]) == (0, 0)
    assert report.zero_advantage_share == 0.5  # of all eight groups drawn


def test_groups_whose_rewards_differ_by_little_have_an_advantage_too(make_components: MakeComponents) -> None:
    class HalfPoints(MemoryTasks):
        def score(self, answers: Sequence[tuple[Problem, str]]) -> list[float]:
            return [0.05 * score for score in super().score(answers)]

    policy = ScriptedPolicy()
    _, report = play(replace(make_components("alice", policy), tasks=HalfPoints()))
    assert (policy.calls, report.zero_advantage_share) == ([4], 0)


def test_of_a_large_share_no_more_groups_are_scored_than_of_a_small_one(
    make_components: MakeComponents, chain: MemoryChain
) -> None:
    scored: set[int] = set()

    class Watched(MemoryTasks):
        def score(self, answers: Sequence[tuple[Problem, str]]) -> list[float]:
            scored.update(problem.slot for problem, _ in answers if problem.question not in own)
            return super().score(answers)

    alice = replace(make_components("alice"), tasks=Watched())
    bob = make_components("bob")
    own = {
        alice.tasks.problem(swarm_id="test-swarm", round=round, peer_id="alice", slot=slot).question
        for round in (0, 1)
        for slot in range(16)
    }
    many = {"local_groups": 14, "max_slots": 16}
    play(alice), play(bob, **many)
    chain.advance()
    with ThreadPoolExecutor(2) as pool:
        mine = pool.submit(play, alice, 0, groups_per_peer=1)
        pool.submit(play, bob, 0, **many).result()
        _, report = mine.result()
    assert report.external_peers == ("bob",)
    assert len(scored) == 4


def test_slots_never_go_beyond_the_bound_that_receivers_enforce(make_components: MakeComponents) -> None:
    batch, _ = play(make_components("alice", ScriptedPolicy(right_every=0)), max_slots=3)
    assert {group.problem.slot for group in batch.groups} == {0, 1, 2}
    assert len(batch.groups) == 4


def test_a_node_that_was_away_jumps_to_the_swarms_round_and_counts_what_it_missed(
    make_components: MakeComponents, chain: MemoryChain
) -> None:
    for _ in range(5):
        chain.advance()
    _, report = play(make_components("alice"), last_round=2)
    assert (report.round, report.skipped) == (5, 2)


def test_a_node_waits_for_the_next_round(make_components: MakeComponents) -> None:
    _, report = play(make_components("alice"), last_round=0)  # Sleeping moves the chain on.
    assert (report.round, report.skipped) == (1, 0)


def test_the_share_carries_no_token_ids(make_components: MakeComponents, chain: MemoryChain) -> None:
    alice, bob = make_components("alice"), make_components("bob")
    play(alice), play(bob)
    chain.advance()
    (batch, _), _ = play_together(chain, alice, bob, last_round=0)
    for group in batch.groups:
        for completion in group.completions:
            assert (completion.token_ids is None) == (group.peer_id == "bob")
