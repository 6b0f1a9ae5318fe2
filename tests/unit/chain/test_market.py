"""The prediction market as a node with a key of its own sees it: real contract, real chain, and the same in memory."""

from __future__ import annotations

import logging

import pytest
from eth_account import Account

from rgym_exp.chain.coordinator import ChainError, ChainUnavailable
from rgym_exp.chain.deploy import deploy_market
from rgym_exp.chain.factory import make_coordinator
from rgym_exp.chain.market import ONE_TOKEN, GameResult
from rgym_exp.chain.offline import OfflineCoordinator
from simulation.memory_chain import MemoryChain
from simulation.memory_market import MemoryMarket
from tests.support.earlier_market import hide_views

NO_CODE = "0x" + 40 * "9"


@pytest.fixture
def make_player(make_node, games):
    """Makes nodes that see the market."""
    return lambda **options: make_node(market_address=games.address, **options)


@pytest.fixture
def player(make_player, wait_until):
    """A node whose peer QmA is registered, in a game of three clues and three choices."""
    node = make_player()
    node.register("QmA")
    wait_until(lambda: node.pending() == 0)
    return node


@pytest.fixture
def game(games):
    return games.create_game(3, 3, bytes(32))


def settled(*nodes):
    return lambda: all(node.pending() == 0 for node in nodes)


def bet(node, game, clue=0, *, choice=0, stake=5 * ONE_TOKEN, peer_id="QmA"):
    return node.market.place_bet(game=game, clue=clue, choice=choice, stake=stake, peer_id=peer_id)


def bet_on(node, game, clue=0, *, peer_id="QmA"):
    return node.market.bet_on(game=game, clue=clue, peer_id=peer_id)


def claim_of(node, game):
    return next(each for each in node.transactions(100) if each.kind == "claim" and each.round == game)


class OnChain:
    """Whoever runs the games on the real contract."""

    def __init__(self, games):
        self._games = games
        self.game = 0

    def new_game(self, rounds, choices):
        self.game = self._games.create_game(rounds, choices, bytes(32))
        return self.game

    def next_clue(self):
        self._games.increment_round(self.game)

    def reveal(self, choice):
        self._games.reveal(self.game, choice)

    def cancel(self):
        self._games.cancel(self.game)


def play(host, anna, ben, settle):
    """A script that meets each rule once, as two nodes would; what they see on the way and at the end."""
    seen = []

    def look(*games):
        settle()
        for peer in ("QmA", "QmB", "QmC"):
            seen.append(anna.market.balance(peer))
            seen.extend(anna.market.result(game=game, peer_id=peer) for game in games)

    look()
    anna.register("QmA")
    ben.register("QmB")
    look()
    first = host.new_game(2, 3)
    assert bet(anna, first, choice=0, stake=7 * ONE_TOKEN + 1) is True
    assert bet(anna, first, choice=1, stake=ONE_TOKEN) is False
    bet(ben, first, choice=1, stake=90 * ONE_TOKEN, peer_id="QmB")
    anna.market.claim(game=first, peer_id="QmA")  # too early
    look(first)
    host.next_clue()
    bet(anna, first, 1, choice=0, stake=10**17 + 3)
    bet(ben, first, 1, choice=0, stake=10 * ONE_TOKEN, peer_id="QmB")
    settle()
    bet(ben, first, 0, choice=0, stake=1, peer_id="QmB")  # in the outbox already
    bet(ben, first, 2, choice=0, stake=1, peer_id="QmB")  # no such clue
    host.reveal(0)
    look(first)
    for node, peer in ((anna, "QmA"), (ben, "QmB"), (ben, "QmA")):
        node.market.claim(game=first, peer_id=peer)
    look(first)
    second = host.new_game(2, 2)
    bet(anna, second, 0, choice=5)
    bet(ben, second, 0, choice=1, stake=10**6 * ONE_TOKEN, peer_id="QmB")
    settle()
    host.next_clue()
    bet(anna, second, 1, choice=0, stake=1)  # buys nothing at the second clue's price
    bet(ben, second, 1, choice=1, stake=10 * ONE_TOKEN, peer_id="QmB")
    bet(ben, 99, 0, peer_id="QmB")
    look(second, 99)
    host.reveal(0)
    for node, peer in ((anna, "QmA"), (ben, "QmB")):
        node.market.claim(game=second, peer_id=peer)
    look(second)
    third = host.new_game(1, 2)
    look(third)
    bet(ben, third, choice=1, stake=3 * ONE_TOKEN, peer_id="QmB")
    settle()
    host.cancel()
    ben.market.claim(game=third, peer_id="QmB")
    bet(anna, third, choice=1)
    look(third)
    writes = [
        {(each.kind, each.round, each.stage, each.status, each.detail) for each in node.transactions(100)}
        for node in (anna, ben)
    ]
    bets = [node.market.bet_on(game=first, clue=1, peer_id=peer) for node, peer in ((anna, "QmA"), (ben, "QmB"))]
    claims = [anna.market.claim_status(game=game, peer_id="QmA") for game in (first, second, third)]
    return seen, writes, bets, claims


