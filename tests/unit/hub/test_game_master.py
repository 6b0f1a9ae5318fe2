"""Games on the contract: their pace, and that no crash, no absent chain and no lost answer leads them astray."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from rgym_exp.chain.coordinator import ChainError, ChainUnavailable
from rgym_exp.chain.deploy import MarketOwner, OwnerClient, deploy_coordinator, deploy_market
from rgym_exp.chain.devnet import Devnet
from rgym_exp.chain.market import GameStatus
from rgym_exp.chain.market_contract import MarketContract
from rgym_exp.chain.transactions import Transactor
from rgym_exp.hub.game_file import load_games
from rgym_exp.hub.game_master import GIVEN_UP_AFTER_SECONDS, LOOK_AGAIN_SECONDS, GameMaster
from rgym_exp.hub.game_pace import GamePace
from rgym_exp.judge.commitment import is_opened_by, read_opening

PACE = GamePace(clues=4, rounds_per_clue=2, shortest_seconds=5.0)
WRITES = ("create_game", "increment_round", "reveal", "cancel")


class Crash(Exception):
    """The hub's process ends here."""


@dataclass
class OnChain:
    """A game as the contract keeps it."""

    rounds: int
    choices: int
    root: bytes
    round: int = 0
    status: GameStatus = "open"
    answer: int | None = None


class MemoryContract:
    """The market's rules for its owner, in memory, with a fault where a test wants one."""

    def __init__(self) -> None:
        self.address = "0x" + "ab" * 20
        self.games: list[OnChain] = []
        self.calls: list[str] = []
        self.fault: tuple[str, str, Exception] | None = None
        """(method, "before" or "after" its change, what is raised), once."""

    def create_game(self, round_count: int, choice_count: int, merkle_root: bytes) -> int:
        with self._faulty("create_game"):
            self.games.append(OnChain(rounds=round_count, choices=choice_count, root=merkle_root))
            return len(self.games) - 1

    def increment_round(self, game: int) -> None:
        with self._faulty("increment_round"):
            played = self._open(game)
            if played.round + 1 >= played.rounds:
                raise ChainError("InvalidRound")
            played.round += 1

    def reveal(self, game: int, correct_choice: int) -> None:
        with self._faulty("reveal"):
            played = self._open(game)
            played.status, played.answer = "revealed", correct_choice

    def cancel(self, game: int) -> None:
        with self._faulty("cancel"):
            self._open(game).status = "abandoned"

    def status(self, game: int) -> GameStatus:
        self.calls.append("status")
        return self.games[game].status if game < len(self.games) else "unknown"

    def current_round(self, game: int) -> int:
        self.calls.append("current_round")
        return self.games[game].round

    def game_count(self) -> int:
        self.calls.append("game_count")
        return len(self.games)

    def root_of(self, game: int) -> bytes:
        return self.games[game].root

    def written(self) -> list[str]:
        """The writes that were asked for."""
        return [call for call in self.calls if call in WRITES]

    def _open(self, game: int) -> OnChain:
        if self.games[game].status != "open":
            raise ChainError("GameNotOpen")
        return self.games[game]

    def _faulty(self, method: str) -> _Fault:
        self.calls.append(method)
        if self.fault is not None and self.fault[0] == method:
            (_, when, error), self.fault = self.fault, None
            return _Fault(when, error)
        return _Fault("never", Crash())


class _Fault:
    def __init__(self, when: str, error: Exception) -> None:
        self._when = when
        self._error = error

    def __enter__(self) -> None:
        if self._when == "before":
            raise self._error

    def __exit__(self, *_: object) -> None:
        if self._when == "after":
            raise self._error


