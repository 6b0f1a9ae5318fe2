"""What peers did on the contract is added up once, whatever the chain does meanwhile. With a real chain."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from hexbytes import HexBytes
from web3 import Web3

from rgym_exp.base.ports import free_port
from rgym_exp.chain.contract import SwarmContract
from rgym_exp.chain.coordinator import ChainUnavailable
from rgym_exp.chain.deploy import deploy_coordinator
from rgym_exp.chain.devnet import Devnet
from rgym_exp.chain.saved_state import BLOCKS_KEPT
from rgym_exp.chain.transactions import Transactor
from rgym_exp.errors import HubError
from rgym_exp.hub.contract_events import (
    MAX_AMOUNT,
    ContractEvent,
    RewardEvent,
    VoteEvent,
    read_events,
    reward_topic,
    winner_topic,
)
from rgym_exp.hub.follower import CONFIRMATIONS, Follower
from rgym_exp.hub.ledger import JOURNAL_BLOCKS, Block, Ledger, Tally
from rgym_exp.hub.ranking import participation, rank

CONTRACT = "0x5afE56e7A0B986fB31e3830a70fd7cd38250A9e2"
ACCOUNT = "0xABaBaBaBABabABabAbAbABAbABabababaBaBABaB"


class Swarm:
    """A contract of a test's own on a real devnet, and peers who use it."""

    def __init__(self, devnet: Devnet) -> None:
        self.devnet = devnet
        deployment = deploy_coordinator(devnet.rpc_url, devnet.owner)
        self.contract = SwarmContract(devnet.rpc_url, deployment.address)
        self._accounts: dict[str, LocalAccount] = {}

    def do(self, peer: str, function: str, *arguments: Any) -> None:
        """As the peer's account, which registers the peer first; "" is the owner."""
        if peer and peer not in self._accounts:
            self._accounts[peer] = Account.create()
            self.do(peer, "registerPeer", peer)
        account = self._accounts[peer] if peer else self.devnet.owner
        Transactor(self.contract, account).execute(self.contract.contract.functions[function](*arguments))

    def reward(self, peer: str, round: int, reward: int) -> None:
        self.do(peer, "submitReward", round, 0, reward, peer)

    def vote(self, peer: str, round: int, *winners: str) -> None:
        self.do(peer, "submitWinners", round, list(winners), peer)

    def advance(self, rounds: int = 1) -> None:
        for _ in range(rounds):
            self.do("", "updateStageAndRound")

    def rpc(self, method: str, *parameters: Any) -> Any:
        return self.contract.web3.provider.make_request(method, list(parameters))["result"]  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    with Devnet.start(tmp_path_factory.mktemp("chain")) as running:
        yield running


@pytest.fixture
def swarm(devnet: Devnet) -> Swarm:
    return Swarm(devnet)


OpenLedger = Callable[..., Ledger]


@pytest.fixture
def open_ledger(tmp_path: Path) -> Iterator[OpenLedger]:
    opened: list[Ledger] = []

    def open(**options: Any) -> Ledger:
        chosen: dict[str, Any] = {"chain_id": 1, "contract": CONTRACT} | options
        opened.append(Ledger(tmp_path / "ledger.sqlite", **chosen))
        return opened[-1]

    yield open
    for ledger in opened:
        ledger.close()


@pytest.fixture
def ledger(swarm: Swarm, open_ledger: OpenLedger) -> Ledger:
    return open_ledger(chain_id=swarm.devnet.chain_id, contract=swarm.contract.address)


def sums(ledger: Ledger) -> dict[str, tuple[int, int, int]]:
    """Peer id -> rounds, reward, wins."""
    return {tally.peer_id: (tally.rounds, tally.reward, tally.wins) for tally in ledger.leaders(1000)}


def tally_of(ledger: Ledger, peer_id: str) -> Tally:
    return next(tally for tally in ledger.leaders(1000) if tally.peer_id == peer_id)


def truth(swarm: Swarm, *peers: str) -> dict[str, tuple[int, int]]:
    """Peer id -> reward, wins, as the contract has them now."""
    rewards = swarm.contract.read("getTotalRewards", list(peers))
    return {
        peer: (reward, swarm.contract.read("getTotalWins", peer)) for peer, reward in zip(peers, rewards, strict=True)
    }