def test_memory_follows_the_same_rules_as_the_contract(games, make_player, wait_until):
    memory = MemoryChain()
    in_memory = play(memory, memory.coordinator("0xAnna"), memory.coordinator("0xBen"), lambda: None)
    nodes = anna, ben = [make_player(name=name) for name in ("anna", "ben")]
    on_chain = play(OnChain(games), anna, ben, lambda: wait_until(settled(*nodes)))
    for each, (remembered, real) in enumerate(zip(in_memory, on_chain, strict=True)):
        if each == 1:  # Ben's claim of Anna's peer names accounts, which differ.
            remembered, real = [
                [{row for row in rows if row[:2] != ("claim", 0)} for rows in both] for both in (remembered, real)
            ]
        assert remembered == real


# -------------------------------------------------------------------------------------------------------------- a game


def test_two_peers_on_different_choices_are_paid_by_the_rule(games, game, make_player, bets_on_chain, wait_until):
    anna, ben = make_player(name="anna"), make_player(name="ben")
    anna.register("QmA")
    ben.register("QmB")
    bet(anna, game, choice=0, stake=20 * ONE_TOKEN)
    bet(ben, game, choice=1, stake=30 * ONE_TOKEN, peer_id="QmB")
    wait_until(settled(anna, ben))
    games.increment_round(game)
    bet(anna, game, 1, choice=1, stake=10 * ONE_TOKEN)
    bet(ben, game, 1, choice=0, stake=7 * ONE_TOKEN, peer_id="QmB")
    wait_until(settled(anna, ben))
    assert anna.market.balance("QmA") == 70 * ONE_TOKEN
    assert anna.market.result(game=game, peer_id="QmA") == GameResult(status="open", correct_choice=None, payout=None)
    assert bets_on_chain("QmA") == [(game, 0, 0, 20 * ONE_TOKEN), (game, 1, 1, 10 * ONE_TOKEN)]
    assert bet_on(anna, game).status == bet_on(ben, game, 1, peer_id="QmB").status == "confirmed"

    games.reveal(game, 0)
    # Tokens of choice 0: Anna 20 at price 1, Ben 7 at price 2 = 3.5. Lost: 30 + 10.
    lost, supply = 40 * ONE_TOKEN, 47 * ONE_TOKEN // 2
    for node, peer, staked, tokens in (
        (anna, "QmA", 20 * ONE_TOKEN, 20 * ONE_TOKEN),
        (ben, "QmB", 7 * ONE_TOKEN, 7 * ONE_TOKEN // 2),
    ):
        before = node.market.balance(peer)
        paid = staked + tokens * lost // supply
        assert node.market.result(game=game, peer_id=peer) == GameResult(
            status="revealed", correct_choice=0, payout=paid
        )
        assert node.market.claim_status(game=game, peer_id=peer) is None
        node.market.claim(game=game, peer_id=peer)
        wait_until(settled(node))
        assert node.market.claim_status(game=game, peer_id=peer) == "confirmed"
        assert node.market.balance(peer) == before + paid


def test_a_lost_game_costs_no_transaction_to_claim(chain, games, game, make_player, wait_until):
    account = Account.create()
    node = make_player(account=account)
    node.register("QmA")
    bet(node, game)
    wait_until(settled(node))
    other = make_player(name="other")
    other.register("QmB")
    bet(other, game, choice=1, peer_id="QmB")
    wait_until(settled(other))
    games.reveal(game, 1)
    made = chain.person(account).transactions_made()
    node.market.claim(game=game, peer_id="QmA")
    wait_until(settled(node))
    assert (claim_of(node, game).status, claim_of(node, game).hash) == ("confirmed", None)
    assert claim_of(node, game).detail.startswith("nothing to claim: ")
    assert chain.person(account).transactions_made() == made
    assert node.market.result(game=game, peer_id="QmA").payout == 0


def test_a_claim_before_the_answer_is_refused_and_may_be_owed_once_more(games, game, player, wait_until):
    bet(player, game)
    player.market.claim(game=game, peer_id="QmA")
    wait_until(settled(player))
    assert player.market.claim_status(game=game, peer_id="QmA") == "refused"
    assert claim_of(player, game).detail == "GameStillOpen: the game isn't over yet, so nothing can be claimed"
    games.reveal(game, 0)
    player.market.claim(game=game, peer_id="QmA")
    wait_until(settled(player))
    assert player.market.claim_status(game=game, peer_id="QmA") == "confirmed"
    player.market.claim(game=game, peer_id="QmA")
    assert player.pending() == 0
    assert player.market.balance("QmA") == 100 * ONE_TOKEN


def test_a_cancelled_game_gives_everything_back(games, game, player, wait_until):
    bet(player, game)
    wait_until(settled(player))
    games.cancel(game)
    result = player.market.result(game=game, peer_id="QmA")
    assert result == GameResult(status="abandoned", correct_choice=None, payout=5 * ONE_TOKEN)
    player.market.claim(game=game, peer_id="QmA")
    wait_until(settled(player))
    assert player.market.balance("QmA") == 100 * ONE_TOKEN


# --------------------------------------------------------------------------------------------------------------- bets


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"clue": 0}, "InvalidRound: the clue was over before the bet arrived"),
        ({"game": 9}, "GameNotFound: the market has no such game"),
        ({"choice": 3}, "InvalidChoice: the game has no such choice"),
        ({"stake": 1}, "InvalidBet: the stake is too small to buy anything"),
        ({"stake": 101 * ONE_TOKEN}, "InsufficientBalance: the stake is more than the peer has"),
        ({"stake": 2**256 - 1}, "InsufficientBalance: the stake is more than the peer has"),
    ],
)
def test_a_refused_bet_is_told_in_a_sentence_and_never_sent_again(games, game, player, wait_until, wrong, sentence):
    games.increment_round(game)
    bet(player, **{"game": game, "clue": 1, **wrong})
    wait_until(settled(player))
    refused = bet_on(player, wrong.get("game", game), wrong.get("clue", 1))
    assert (refused.status, refused.detail) == ("refused", sentence)
    assert bet(player, **{"game": game, "clue": 1, **wrong}) is False
    assert player.pending() == 0
    assert player.market.balance("QmA") == 100 * ONE_TOKEN