class Swarm:
    """The swarm's round and the time, as a test wants them; and the hub's game master, which can be started anew."""

    def __init__(self, contract: MemoryContract, state_file: Path, pace: GamePace = PACE) -> None:
        self.contract = contract
        self.state_file = state_file
        self.pace = pace
        self.round = 0
        self.now = 0.0
        self.master = self.restarted()

    def restarted(self) -> GameMaster:
        """A new game master that knows no more than what is in the file."""
        self.master = GameMaster(
            market=self.contract,
            root_of=self.contract.root_of,
            state_file=self.state_file,
            swarm_round=lambda: self.round,
            pace=self.pace,
            clock=lambda: self.now,
            wall_clock=lambda: 1e9 + self.now,
        )
        return self.master

    async def look(self) -> None:
        """One turn of the game master; what it tells afterwards is what the contract can take bets on."""
        await self.master.look()
        self.check()

    def check(self) -> None:
        clue = self.master.current_clue()
        if clue is not None:
            played = self.contract.games[clue.game]
            assert (played.status, played.round) == ("open", clue.clue)
            assert clue.rounds_remaining == played.rounds - played.round
            assert len(clue.choices) == played.choices

    async def move(self, rounds: int = 1, *, seconds_each: float = 10.0) -> None:
        for _ in range(rounds):
            self.round += 1
            self.now += seconds_each
            await self.look()

    async def until(self, condition: Callable[[], bool], *, restart_on_crash: bool = True) -> None:
        """Rounds go by until the condition holds; a crash is followed by a new start."""
        for _ in range(60):
            if condition():
                return
            try:
                await self.move()
            except Crash:
                assert restart_on_crash
                self.restarted()
            except ChainUnavailable:
                # Until the contract has been asked, the clue told may be the one before; never one after.
                clue = self.master.current_clue()
                assert clue is None or clue.clue <= self.contract.games[clue.game].round
        raise AssertionError("not within sixty rounds")


@pytest.fixture
def contract() -> MemoryContract:
    return MemoryContract()


@pytest.fixture
def swarm(contract: MemoryContract, tmp_path: Path) -> Swarm:
    return Swarm(contract, tmp_path / "hub" / "game.json")


def opening_is_true(swarm: Swarm, game: int) -> bool:
    """Whether what is told of a game that is over opens the root on the contract, with the answer revealed there."""
    told = swarm.master.told(game)
    assert told is not None
    opening = read_opening(json.loads(json.dumps(told)))
    played = swarm.contract.games[game]
    return is_opened_by(played.root, opening) and (played.answer in (None, opening.answer))


async def test_a_game_is_played_at_the_swarms_pace(swarm: Swarm, contract: MemoryContract) -> None:
    told = []
    await swarm.look()
    for _ in range(11):
        await swarm.move()
        clue = swarm.master.current_clue()
        told.append(None if clue is None else (clue.game, clue.clue))
    # It begins when the swarm moves; each clue lasts two rounds, and so does the last one before the answer, and the
    # break in which players claim before the next game.
    assert told == [(0, 0), (0, 0), (0, 1), (0, 1), (0, 2), (0, 2), (0, 3), (0, 3), None, None, (1, 0)]
    assert contract.games[0].status == "revealed"
    assert opening_is_true(swarm, 0)


async def test_a_clue_lasts_some_seconds_however_fast_the_rounds_are(swarm: Swarm) -> None:
    await swarm.look()
    await swarm.move(seconds_each=0.1)
    clues = []
    for _ in range(60):
        await swarm.move(seconds_each=1.0)
        clue = swarm.master.current_clue()
        clues.append(None if clue is None else clue.clue)
    assert clues[:11] == [0] * 4 + [1] * 5 + [2] * 2


async def test_a_swarm_that_stands_still_has_no_game_begun_and_none_moved_on(
    swarm: Swarm, contract: MemoryContract
) -> None:
    for _ in range(5):
        swarm.now += 1000
        await swarm.look()
    assert contract.written() == []
    await swarm.move()
    for _ in range(5):
        swarm.now += 1000
        await swarm.look()
    assert contract.written() == ["create_game"]
    assert swarm.master.current_clue() is not None


