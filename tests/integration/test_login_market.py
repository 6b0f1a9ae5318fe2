"""A player of the prediction market whose account the real login server keeps: bets, claims, and a server that dies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rgym_exp.chain.deploy import MarketOwner, OwnerClient, deploy_coordinator, deploy_market
from rgym_exp.chain.devnet import Devnet
from rgym_exp.chain.market import ONE_TOKEN, Market
from rgym_exp.chain.market_contract import MarketContract
from rgym_exp.chain.modal import ModalCoordinator
from tests.support.login_server import LoginServerProcess
from tests.support.processes import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PEER = "QmAda"


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    with Devnet.start(tmp_path_factory.mktemp("devnet")) as running:
        yield running


@pytest.fixture
def games(devnet: Devnet) -> MarketOwner:
    """A market beside a coordinator of the test's own, in the hands of who runs its games."""
    swarm = deploy_coordinator(devnet.rpc_url, devnet.owner)
    market = deploy_market(devnet.rpc_url, devnet.owner, swarm.address)
    owner = OwnerClient(devnet.rpc_url, swarm.address, devnet.owner)
    return MarketOwner(devnet.rpc_url, market.address, devnet.owner, one_at_a_time=owner.one_at_a_time)


@pytest.fixture
def market_contract(devnet: Devnet, games: MarketOwner) -> MarketContract:
    return MarketContract(devnet.rpc_url, games.address)


@pytest.fixture
def server(devnet: Devnet, market_contract: MarketContract, tmp_path: Path) -> Iterator[LoginServerProcess]:
    with LoginServerProcess(
        tmp_path / "login",
        rpc_url=devnet.rpc_url,
        chain_id=devnet.chain_id,
        contract_address=market_contract.coordinator(),
        market_address=market_contract.address,
    ) as running:
        running.log_in("ada@example.org")
        yield running


@pytest.fixture
def node(
    devnet: Devnet, market_contract: MarketContract, server: LoginServerProcess, tmp_path: Path
) -> Iterator[ModalCoordinator]:
    """A node whose peer is registered."""
    made = ModalCoordinator(
        rpc_url=devnet.rpc_url,
        contract_address=market_contract.coordinator(),
        chain_id=devnet.chain_id,
        login_url=server.url,
        token_file=server.token_file,
        outbox_path=tmp_path / "outbox.sqlite",
        market_address=market_contract.address,
    )
    made.register(PEER)
    wait_for(lambda: made.pending() == 0, what="the registration")
    yield made
    made.close()


def market_of(node: ModalCoordinator) -> Market:
    assert node.market is not None
    return node.market


def bets_on_chain(market_contract: MarketContract) -> list[tuple[int, int, int, int]]:
    """Game, clue, choice and stake of every bet, as the chain's log has them."""
    found = market_contract.contract.events.NewGuess().get_logs(from_block=0)
    return [tuple(each["args"][name] for name in ("game", "round", "choice", "bet")) for each in found]


def test_a_game_is_played_through_the_login_server(
    games: MarketOwner, market_contract: MarketContract, node: ModalCoordinator
) -> None:
    market = market_of(node)
    game = games.create_game(2, 2, bytes(32))
    stake = 99 * ONE_TOKEN + 1  # more digits than a number of JSON keeps
    market.place_bet(game=game, clue=0, choice=1, stake=stake, peer_id=PEER)
    market.claim(game=game, peer_id=PEER)
    wait_for(lambda: node.pending() == 0, what="bet and claim to be settled")
    assert bets_on_chain(market_contract) == [(game, 0, 1, stake)]
    assert market.balance(PEER) == ONE_TOKEN - 1
    assert market.claim_status(game=game, peer_id=PEER) == "refused"  # too early
    games.increment_round(game)
    games.reveal(game, 1)
    market.claim(game=game, peer_id=PEER)
    wait_for(lambda: node.pending() == 0, what="the claim to be settled")
    assert market.claim_status(game=game, peer_id=PEER) == "confirmed"
    assert market.balance(PEER) == 100 * ONE_TOKEN


def test_the_markets_refusals_arrive_by_name(games: MarketOwner, node: ModalCoordinator) -> None:
    market = market_of(node)
    game = games.create_game(2, 2, bytes(32))
    games.increment_round(game)
    market.place_bet(game=game, clue=0, choice=1, stake=ONE_TOKEN, peer_id=PEER)
    wait_for(lambda: node.pending() == 0, what="the bet to be settled")
    bet = market.bet_on(game=game, clue=0, peer_id=PEER)
    assert bet is not None
    assert (bet.status, bet.detail) == ("refused", "InvalidRound: the clue was over before the bet arrived")


def test_a_server_that_dies_with_a_bet_in_its_hands_leads_to_one_bet(
    games: MarketOwner, market_contract: MarketContract, server: LoginServerProcess, node: ModalCoordinator
) -> None:
    market = market_of(node)
    made = []
    for _ in range(3):
        game = games.create_game(1, 2, bytes(32))
        market.place_bet(game=game, clue=0, choice=1, stake=ONE_TOKEN, peer_id=PEER)
        wait_for(lambda: node.transactions(1)[0].status != "waiting", what="the bet to be handed over")
        server.kill()
        server.start()
        wait_for(lambda: node.pending() == 0, what="the bet to be settled")
        made.append((game, 0, 1, ONE_TOKEN))
        assert bets_on_chain(market_contract) == made
        bet = market.bet_on(game=game, clue=0, peer_id=PEER)
        assert bet is not None and bet.status == "confirmed"