def test_a_bet_that_comes_after_the_answer_is_refused(games, game, player, wait_until):
    games.reveal(game, 0)
    bet(player, game)
    wait_until(settled(player))
    assert bet_on(player, game).detail == "GameNotOpen: the game was over before the bet arrived"


@pytest.mark.parametrize(
    "wrong", [{"stake": 0}, {"stake": -1}, {"stake": 2**256}, {"game": 2**63}, {"clue": -1}, {"choice": 2**63}]
)
def test_a_bet_that_can_not_be_is_a_mistake_of_the_caller(player, wrong):
    for market in (player.market, MemoryChain().coordinator("0xA").market):
        with pytest.raises(ValueError, match="there is no|can't be staked"):
            market.place_bet(**{"game": 0, "clue": 0, "choice": 0, "stake": 1, "peer_id": "QmA", **wrong})
    assert player.pending() == 0


@pytest.mark.parametrize("number", [-1, 2**63, 2**300])
def test_a_game_that_can_not_be_is_unknown(player, number):
    for market in (player.market, MemoryChain().coordinator("0xA").market):
        assert market.result(game=number, peer_id="QmA").status == "unknown"
        assert market.bet_on(game=number, clue=0, peer_id="QmA") is None
        assert market.claim_status(game=number, peer_id="QmA") is None
        with pytest.raises(ValueError, match="there is no game"):
            market.claim(game=number, peer_id="QmA")