async def test_before_the_swarms_round_is_known_nothing_happens(swarm: Swarm, contract: MemoryContract) -> None:
    swarm.round = -1
    await swarm.look()
    assert contract.calls == []


async def test_while_nothing_is_due_the_contract_is_left_alone(swarm: Swarm, contract: MemoryContract) -> None:
    await swarm.look()
    await swarm.move()
    contract.calls.clear()
    for _ in range(20):
        swarm.now += 1
        await swarm.look()
    assert contract.calls == []


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("method", ["create_game", "increment_round", "reveal"])
@pytest.mark.parametrize("error", [Crash(), ChainUnavailable("no answer")], ids=["crash", "chain away"])
async def test_what_was_interrupted_is_neither_done_twice_nor_left_out(
    swarm: Swarm, contract: MemoryContract, method: str, when: str, error: Exception
) -> None:
    contract.fault = (method, when, error)
    await swarm.look()
    await swarm.until(lambda: len(contract.games) == 2)
    assert contract.fault is None
    assert [game.status for game in contract.games] == ["revealed", "open"]
    assert contract.games[0].round == 3
    assert opening_is_true(swarm, 0)
    # Nothing was repeated that had been done.
    assert contract.written().count(method) == {"create_game": 2, "increment_round": 3, "reveal": 1}[method] + (
        when == "before"
    )


async def test_a_restarted_hub_goes_on_with_the_clue_that_is_out(swarm: Swarm, contract: MemoryContract) -> None:
    await swarm.look()
    await swarm.move(4)
    before = swarm.master.current_clue()
    swarm.restarted()
    assert swarm.master.current_clue() is None
    await swarm.look()
    assert swarm.master.current_clue() == before
    assert contract.written() == ["create_game", "increment_round"]


@pytest.mark.parametrize("damage", ["gone", "{", "[]", '{"market": "0x", "running": {}, "ended": []}', '{"market": 5}'])
async def test_games_that_nobody_knows_any_more_are_called_off(
    swarm: Swarm, contract: MemoryContract, damage: str
) -> None:
    await swarm.look()
    await swarm.move(3)
    if damage == "gone":
        swarm.state_file.unlink()
    else:
        swarm.state_file.write_text(damage)
    swarm.restarted()
    await swarm.look()
    assert contract.games[0].status == "abandoned"
    assert swarm.master.current_clue() is None
    await swarm.move()
    assert swarm.master.current_clue() is not None
    assert len(contract.games) == 2


async def test_calling_off_is_tried_again_after_the_chain_was_away(swarm: Swarm, contract: MemoryContract) -> None:
    contract.games = [OnChain(rounds=4, choices=4, root=bytes([game]) * 32) for game in range(3)]
    contract.fault = ("cancel", "before", ChainUnavailable("no answer"))
    with pytest.raises(ChainUnavailable):
        await swarm.look()
    await swarm.look()
    assert [game.status for game in contract.games] == ["abandoned"] * 3


async def test_a_file_of_another_market_is_not_gone_on_with(swarm: Swarm, contract: MemoryContract) -> None:
    await swarm.look()
    await swarm.move(3)
    contract.address, contract.games = "0x" + "cd" * 20, []
    swarm.restarted()
    await swarm.look()
    await swarm.move()
    clue = swarm.master.current_clue()
    assert clue is not None and (clue.game, clue.clue) == (0, 0)


async def test_a_chain_that_was_set_back_to_before_the_game_gets_a_new_one(
    swarm: Swarm, contract: MemoryContract
) -> None:
    await swarm.look()
    await swarm.move(3)
    contract.games.clear()
    swarm.restarted()
    swarm.round = 1
    await swarm.look()
    await swarm.move(2)
    assert len(contract.games) == 1 and contract.games[0].round == 0
    assert swarm.master.current_clue() is not None


async def test_a_chain_that_was_set_back_within_the_game_shows_a_clue_again(
    swarm: Swarm, contract: MemoryContract
) -> None:
    await swarm.look()
    await swarm.move(5)
    contract.games[0].round = 0
    swarm.round -= 4
    swarm.restarted()
    await swarm.look()
    clue = swarm.master.current_clue()
    assert clue is not None and clue.clue == 0
    await swarm.until(lambda: contract.games[0].status == "revealed")


