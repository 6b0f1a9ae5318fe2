"""A round, from the question which one it is to the reward and the vote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby
from typing import Any

import pytest

from rgym_exp.node.batch import TrainingBatch
from rgym_exp.node.own_classes import guarded_tasks
from rgym_exp.node.round import Components, play_round
from rgym_exp.training.policy import Chat
from rgym_exp.types import Completion, Problem, RoundReport, Share, SharedGroup, interim_round
from simulation.memory_chain import MemoryChain
from simulation.memory_tasks import MemoryTasks
from tests.unit.node.conftest import STEP, SWARM, MakeComponents, ScriptedPolicy, rounds_of, settings


def finish(playing: Generator[TrainingBatch, Any, RoundReport]) -> RoundReport:
    with pytest.raises(StopIteration) as done:
        playing.send(STEP)
    report: RoundReport = done.value.value
    return report


def play(components: Components, last_round: int | None = None, **changes: object) -> tuple[TrainingBatch, RoundReport]:
    playing = play_round(components, settings(**changes), rounds_of(components, last_round), step=1)
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
        # Of this round or of the one before, whose share came after alice had looked.
        assert group.problem in [
            alice.tasks.problem(swarm_id="test-swarm", round=round, peer_id="bob", slot=group.problem.slot)
            for round in (0, 1)
        ]


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


class HalfLost(ScriptedPolicy):
    """Breaks off in the first half of its first call's problems; all other answers are as ``right_every`` says."""

    def complete(self, prompts: Sequence[Chat], copies: int) -> list[list[Completion]]:
        answered = super().complete(prompts, copies)
        if len(self.calls) == 1:
            lost = [Completion(text="<answer>", ended=False, token_ids=(1, 2, 3))] * copies
            answered[: len(prompts) // 2] = [lost] * (len(prompts) // 2)
        return answered


def test_reward_and_mean_are_those_of_the_first_draw_wherever_they_are_told(
    make_components: MakeComponents, chain: MemoryChain
) -> None:
    alice, bob = make_components("alice", HalfLost()), make_components("bob")
    _, report = play(alice)
    # First draw: two groups of 0 in 4 and two of 2 in 4. The two resampled have 2 in 4 each: of all six it would be
    # 8 in all and 1/3 in the mean.
    assert report.local_reward == 4 / 16
    assert chain.rewards[(0, 0, "alice")] == 4
    assert (report.zero_advantage_share, report.truncated_share) == (2 / 6, 8 / 24)
    (received,) = bob.exchange.start_gathering(0).close(timeout_seconds=5, enough_shares=1)
    assert len(received.share.groups) == 6
    assert received.announcement.mean_reward == 4 / 16


def test_a_share_says_whether_an_answer_ended_and_how_sure_its_sender_was(make_components: MakeComponents) -> None:
    alice, bob = make_components("alice", HalfLost()), make_components("bob")
    play(alice)
    (received,) = bob.exchange.start_gathering(0).close(timeout_seconds=5, enough_shares=1)
    told = [{(c.ended, c.mean_logprob) for c in group.completions} for group in received.share.groups]
    assert told == [{(False, None)}] * 2 + [{(True, -0.5)}] * 4


def test_zero_advantage_groups_have_places_in_the_batch_only_where_no_others_are_left(
    make_components: MakeComponents,
) -> None:
    batch, _ = play(make_components("alice", HalfLost()))
    assert [group.problem.slot for group in batch.groups] == [2, 3, 4, 5]


class PartialCredit(MemoryTasks):
    """Rewards that differ by very little: one hundredth for a wrong answer, nothing for a right one."""

    def score(self, answers: Sequence[tuple[Problem, str]]) -> list[float]:
        return [0.01 * (1 - reward) for reward in super().score(answers)]


def test_rewards_that_differ_by_a_hundredth_are_an_advantage_of_local_groups_and_others(
    make_components: MakeComponents, chain: MemoryChain
) -> None:
    policy = ScriptedPolicy()
    alice, bob = replace(make_components("alice", policy), tasks=PartialCredit()), make_components("bob")
    _, report = play(alice)
    assert policy.calls == [4]  # nothing is resampled
    assert report.zero_advantage_share == 0
    play(bob)
    chain.advance()
    (batch, _), _ = play_together(chain, alice, bob, last_round=0)
    assert sorted(group.peer_id for group in batch.groups) == ["alice", "alice", "bob", "bob"]


class ScoringWatched(MemoryTasks):
    """Notes whose groups are scored in each call of ``score``, in order."""

    def __init__(self) -> None:
        super().__init__()
        self._made: list[tuple[Problem, str]] = []
        self.calls: list[list[tuple[str, int]]] = []
        """Per call: the author and slot of each group."""

    def problem(self, *, swarm_id: str, round: int, peer_id: str, slot: int) -> Problem:
        problem = super().problem(swarm_id=swarm_id, round=round, peer_id=peer_id, slot=slot)
        self._made.append((problem, peer_id))
        return problem

    def score(self, answers: Sequence[tuple[Problem, str]]) -> list[float]:
        made = {id(problem): (peer_id, problem.slot) for problem, peer_id in self._made}
        self.calls.append([made[group] for group, _ in groupby(id(problem) for problem, _ in answers)])
        return super().score(answers)


def publish(components: Components, *, groups: int, right: int) -> None:
    """A share of round 0 with so many groups, each with so many right answers of four."""
    me = components.exchange.peer_id
    problems = [components.tasks.problem(swarm_id=SWARM, round=0, peer_id=me, slot=slot) for slot in range(groups)]
    shared = tuple(
        SharedGroup(
            slot=problem.slot,
            completions=tuple(
                Completion(text=f"<answer>{problem.entry['answer'] if copy < right else -1}</answer>", ended=True)
                for copy in range(4)
            ),
        )
        for problem in problems
    )
    share = Share(swarm_id=SWARM, round=0, peer_id=me, tasks_digest=components.tasks.digest, groups=shared)
    components.exchange.publish(share, swarm_round=0, model_name="m", account="", mean_reward=0.0)


def test_a_large_share_gets_no_more_scoring_than_others_and_no_vote_for_its_size(
    make_components: MakeComponents,
) -> None:
    publish(make_components("hoarder"), groups=16, right=1)
    publish(make_components("modest"), groups=3, right=3)
    tasks = ScoringWatched()
    _, report = play(replace(make_components("alice"), tasks=tasks))
    local, scored = tasks.calls
    assert local == [("alice", slot) for slot in range(4)]
    external = [author for author, _ in scored]
    # Four for each of the two that may be chosen, in turns: whoever comes last in the time for scoring, it is not the
    # share of a peer that sent little.
    assert Counter(external) == {"hoarder": 8, "modest": 3}
    assert [set(external[turn : turn + 2]) for turn in (0, 2, 4)] == [{"hoarder", "modest"}] * 3
    # Nor are they the first that it sent: any of its groups may be looked at.
    assert {slot for author, slot in scored if author == "hoarder"} - set(range(8))
    assert report.vote == "modest"  # 9 right answers; the hoarder's are 16, of which 8 are looked at


class RaisesOnThe(MemoryTasks):
    """A task source of somebody's own that can't stand one word."""

    word = ""

    def score(self, answers: Sequence[tuple[Problem, str]]) -> list[float]:
        if any(self.word in text for _, text in answers):
            raise KeyError(self.word)
        return super().score(answers)


def test_a_strangers_text_on_which_a_task_source_of_ones_own_fails_costs_that_share_and_not_the_node(
    make_components: MakeComponents, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile, honest = make_components("hostile"), make_components("honest")
    publish(hostile, groups=2, right=1)
    publish(honest, groups=2, right=3)
    own = make_components("alice")
    problem = own.tasks.problem(swarm_id=SWARM, round=0, peer_id="hostile", slot=0)
    monkeypatch.setattr(RaisesOnThe, "word", f"<answer>{problem.entry['answer']}</answer>")
    batch, report = play(replace(own, tasks=guarded_tasks(RaisesOnThe(), "mine.Tasks")))
    assert report.external_peers == ("honest",)
    assert report.dropped == {"unscored": 1}
    assert "mine.Tasks has a mistake: score failed with KeyError" in caplog.text


def test_twice_as_many_shares_as_external_groups_are_enough(make_components: MakeComponents) -> None:
    for number in range(6):
        publish(make_components(f"peer {number}"), groups=1, right=1)
    tasks = ScoringWatched()
    play(replace(make_components("alice"), tasks=tasks))
    assert len({author for author, _ in tasks.calls[1]}) == 4


def test_no_more_external_groups_come_from_one_peer_than_the_settings_say(make_components: MakeComponents) -> None:
    publish(make_components("bob"), groups=4, right=1)
    batch, _ = play(make_components("alice"), groups_per_peer=1)
    assert Counter(group.peer_id for group in batch.groups) == {"alice": 3, "bob": 1}


def test_places_of_a_peer_that_does_not_come_are_filled_with_new_problems(
    make_components: MakeComponents, chain: MemoryChain
) -> None:
    policy = ScriptedPolicy()
    alice = make_components("alice", policy)
    publish(make_components("bob"), groups=1, right=1)
    play(alice)
    chain.advance()
    batch, _ = play(alice, 0, gather_timeout_seconds=0.1)
    assert policy.calls == [4, 2, 2]  # bob is known by now, so that his two places are left to him at first
    assert [group.problem.slot for group in batch.groups] == [0, 1, 2, 3]


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


class Silent:
    """A hub that went away a minute ago: the clock jumps whenever it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 61.0
        return self.now


def test_while_the_hub_is_away_a_round_is_played_that_the_contract_never_hears_of(
    make_components: MakeComponents, chain: MemoryChain
) -> None:
    alice = make_components("alice")
    chain.round, chain.available = 12, False
    rounds = rounds_of(alice, 12, clock=Silent())
    reports = []
    for step in (1, 2):
        playing = play_round(alice, settings(), rounds, step=step)
        batch = next(playing)
        slots = [group.problem.slot for group in batch.groups]
        assert [group.problem for group in batch.groups] == [
            alice.tasks.problem(swarm_id=SWARM, round=interim_round(12, step), peer_id="alice", slot=slot)
            for slot in slots
        ]
        reports.append(finish(playing))
        rounds.played(reports[-1].round, interim=reports[-1].interim)
    assert [(report.round, report.interim, report.outbox_depth) for report in reports] == [(12, 1, 0), (12, 2, 0)]
    assert rounds.last_round == 12
    assert not [row for row in alice.coordinator.transactions() if row.kind != "register"]
    assert not chain.rewards


def test_the_share_carries_no_token_ids(make_components: MakeComponents, chain: MemoryChain) -> None:
    alice, bob = make_components("alice"), make_components("bob")
    play(alice), play(bob)
    chain.advance()
    (batch, _), _ = play_together(chain, alice, bob, last_round=0)
    for group in batch.groups:
        for completion in group.completions:
            assert (completion.token_ids is None) == (group.peer_id == "bob")
