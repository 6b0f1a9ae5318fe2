"""A hundred joiners at one real hub: what the benchmark measures at a thousand, without a look at the clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.hub import QUESTIONS, Setting, run

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

JOINERS = 100
ROUNDS = 2


@pytest.mark.parametrize(
    ("joiners", "one_address"),
    [pytest.param(JOINERS, False, id="at an address each"), pytest.param(40, True, id="forty behind one address")],
)
async def test_everybody_hears_of_the_round_gets_questions_and_scores_and_is_heard_by_the_chain(
    tmp_path: Path, joiners: int, one_address: bool
) -> None:
    setting = Setting(joiners=joiners, rounds=ROUNDS, seconds=8.0, writes="node", pin=False, one_address=one_address)
    figures = await run(setting, tmp_path)
    assert figures.trouble == {}
    assert figures.questions == QUESTIONS * joiners * ROUNDS
    assert figures.scores == QUESTIONS * joiners * ROUNDS
    assert figures.writes_done == 2 * joiners * ROUNDS