async def test_a_game_that_the_hub_left_for_a_day_is_called_off_and_the_next_begins(
    swarm: Swarm, contract: MemoryContract
) -> None:
    await swarm.look()
    await swarm.move(3)
    swarm.now += GIVEN_UP_AFTER_SECONDS + 1
    swarm.restarted()
    await swarm.look()
    assert contract.games[0].status == "abandoned" and swarm.master.current_clue() is None
    await swarm.move(2)
    assert [game.status for game in contract.games] == ["abandoned", "open"]
    told = swarm.master.told(0)
    assert told is not None and told["status"] == "abandoned"


async def test_a_game_that_the_contract_counts_as_abandoned_is_noticed_while_the_swarm_stands_still(
    swarm: Swarm, contract: MemoryContract
) -> None:
    await swarm.look()
    await swarm.move()
    contract.games[0].status = "abandoned"
    swarm.now += LOOK_AGAIN_SECONDS + 1
    await swarm.look()
    assert swarm.master.current_clue() is None
    assert contract.written() == ["create_game"]


async def test_an_opening_is_told_only_when_the_game_is_over(swarm: Swarm) -> None:
    await swarm.look()
    await swarm.move(3)
    told = swarm.master.told(0)
    assert told is not None
    assert sorted(told) == ["choices", "clues", "game_id", "merkle_root", "status"]
    assert len(told["clues"]) == 2
    assert swarm.master.told(1) is None
    await swarm.until(lambda: swarm.contract.games[0].status == "revealed")
    assert opening_is_true(swarm, 0)
    swarm.restarted()
    await swarm.look()
    assert opening_is_true(swarm, 0)


async def test_the_answers_are_for_the_host_alone_to_read(swarm: Swarm) -> None:
    await swarm.look()
    await swarm.move()
    assert swarm.state_file.stat().st_mode & 0o777 == 0o600


async def test_only_the_last_games_are_kept(swarm: Swarm, tmp_path: Path) -> None:
    kept = load_games(tmp_path / "none.json", "0xab")
    await swarm.look()
    await swarm.move()
    running = load_games(swarm.state_file, swarm.contract.address).running
    assert running is not None
    for game in range(70):
        kept = kept.with_running(dataclasses.replace(running, game=game)).with_ended("revealed")
    assert [game.game for game in kept.ended] == list(range(20, 70))
    assert kept.find(69) is not None and kept.find(0) is None