def test_rounds_rewards_and_votes_are_added_up(swarm: Swarm, ledger: Ledger) -> None:
    swarm.reward("QmA", 0, 5)
    swarm.advance(3)
    swarm.reward("QmB", 2, -4)
    swarm.reward("QmA", 3, 7)
    swarm.vote("QmB", 2, "QmA")
    swarm.vote("QmA", 3, "QmA", "QmB")
    Follower(swarm.contract, ledger, own_chain=True).look()
    first, second = ledger.leaders(10)
    assert first == Tally(
        peer_id="QmA", account=first.account, rounds=2, reward=12, wins=2, first_round=0, last_round=3
    )
    assert second == Tally(
        peer_id="QmB", account=second.account, rounds=1, reward=-4, wins=1, first_round=2, last_round=2
    )
    assert first.account == swarm.contract.registered_to("QmA")


def test_a_reward_that_comes_rounds_late_counts_for_its_round(swarm: Swarm, ledger: Ledger) -> None:
    """A slow peer, or one whose outbox waited for the hub."""
    swarm.reward("QmSlow", 0, 5)
    swarm.reward("QmQuick", 0, 1)
    swarm.advance(3)
    swarm.reward("QmQuick", 3, 1)
    swarm.reward("QmSlow", 3, 2)
    Follower(swarm.contract, ledger, own_chain=True).look()
    before = tally_of(ledger, "QmSlow")
    assert (before.rounds, before.reward) == (2, 7)
    assert participation(before, 3) == 0.5
    swarm.reward("QmSlow", 1, 3)
    swarm.reward("QmSlow", 2, 4)
    Follower(swarm.contract, ledger, own_chain=True).look()
    after = tally_of(ledger, "QmSlow")
    assert (after.rounds, after.reward, after.first_round, after.last_round) == (4, 14, 0, 3)
    assert participation(after, 3) == 1.0
    first, second = rank(ledger.leaders(10), swarm_round=3, judged={}, bet_tokens={}, models={})
    assert (first.peer_id, first.reward, second.peer_id) == ("QmSlow", 14, "QmQuick")


def test_looking_again_adds_only_what_is_new(swarm: Swarm, ledger: Ledger) -> None:
    follower = Follower(swarm.contract, ledger, own_chain=True)
    swarm.reward("QmA", 0, 5)
    follower.look()
    follower.look()
    assert sums(ledger) == {"QmA": (1, 5, 0)}
    swarm.vote("QmB", 0, "QmA")
    follower.look()
    assert sums(ledger) == {"QmA": (1, 5, 1)}


def test_a_ledger_opened_again_goes_on_where_it_was(swarm: Swarm, open_ledger: OpenLedger) -> None:
    identity = {"chain_id": swarm.devnet.chain_id, "contract": swarm.contract.address}
    swarm.reward("QmA", 0, 5)
    before = open_ledger(**identity)
    Follower(swarm.contract, before, own_chain=True).look()
    before.close()
    swarm.advance()
    swarm.reward("QmA", 1, 6)
    after = open_ledger(**identity)
    Follower(swarm.contract, after, own_chain=True).look()
    assert sums(after) == {"QmA": (2, 11, 0)}


def test_votes_for_a_peer_that_nobody_knew_yet_count_when_it_reports_its_first_reward(
    swarm: Swarm, ledger: Ledger
) -> None:
    follower = Follower(swarm.contract, ledger, own_chain=True)
    swarm.vote("QmB", 0, "QmA", "nobody")
    follower.look()
    assert sums(ledger) == {}
    swarm.reward("QmA", 0, 5)
    follower.look()
    assert sums(ledger) == {"QmA": (1, 5, 1)}


def test_a_renewed_devnet_changes_nothing_that_was_counted(swarm: Swarm, ledger: Ledger) -> None:
    follower = Follower(swarm.contract, ledger, own_chain=True)
    swarm.reward("QmA", 0, 5)
    follower.look()
    swarm.advance(BLOCKS_KEPT + 3)
    follower.look()
    swarm.devnet.renew()
    follower.look()
    swarm.reward("QmA", 1, 6)
    follower.look()
    assert sums(ledger) == {"QmA": (2, 11, 0)}