def test_a_bet_and_a_claim_that_another_home_made_count_as_confirmed(
    games, game, make_player, bets_on_chain, wait_until
):
    account = Account.create()
    one, two = (make_player(name=name, account=account) for name in ("one", "two"))
    one.register("QmA")
    bet(one, game)
    wait_until(settled(one))
    bet(two, game, choice=2, stake=ONE_TOKEN)
    wait_until(settled(two))
    assert (bet_on(two, game).status, bet_on(two, game).detail) == ("confirmed", "was on chain already")
    assert bets_on_chain("QmA") == [(game, 0, 0, 5 * ONE_TOKEN)]
    games.reveal(game, 0)
    for node in (one, two):
        node.market.claim(game=game, peer_id="QmA")
        wait_until(settled(node))
        assert claim_of(node, game).status == "confirmed"
    assert one.market.balance("QmA") == 100 * ONE_TOKEN


def test_a_bet_waits_for_the_registration(game, make_player, bets_on_chain, wait_until):
    node = make_player()
    bet(node, game)  # owed first, and of a peer that nobody has registered
    node.register("QmA")
    wait_until(settled(node))
    assert bet_on(node, game).status == "confirmed"
    assert bets_on_chain("QmA") == [(game, 0, 0, 5 * ONE_TOKEN)]


def test_bets_for_someone_elses_peer_are_refused_with_the_two_ways_out(game, player, make_player, wait_until, caplog):
    stranger = make_player(name="stranger")
    with caplog.at_level(logging.WARNING, logger="rl_swarm.chain"):
        bet(stranger, game)
        wait_until(lambda: "The bet on clue 0 of game 0 was refused" in caplog.text)
    assert bet_on(stranger, game).status == "refused"
    assert player.account in bet_on(stranger, game).detail
    assert "swarm.pem" in bet_on(stranger, game).detail


# ------------------------------------------------------------------------------------------------------------- balance


def test_bets_on_their_way_are_not_there_to_be_bet_again(game, make_player, faulty_rpc, wait_until):
    node = make_player(rpc_url=faulty_rpc.url)
    node.register("QmA")
    wait_until(settled(node))
    faulty_rpc.mode = "lose"
    bet(node, game, stake=30 * ONE_TOKEN)
    assert faulty_rpc.swallowed.wait(10)
    assert node.market.balance("QmA") == 70 * ONE_TOKEN
    bet(node, game, 1, stake=90 * ONE_TOKEN)
    assert node.market.balance("QmA") == 0
    faulty_rpc.mode = "pass"
    faulty_rpc.released.set()
    wait_until(settled(node))
    assert node.market.balance("QmA") == 70 * ONE_TOKEN


def test_a_bet_that_is_settled_while_the_balance_is_asked_for_is_not_forgotten(
    game, make_player, market_contract, faulty_rpc, wait_until
):
    selector = market_contract.contract.encode_abi("betTokenBalance", ["QmA"])[:10]
    node = make_player(rpc_url=faulty_rpc.url)
    node.register("QmA")
    wait_until(settled(node))
    faulty_rpc.mode = "lose"
    bet(node, game, stake=30 * ONE_TOKEN)
    assert faulty_rpc.swallowed.wait(10)
    answer = faulty_rpc.answer

    def settle_first(body):
        if selector in body.decode():
            faulty_rpc.mode = "pass"
            faulty_rpc.released.set()
            wait_until(settled(node))
        return answer(body)

    faulty_rpc.answer = settle_first
    assert node.market.balance("QmA") == 40 * ONE_TOKEN  # 30 too few, for one moment
    assert node.market.balance("QmA") == 70 * ONE_TOKEN


# ------------------------------------------------------------------------------------------------------------ failures


