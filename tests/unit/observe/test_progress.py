"""Log lines for people without a screen."""

import io
import logging
from typing import Any

import pytest

from rgym_exp.observe.progress import LineProgress, Progress, round_line, wants_live
from rgym_exp.types import RoundReport, interim_round
from simulation.memory_observers import MemoryProgress
from tests.support.round_reports import RUN


def report(**changes: Any) -> RoundReport:
    values: dict[str, Any] = dict(
        round=131, step=57, time=0.0, skipped=0, local_groups=4, external_groups=3, external_peers=("QmA", "QmB"),
        local_reward=0.3125, external_reward=0.2, held_out=0.25, zero_advantage_share=0.0, truncated_share=0.0,
        loss=0.0, entropy=1.0, grad_norm=1.0, clip_share=0.0, tokens_per_second=236.4,
        phase_seconds={"generate": 7.31, "score": 0.01, "train": 5.0}, peak_memory_bytes=1, outbox_depth=2,
        dropped={"late": 1, "other_tasks": 3}, vote=None,
    )  # fmt: skip
    return RoundReport(**{**values, **changes})


def test_a_round_is_one_complete_line() -> None:
    assert round_line(report()) == (
        "round 131 (step 57) · reward 0.312 · held-out 0.250 · groups 4 local + 3 external from 2 peers · 236 tok/s ·"
        " 12.3 s (generate 7.3, train 5.0) · 2 transactions waiting · dropped 3 other_tasks, 1 late"
    )


def test_a_quiet_round_says_nothing_of_what_did_not_happen() -> None:
    quiet = report(held_out=None, external_groups=0, external_peers=(), outbox_depth=0, dropped={}, phase_seconds={})
    assert round_line(quiet) == ("round 131 (step 57) · reward 0.312 · groups 4 local + 0 external · 236 tok/s · 0.0 s")


def test_the_judge_and_the_market_are_in_the_line_where_they_were_heard_of() -> None:
    heard = report(judge_score=0.25, judge_answers=4, bet_tokens=1234.5, dropped={})
    assert " · held-out 0.250 · judge 0.250 of 4 answers · groups " in round_line(heard)
    assert round_line(heard).endswith(" · 1,234.5 bet tokens · 2 transactions waiting")
    assert "judge 1.000 of 1 answer ·" in round_line(report(judge_score=1.0, judge_answers=1))
    assert "judge" not in round_line(report(bet_tokens=0.0)) and "· 0 bet tokens" in round_line(report(bet_tokens=0.0))


def test_a_round_without_the_hub_is_named_after_the_last_one_that_was_known(caplog: pytest.LogCaptureFixture) -> None:
    assert round_line(report(round=12, interim=3)).startswith("round 12+3 (step 57) · ")
    with caplog.at_level(logging.INFO, logger="rl_swarm.observe"):
        LineProgress().phase("evaluate", round=interim_round(12, 3))
    assert caplog.messages == ["round 12+3: evaluate"]


def test_the_way_of_shares_is_in_the_line_unless_all_came_directly() -> None:
    assert "shares" not in round_line(report(ways={"QmA": "direct", "QmB": "direct"}))
    assert " · shares 2 through a bootnode, 1 direct · " in round_line(
        report(ways={"QmA": "direct", "QmB": "bootnode", "QmC": "bootnode"})
    )


def test_missed_rounds_are_named() -> None:
    assert "(step 57) · skipped 3 · " in round_line(report(skipped=3))


def test_the_line_progress_tells_a_run_as_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    progress: Progress = LineProgress()
    with caplog.at_level(logging.INFO, logger="rl_swarm.observe"):
        progress.started(RUN)
        progress.phase("load model", "SmolLM2-135M-Instruct")
        progress.phase("generate", round=131)
        progress.held_out(0.09)
        progress.round_done(report())
        for _ in range(2):
            progress.transactions(
                [
                    ("reward", 130, "refused", "OnlyOwner"),
                    ("winners", 130, "confirmed", ""),
                    ("bet", 3, "refused", "InvalidRound"),
                    ("register", None, "refused", "PeerIdAlreadyRegistered"),
                ]
            )
        progress.close()
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"quiet amber otter ({RUN.peer_id}) on network local: SmolLM2-135M-Instruct, cpu bfloat16, tasks starter."
        " Log: logs/swarm.log",
        "load model: SmolLM2-135M-Instruct",
        "Held-out accuracy: 0.090",
        round_line(report()),
        "The contract refused the reward of round 130: OnlyOwner",
        "The contract refused the bet of game 3: InvalidRound",
        "The contract refused the registration: PeerIdAlreadyRegistered",
    ]


def test_the_memory_progress_remembers() -> None:
    progress = MemoryProgress()
    progress.phase("train", "now", round=3)
    progress.round_done(report())
    progress.close()
    assert progress.phases == [("train", "now", 3)]
    assert progress.reports == [report()]
    assert progress.closed


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("live", "terminal", "wanted"),
    [
        ("auto", Terminal(), True),
        ("auto", io.StringIO(), False),
        ("yes", io.StringIO(), True),
        ("no", Terminal(), False),
    ],
)
def test_the_view_is_for_terminals_unless_told_otherwise(live: str, terminal: io.StringIO, wanted: bool) -> None:
    assert wants_live(live, terminal) is wanted