def test_a_new_start_of_the_chain_changes_nothing_either(tmp_path: Path, open_ledger: OpenLedger) -> None:
    with Devnet.start(tmp_path / "chain") as devnet:
        swarm = Swarm(devnet)
        address = swarm.contract.address
        swarm.reward("QmA", 0, 5)
        ledger = open_ledger(chain_id=devnet.chain_id, contract=address)
        Follower(swarm.contract, ledger, own_chain=True).look()
    with Devnet.start(tmp_path / "chain") as devnet:
        contract = SwarmContract(devnet.rpc_url, address)
        Follower(contract, ledger, own_chain=True).look()
        assert sums(ledger) == {"QmA": (1, 5, 0)}


def test_events_that_were_cut_off_unread_are_missing_in_the_rounds_but_not_in_the_sums(
    swarm: Swarm, ledger: Ledger
) -> None:
    follower = Follower(swarm.contract, ledger, own_chain=True)
    swarm.reward("QmA", 0, 5)
    follower.look()
    swarm.advance()
    swarm.reward("QmA", 1, 6)
    swarm.vote("QmB", 1, "QmA")
    swarm.advance(BLOCKS_KEPT + 1)
    swarm.devnet.renew()
    follower.look()
    assert sums(ledger) == {"QmA": (1, 11, 1)}
    assert truth(swarm, "QmA") == {"QmA": (11, 1)}


def test_a_ledger_that_fell_behind_what_the_chain_keeps_has_the_sums_all_the_same(swarm: Swarm, ledger: Ledger) -> None:
    follower = Follower(swarm.contract, ledger, own_chain=True)
    swarm.reward("QmA", 0, 5)
    follower.look()
    swarm.advance()
    swarm.reward("QmA", 1, 6)
    swarm.vote("QmB", 1, "QmA")
    swarm.advance(BLOCKS_KEPT + 1)
    follower.look()
    assert {peer: each[1:] for peer, each in sums(ledger).items()} == truth(swarm, "QmA") == {"QmA": (11, 1)}