async def test_trouble_is_waited_out_and_told_once(
    contract: MemoryContract, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rounds = iter(range(10**9))
    away = True

    class Away(MemoryContract):
        def game_count(self) -> int:
            if away:
                looked.set()
                raise ChainUnavailable("The chain does not answer.")
            return super().game_count()

    looked, contract = asyncio.Event(), Away()
    loop = asyncio.get_running_loop()
    looked_from_thread = looked.set
    looked.set = lambda: loop.call_soon_threadsafe(looked_from_thread)  # type: ignore[method-assign, assignment]
    master = GameMaster(
        market=contract,
        root_of=contract.root_of,
        state_file=tmp_path / "game.json",
        swarm_round=lambda: next(rounds),
        pace=GamePace(clues=4, rounds_per_clue=1, shortest_seconds=0),
        poll_seconds=0.001,
    )
    with caplog.at_level(logging.INFO):
        running = asyncio.create_task(master.run())
        try:
            async with asyncio.timeout(20):
                for _ in range(3):
                    looked.clear()
                    await looked.wait()
                assert master.outage.trouble is not None
                away = False
                while not any(game.status == "revealed" for game in contract.games):
                    await asyncio.sleep(0.005)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert master.outage.trouble is None
    assert caplog.text.count("can't go on just now") == 1
    assert caplog.text.count("games go on") == 1


async def test_a_mistake_of_our_own_stops_the_games_for_a_moment_only(tmp_path: Path) -> None:
    rounds = iter(range(10**9))
    contract = MemoryContract()
    contract.fault = ("create_game", "before", ZeroDivisionError("a mistake"))
    master = GameMaster(
        market=contract,
        root_of=contract.root_of,
        state_file=tmp_path / "game.json",
        swarm_round=lambda: next(rounds),
        poll_seconds=0.001,
    )
    running = asyncio.create_task(master.run())
    try:
        async with asyncio.timeout(20):
            while master.current_clue() is None:
                await asyncio.sleep(0.005)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert contract.fault is None and len(contract.games) == 1


# ------------------------------------------------------------ on a real chain


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    with Devnet.start(tmp_path_factory.mktemp("devnet")) as running:
        yield running


async def test_two_accounts_play_a_game_on_a_real_chain(devnet: Devnet, tmp_path: Path) -> None:
    coordinator = deploy_coordinator(devnet.rpc_url, devnet.owner).address
    owner = OwnerClient(devnet.rpc_url, coordinator, devnet.owner)
    address = deploy_market(devnet.rpc_url, devnet.owner, coordinator).address
    reader = MarketContract(devnet.rpc_url, address)
    players = [Player(devnet, coordinator, reader, name) for name in ("QmOne", "QmTwo")]
    round = 0
    master = GameMaster(
        market=MarketOwner(devnet.rpc_url, address, devnet.owner, one_at_a_time=owner.one_at_a_time),
        root_of=lambda game: bytes(reader.read("merkleRoot", game)),
        state_file=tmp_path / "game.json",
        swarm_round=lambda: round,
        pace=GamePace(clues=4, rounds_per_clue=1, shortest_seconds=0),
    )
    await master.look()
    answer = None
    clues = []
    while reader.game_count() == 0 or reader.status(0) == "open":
        round += 1
        # The hub's keeper sends from the same account meanwhile: neither may take the other's nonce.
        await asyncio.gather(master.look(), asyncio.to_thread(owner.advance_round))
        clue = master.current_clue()
        if clue is None:
            continue
        clues.append(clue.clue)
        kept = load_games(tmp_path / "game.json", address).running
        assert kept is not None
        answer = kept.opening.answer
        await asyncio.to_thread(players[0].bet, clue.game, clue.clue, answer, 10**18)
        await asyncio.to_thread(players[1].bet, clue.game, clue.clue, (answer + 1) % 4, 10**18)
    assert clues == [0, 1, 2, 3]
    assert reader.status(0) == "revealed" and reader.read("correctChoice", 0) == answer
    # The winner has the four tokens of the loser on top of their own.
    assert players[0].claim(0) == 104 * 10**18
    assert reader.bet_token_balance("QmTwo") == 96 * 10**18
    told = master.told(0)
    assert told is not None
    assert is_opened_by(bytes(reader.read("merkleRoot", 0)), read_opening(told))


class Player:
    """Somebody with an account of their own who bets straight on the contract."""

    def __init__(self, devnet: Devnet, coordinator: str, market: MarketContract, peer_id: str) -> None:
        from rgym_exp.chain.contract import SwarmContract

        self.peer_id = peer_id
        self._market = market
        account = Account.create()
        swarm = SwarmContract(devnet.rpc_url, coordinator)
        Transactor(swarm, account).execute(swarm.contract.functions.registerPeer(peer_id))
        self._transactor = Transactor(market, account)

    def bet(self, game: int, clue: int, choice: int, stake: int) -> None:
        self._do("guessAnswer", game, self.peer_id, clue, choice, stake)

    def claim(self, game: int) -> int:
        self._do("claimReward", game, self.peer_id)
        return self._market.bet_token_balance(self.peer_id)

    def _do(self, function: str, *arguments: Any) -> None:
        self._transactor.execute(self._market.contract.functions[function](*arguments))