@pytest.mark.parametrize("mode", ["away", "garbage", "refuse"])
def test_bets_outlast_a_chain_that_is_away(game, make_player, bets_on_chain, faulty_rpc, wait_until, mode):
    faulty_rpc.mode = mode
    node = make_player(rpc_url=faulty_rpc.url)
    node.register("QmA")
    bet(node, game)
    for ask in (lambda: node.market.balance("QmA"), lambda: node.market.result(game=game, peer_id="QmA")):
        with pytest.raises(ChainUnavailable):
            ask()
    assert bet_on(node, game).status == "waiting"
    faulty_rpc.mode = "pass"
    wait_until(settled(node))
    assert bets_on_chain("QmA") == [(game, 0, 0, 5 * ONE_TOKEN)]


def test_a_bet_that_waits_while_its_node_ends_is_made_by_the_next_run(
    game, make_player, bets_on_chain, faulty_rpc, wait_until
):
    account = Account.create()
    faulty_rpc.mode = "away"
    before = make_player(account=account, rpc_url=faulty_rpc.url)
    before.register("QmA")
    bet(before, game, choice=2)
    before.close()
    after = make_player(account=account)
    assert bet(after, game, choice=1) is False
    wait_until(settled(after))
    assert bets_on_chain("QmA") == [(game, 0, 2, 5 * ONE_TOKEN)]


def test_nothing_is_sent_to_an_address_without_a_market_and_rewards_go_on(chain, make_node, wait_until):
    account = Account.create()
    node = make_node(account=account, market_address=NO_CODE)
    node.register("QmA")
    bet(node, 0)
    node.submit_reward(round=0, stage=0, reward=5, peer_id="QmA")
    wait_until(settled(node))
    assert bet_on(node, 0).status == "refused"
    assert f"there is no PredictionMarket at {NO_CODE}" in bet_on(node, 0).detail
    assert chain.person(account).transactions_made() == 2
    assert node.peer_totals("QmA").total_reward == 5
    for ask in (lambda: node.market.balance("QmA"), lambda: node.market.result(game=0, peer_id="QmA")):
        with pytest.raises(ChainError, match="There is no PredictionMarket.*network.prg_address") as caught:
            ask()
        assert not isinstance(caught.value, ChainUnavailable)


def test_an_address_that_is_none_is_told_at_the_start(make_node):
    with pytest.raises(ChainError, match="isn't a contract address"):
        make_node(market_address="the market")


def test_a_bet_goes_to_the_market_that_it_was_owed_to(
    chain, game, make_node, make_player, bets_on_chain, faulty_rpc, wait_until
):
    account = Account.create()
    faulty_rpc.mode = "away"
    before = make_player(account=account, rpc_url=faulty_rpc.url)
    before.register("QmA")
    bet(before, game)
    before.close()
    newer = deploy_market(chain.devnet.rpc_url, chain.devnet.owner, chain.address)
    after = make_node(account=account, market_address=newer.address)
    assert after.market.address == newer.address
    wait_until(settled(after))
    assert bets_on_chain("QmA") == [(game, 0, 0, 5 * ONE_TOKEN)]
    assert bet_on(after, game) is None
    assert after.market.balance("QmA") == 100 * ONE_TOKEN


@pytest.mark.parametrize("answer", ["a revert", "nothing"])
def test_an_earlier_deployment_tells_no_payout(
    games, game, make_player, market_contract, faulty_rpc, wait_until, answer
):
    node = make_player(rpc_url=faulty_rpc.url)
    node.register("QmA")
    bet(node, game)
    wait_until(settled(node))
    games.reveal(game, 0)
    hide_views(faulty_rpc, market_contract, answer)
    assert node.market.result(game=game, peer_id="QmA") == GameResult(
        status="revealed", correct_choice=None, payout=None
    )
    node.market.claim(game=game, peer_id="QmA")
    wait_until(settled(node))
    assert node.market.claim_status(game=game, peer_id="QmA") == "confirmed"


