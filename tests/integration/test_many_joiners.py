"""A hundred joiners at one real hub: what the benchmark measures at a thousand, without a look at the clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.hub import QUESTIONS, Setting, run

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

JOINERS = 100
ROUNDS = 2


async def test_everybody_hears_of_the_round_gets_questions_and_scores_and_is_heard_by_the_chain(tmp_path: Path) -> None:
    # Forty of them are behind one address, as in a company; the others have an address each.
    setting = Setting(joiners=JOINERS, behind_one_address=40, rounds=ROUNDS, seconds=8.0, writes="node", pin=False)
    figures = await run(setting, tmp_path)
    assert figures.trouble == {}
    assert figures.questions == QUESTIONS * JOINERS * ROUNDS
    assert figures.scores == QUESTIONS * JOINERS * ROUNDS
    assert figures.writes_done == 2 * JOINERS * ROUNDS
