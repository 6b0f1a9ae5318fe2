"""The hub's judge and its games: made, kept at work beside the hub, and ended with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from rgym_exp.chain.deploy import MarketOwner
from rgym_exp.chain.market_contract import MarketContract
from rgym_exp.hub.beside import beside
from rgym_exp.hub.game_master import GameMaster
from rgym_exp.hub.judge_routes import judge_routes
from rgym_exp.judge.local_judge import LocalJudge
from rgym_exp.tasks.scoring_sandbox import SandboxLimits
from rgym_exp.tasks.source import ReasoningGymTasks

LOAD_AFTER_SECONDS = 5.0
"""The judge gets its questions ready so long after the hub is up (or when somebody asks): loading takes a second of
processor time, which a node that starts on the same machine has better use for."""
SCORING = SandboxLimits(answer_cpu_seconds=0.2, answer_wall_seconds=5.0, batch_seconds=6.0)
"""Tighter than a node's own: one answer at a time, from anybody, with others waiting."""


@dataclass(frozen=True, kw_only=True)
class Judging:
    """What the hub has of it; None of anything that the host doesn't want."""

    judge: LocalJudge | None
    games: GameMaster | None

    @property
    def routes(self) -> list[web.RouteDef]:
        """The judge's HTTP routes; none without a judge."""
        return [] if self.judge is None else judge_routes(self.judge, games=self.games)

    def status(self) -> Mapping[str, Any]:
        """Its part of ``/status``."""
        clue = self.games.current_clue() if self.games else None
        return {
            "judge": self.judge and {"ready": self.judge.ready, "answers": self.judge.answers},
            "game": clue and {"id": clue.game, "clue": clue.clue},
        }


@asynccontextmanager
async def judging(
    *,
    folder: Path,
    tasks: str,
    swarm_round: Callable[[], int],
    judge: bool,
    market: MarketOwner | None,
    market_contract: MarketContract | None,
) -> AsyncIterator[Judging]:
    """Judge and games for as long as the context lasts. Neither ever ends the hub.

    Args:
        folder: where they keep their files.
        tasks: name of the swarm's tasks file, from which questions are drawn.
        swarm_round: the swarm's round as the keeper knows it; negative while unknown.
        judge: whether there is one.
        market: the prediction market in its owner's hands; None for no games.
        market_contract: the same market for reading.
    """
    async with AsyncExitStack() as stack:
        local = games = None
        if judge:
            local = LocalJudge(
                open_source=lambda: ReasoningGymTasks(tasks, limits=SCORING),
                record_path=folder / "judge.sqlite",
                swarm_round=swarm_round,
            )
            stack.push_async_callback(local.close)
            await stack.enter_async_context(beside(_load_later(local), "judge"))
        if market is not None and market_contract is not None:
            reader = market_contract
            games = GameMaster(
                market=market,
                root_of=lambda game: bytes(reader.read("merkleRoot", game)),
                state_file=folder / "game.json",
                swarm_round=swarm_round,
            )
            await stack.enter_async_context(beside(games.run(), "games"))
        yield Judging(judge=local, games=games)


async def _load_later(judge: LocalJudge) -> None:
    await asyncio.sleep(LOAD_AFTER_SECONDS)
    await judge.load()