def test_blocks_that_are_cut_off_while_the_ledger_reads_cost_no_sums(
    swarm: Swarm, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = Follower(swarm.contract, ledger, own_chain=True)
    swarm.reward("QmA", 0, 5)
    follower.look()
    swarm.advance()
    swarm.reward("QmA", 1, 6)
    swarm.advance(BLOCKS_KEPT - 20)
    read = follower._logs

    def read_late(first: int, last: int) -> Any:
        swarm.advance(30)
        return read(first, last)

    monkeypatch.setattr(follower, "_logs", read_late)
    follower.look()
    monkeypatch.setattr(follower, "_logs", read)
    follower.look()
    assert {peer: each[1:] for peer, each in sums(ledger).items()} == truth(swarm, "QmA") == {"QmA": (11, 0)}


def test_a_ledger_that_begins_late_takes_the_sums_from_the_contract(swarm: Swarm, ledger: Ledger) -> None:
    swarm.reward("QmA", 0, 5)
    swarm.vote("QmB", 0, "QmA")
    swarm.advance(BLOCKS_KEPT + 1)
    swarm.devnet.renew()
    swarm.reward("QmA", 1, 6)
    Follower(swarm.contract, ledger, own_chain=True).look()
    assert sums(ledger) == {"QmA": (1, 11, 1)}


def test_a_chain_that_went_back_counts_what_is_sent_again_once(swarm: Swarm, ledger: Ledger) -> None:
    follower = Follower(swarm.contract, ledger, own_chain=True)
    swarm.reward("QmA", 0, 5)
    snapshot = swarm.rpc("evm_snapshot")
    swarm.vote("QmA", 0, "QmA")
    swarm.advance()
    swarm.reward("QmA", 1, 6)
    swarm.reward("QmB", 1, 7)
    follower.look()
    assert sums(ledger) == {"QmB": (1, 7, 0), "QmA": (2, 11, 1)}
    swarm.rpc("evm_revert", snapshot)
    follower.look()
    assert sums(ledger) == {"QmA": (1, 5, 0)}
    swarm.advance()
    swarm.reward("QmA", 1, 6)
    follower.look()
    assert sums(ledger) == {"QmA": (2, 11, 0)}
    assert truth(swarm, "QmA") == {"QmA": (11, 0)}


def test_a_chain_that_went_back_and_on_again_before_anybody_looked_is_noticed(swarm: Swarm, ledger: Ledger) -> None:
    follower = Follower(swarm.contract, ledger, own_chain=True)
    swarm.reward("QmA", 0, 5)
    snapshot = swarm.rpc("evm_snapshot")
    swarm.advance()
    swarm.reward("QmA", 1, 6)
    follower.look()
    swarm.rpc("evm_revert", snapshot)
    swarm.vote("QmB", 0, "QmA")  # so that the new blocks aren't the old ones once more
    swarm.advance()
    swarm.reward("QmA", 1, 6)
    follower.look()
    assert sums(ledger) == {"QmA": (2, 11, 1)}


def test_another_chain_under_the_same_address_begins_a_new_ledger(tmp_path: Path, open_ledger: OpenLedger) -> None:
    key = tmp_path / "owner.key"
    with Devnet.start(tmp_path / "first", owner_key_file=key) as devnet:
        swarm = Swarm(devnet)
        address = swarm.contract.address
        ledger = open_ledger(chain_id=devnet.chain_id, contract=address)
        swarm.reward("QmA", 0, 5)
        swarm.reward("QmB", 0, 6)
        Follower(swarm.contract, ledger, own_chain=True).look()
    with Devnet.start(tmp_path / "second", owner_key_file=key) as devnet:
        swarm = Swarm(devnet)
        assert swarm.contract.address == address
        swarm.reward("QmC", 0, 7)
        Follower(swarm.contract, ledger, own_chain=True).look()
        assert sums(ledger) == {"QmC": (1, 7, 0)}


@pytest.mark.parametrize("change", [{"chain_id": 2}, {"contract": ACCOUNT}, {"is_new": True}], ids=str)
def test_another_contract_begins_a_new_ledger(open_ledger: OpenLedger, change: dict[str, Any]) -> None:
    before = open_ledger()
    before.record([reward("QmA", block=3)], upto=block(3))
    before.close()
    assert sums(open_ledger(**change)) == {}


def test_on_a_chain_of_others_only_confirmed_blocks_count(swarm: Swarm, ledger: Ledger) -> None:
    follower = Follower(swarm.contract, ledger, own_chain=False)
    swarm.reward("QmA", 0, 5)
    swarm.rpc("anvil_mine", hex(CONFIRMATIONS - 1))
    follower.look()
    assert sums(ledger) == {}
    swarm.rpc("anvil_mine", hex(1))
    follower.look()
    assert sums(ledger) == {"QmA": (1, 5, 0)}


def test_a_server_that_lags_behind_the_chain_makes_the_ledger_wait_and_forget_nothing(
    swarm: Swarm, ledger: Ledger
) -> None:
    follower = Follower(swarm.contract, ledger, own_chain=False)
    swarm.reward("QmA", 0, 5)
    snapshot = swarm.rpc("evm_snapshot")
    swarm.rpc("anvil_mine", hex(3 * CONFIRMATIONS))
    follower.look()
    swarm.rpc("evm_revert", snapshot)
    with pytest.raises(ChainUnavailable, match="behind what it said before"):
        follower.look()
    assert sums(ledger) == {"QmA": (1, 5, 0)}


def test_many_blocks_are_read_in_bounded_requests(
    swarm: Swarm, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rgym_exp.hub.follower.BLOCKS_AT_ONCE", 5)
    for round in range(8):
        swarm.reward("QmA", round, 1)
        swarm.advance()
    asked: list[tuple[int, int]] = []
    get_logs = swarm.contract.web3.eth.get_logs

    def noted(wanted: Any) -> Any:
        asked.append((wanted["fromBlock"], wanted["toBlock"]))
        return get_logs(wanted)

    monkeypatch.setattr(swarm.contract.web3.eth, "get_logs", noted)
    Follower(swarm.contract, ledger, own_chain=True).look()
    assert sums(ledger) == {"QmA": (8, 8, 0)}
    assert max(last - first + 1 for first, last in asked) == 5
    assert [first for first, _ in asked[1:]] == [last + 1 for _, last in asked[:-1]]


async def test_a_chain_that_is_away_is_waited_for_and_said_once(
    open_ledger: OpenLedger, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="rl_swarm.hub.follower")
    contract = SwarmContract(f"http://127.0.0.1:{free_port()}", CONTRACT)
    follower = Follower(contract, open_ledger(), own_chain=True, rest_seconds=0.01)
    looks = Counter[str]()
    look = follower.look
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()

    def counted() -> None:
        looks["made"] += 1
        if looks["made"] == 5:
            loop.call_soon_threadsafe(enough.set)
        look()

    follower.look = counted  # type: ignore[method-assign]
    task = asyncio.create_task(follower.run())
    await asyncio.wait_for(enough.wait(), 20)
    task.cancel()
    await asyncio.wait([task])
    assert len([record for record in caplog.records if "stands still" in record.message]) == 1
    assert follower.outage.trouble is not None and "doesn't answer" in follower.outage.trouble


# ------------------------------------------------------------------ the file


def reward(peer_id: str, *, block: int, round: int = 0, reward: int = 1, stage: int = 0, index: int = 0) -> RewardEvent:
    return RewardEvent(
        block=block,
        block_hash=f"0x{block}",
        log_index=index,
        account=ACCOUNT,
        peer_id=peer_id,
        round=round,
        stage=stage,
        reward=reward,
    )


def block(number: int) -> Block:
    return Block(number=number, hash=f"0x{number}")


def test_the_same_event_twice_counts_once(open_ledger: OpenLedger) -> None:
    ledger = open_ledger()
    events: list[ContractEvent] = [
        reward("QmA", block=3),
        VoteEvent(block=3, block_hash="0x3", log_index=1, winners=("QmA",)),
    ]
    ledger.record(events, upto=block(3))
    ledger.record(events, upto=block(4))
    assert sums(ledger) == {"QmA": (1, 1, 1)}


def test_several_stages_of_a_round_are_one_round(open_ledger: OpenLedger) -> None:
    ledger = open_ledger()
    events = [reward("QmA", block=number, stage=number % 3, round=number // 3) for number in range(6)]
    ledger.record(events, upto=block(9))
    assert sums(ledger) == {"QmA": (2, 6, 0)}


def test_what_blocks_added_can_be_taken_back(open_ledger: OpenLedger) -> None:
    ledger = open_ledger()
    ledger.record([reward("QmA", block=3), reward("QmA", block=5, round=1), reward("QmB", block=5)], upto=block(6))
    ledger.settle({"QmA": (2, 0), "QmB": (1, 0)})
    ledger.go_back_to(block(3))
    assert sums(ledger) == {"QmA": (1, 1, 0)}
    assert ledger.unsettled(9) == ["QmA"]
    assert ledger.cursor() == block(3)


def test_sums_stop_where_json_ends(open_ledger: OpenLedger) -> None:
    ledger = open_ledger()
    greedy = [reward("QmA", block=number, round=number, reward=MAX_AMOUNT) for number in range(JOURNAL_BLOCKS)]
    ledger.record(greedy, upto=block(JOURNAL_BLOCKS))
    assert sums(ledger)["QmA"] == (JOURNAL_BLOCKS, MAX_AMOUNT, 0)
    ledger.go_back_to(block(10))
    assert sums(ledger)["QmA"][0] == 11
    ledger.settle({"QmA": (2**200, 2**200)})
    assert sums(ledger)["QmA"] == (11, MAX_AMOUNT, MAX_AMOUNT)


def test_of_too_many_peers_those_that_took_part_least_are_forgotten(open_ledger: OpenLedger) -> None:
    ledger = open_ledger(max_peers=100)
    faithful = [reward("faithful", block=1, round=round, index=round) for round in range(3)]
    flood = [reward(f"made-up-{number:03}", block=2, round=3, index=number) for number in range(150)]
    ledger.record([*faithful, *flood], upto=block(2))
    assert ledger.peer_count() == 100
    assert sums(ledger)["faithful"] == (3, 3, 0)


def test_a_damaged_file_is_moved_aside(
    open_ledger: OpenLedger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database, and long enough to be looked at " * 50)
    ledger = open_ledger()
    assert sums(ledger) == {}
    assert "damaged" in caplog.text
    assert len(list(tmp_path.glob("ledger.sqlite.damaged-*"))) == 1


def test_a_file_that_cannot_be_written_is_said_in_a_sentence(open_ledger: OpenLedger, tmp_path: Path) -> None:
    ledger = open_ledger()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as other:
        other.execute("DROP TABLE journal")
    with pytest.raises(HubError, match="leaderboard's file .* can't be used"):
        ledger.record([reward("QmA", block=1)], upto=block(1))
    assert ledger.cursor() is None


# ------------------------------------------------------------------ events of strangers


def entry(topic: str, types: list[str], values: list[Any], **changes: Any) -> dict[str, Any]:
    """A log as web3 hands it over, with round 7 and stage 0 as indexed values."""
    word = HexBytes(b"\0" * 31 + b"\7")
    account = HexBytes(b"\0" * 12 + bytes.fromhex(ACCOUNT[2:]))
    return {
        "topics": [HexBytes(topic), account, word, HexBytes(b"\0" * 32)],
        "data": HexBytes(Web3().codec.encode(types, values)),
        "blockNumber": 3,
        "blockHash": HexBytes(b"\1" * 32),
        "logIndex": 2,
        **changes,
    }


def reward_entry(peer_id: bytes, amount: int = 5, **changes: Any) -> dict[str, Any]:
    return entry(reward_topic(), ["int256", "bytes"], [amount, peer_id], **changes)


def read(*entries: dict[str, Any]) -> tuple[list[Any], dict[str, int]]:
    dropped: Counter[str] = Counter()
    return read_events(Web3(), entries, dropped), dict(dropped)


def test_an_event_becomes_a_typed_value() -> None:
    events, dropped = read(reward_entry(b"QmA"))
    expected = RewardEvent(
        block=3,
        block_hash="0x" + "01" * 32,
        log_index=2,
        account=ACCOUNT,
        peer_id="QmA",
        round=7,
        stage=0,
        reward=5,
    )
    assert (events, dropped) == ([expected], {})


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        pytest.param(reward_entry(b""), "impossible peer id", id="empty"),
        pytest.param(reward_entry(b"Q" * 129), "impossible peer id", id="too long"),
        pytest.param(reward_entry(b"\x1b[31mred"), "impossible peer id", id="moves the cursor"),
        pytest.param(reward_entry(b"\xff\xfe"), "impossible peer id", id="no text at all"),
        pytest.param(reward_entry("Qmé".encode()), "impossible peer id", id="no ASCII"),
        pytest.param(reward_entry(b"[[[["), "impossible peer id", id="looks like nested JSON"),
        pytest.param(reward_entry(b"QmA", data=HexBytes(b"\0" * 31)), "not decodable", id="cut off"),
        pytest.param(reward_entry(b"QmA", topics=[HexBytes(reward_topic())]), "not decodable", id="topics missing"),
        pytest.param(
            reward_entry(b"QmA", topics=[HexBytes(reward_topic()), *[HexBytes(b"\xff" * 32)] * 3]),
            "impossible round",
            id="a round beyond all numbers",
        ),
    ],
)
def test_an_event_that_makes_no_sense_is_dropped_and_counted(log: dict[str, Any], reason: str) -> None:
    assert read(log, reward_entry(b"QmB"))[1] == {reason: 1}


@pytest.mark.parametrize("amount", [2**255 - 1, -(2**255)])
def test_a_reward_beyond_all_numbers_is_bounded(amount: int) -> None:
    (event,), _ = read(reward_entry(b"QmA", amount))
    assert abs(event.reward) == MAX_AMOUNT


def test_of_a_vote_the_possible_winners_count() -> None:
    names = [b"QmA", b"\xff", b"Q" * 200, b"", b"QmB"]
    (event,), dropped = read(entry(winner_topic(), ["bytes", "bytes[]"], [b"\xff\xff", names]))
    assert (event.winners, dropped) == (("QmA", "QmB"), {})