@pytest.mark.parametrize("is_earlier", [True, False])
def test_a_bet_whose_transaction_seems_replaced_is_sent_anew_only_where_the_market_says_it_has_none(
    chain, game, make_player, market_contract, bets_on_chain, faulty_rpc, wait_until, is_earlier
):
    """Another machine takes the number of the transaction on its way, so the chain will never execute it."""
    account = Account.create()
    node = make_player(account=account, rpc_url=faulty_rpc.url)
    node.register("QmA")
    wait_until(settled(node))
    if is_earlier:
        hide_views(faulty_rpc, market_contract)
    faulty_rpc.mode = "lose"
    bet(node, game)
    assert faulty_rpc.swallowed.wait(10)
    chain.person(account).do("registerPeer", "QmOtherMachine")
    faulty_rpc.mode = "pass"
    faulty_rpc.released.set()
    wait_until(settled(node))
    if is_earlier:
        assert bet_on(node, game).status == "refused"
        assert "a bet isn't sent twice" in bet_on(node, game).detail
        assert bets_on_chain("QmA") == []
    else:
        assert bet_on(node, game).status == "confirmed"
        assert bets_on_chain("QmA") == [(game, 0, 0, 5 * ONE_TOKEN)]


# ------------------------------------------------------------------------------------------------- who has a market


def test_only_a_coordinator_that_is_told_of_a_market_has_one(chain, games, make_node, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert make_node().market is None
    assert OfflineCoordinator().market is None
    node = make_coordinator(
        "wallet",
        rpc_url=chain.devnet.rpc_url,
        contract_address=chain.address,
        chain_id=chain.devnet.chain_id,
        key_file=tmp_path / "state" / "account.key",
        outbox_path=tmp_path / "state" / "outbox.sqlite",
        market_address=games.address.lower(),
    )
    assert node.market.address == games.address
    node.close()


def test_memory_has_a_market_and_can_be_away():
    chain = MemoryChain()
    node = chain.coordinator("0xAnna")
    assert isinstance(node.market, MemoryMarket)
    chain.available = False
    for ask in (lambda: node.market.balance("QmA"), lambda: node.market.result(game=0, peer_id="QmA")):
        with pytest.raises(ChainUnavailable):
            ask()


def test_memorys_tokens_cost_one_more_with_every_clue():
    chain = MemoryChain()
    node, early, late = (chain.coordinator(f"0x{name}") for name in ("Loser", "Early", "Late"))
    for each, peer in ((node, "QmL"), (early, "QmE"), (late, "QmT")):
        each.register(peer)
    game = chain.new_game(3, 2)
    bet(node, game, choice=1, stake=100 * ONE_TOKEN, peer_id="QmL")
    bet(early, game, choice=0, stake=12 * ONE_TOKEN, peer_id="QmE")
    chain.next_clue()
    bet(early, game, 1, choice=0, stake=12 * ONE_TOKEN, peer_id="QmE")
    chain.next_clue()
    bet(late, game, 2, choice=0, stake=6 * ONE_TOKEN, peer_id="QmT")
    chain.reveal(0)
    # Early has 12 / 1 + 12 / 2 = 18 tokens of the answer for 24, late 6 / 3 = 2 for 6; 100 were lost to them.
    assert chain.market.games[game].tokens == {
        ("QmL", 1): 100 * ONE_TOKEN, ("QmE", 0): 18 * ONE_TOKEN, ("QmT", 0): 2 * ONE_TOKEN,
    }  # fmt: skip
    payouts = [node.market.result(game=game, peer_id=peer).payout for peer in ("QmE", "QmT", "QmL")]
    assert payouts == [(24 + 90) * ONE_TOKEN, (6 + 10) * ONE_TOKEN, 0]


def test_memory_games_go_on_as_their_owner_says():
    chain = MemoryChain()
    for step in (chain.next_clue, chain.cancel, lambda: chain.reveal(0)):
        with pytest.raises(ValueError, match="no game is open"):
            step()
    assert (chain.new_game(2, 2), chain.new_game(2, 2)) == (0, 1)
    chain.next_clue()
    with pytest.raises(ValueError, match="no further clue"):
        chain.next_clue()
    with pytest.raises(ValueError, match="no such choice"):
        chain.reveal(2)
    chain.reveal(1)
    assert chain.market.games[1].answer == 1
