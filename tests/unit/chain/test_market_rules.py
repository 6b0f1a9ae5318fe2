"""The prediction market's rules, one by one, on a real chain. Random play is in test_market_play.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_utils.address import to_checksum_address

from rgym_exp.chain.contract import Reverted, artifact, error_selectors
from rgym_exp.chain.coordinator import ChainError
from rgym_exp.chain.devnet import Devnet
from rgym_exp.chain.transactions import Transactor
from tests.support.compiler import compiled_for_tests
from tests.support.market_table import DAY, TOKEN, MarketTable, account_of

NOBODY = "0x" + 40 * "0"
STRANGER = account_of("a stranger")


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    """A chain of this file's own, because its clock is put forward."""
    with Devnet.start(tmp_path_factory.mktemp("market-devnet")) as running:
        yield running


@pytest.fixture
def table(devnet: Devnet) -> MarketTable:
    """A market with the peers A, B and C, each of an account of its own."""
    table = MarketTable(devnet)
    table.register("A", "B", "C")
    return table


# --------------------------------------------------------------------------------------------------------------- owner


def test_a_game_begins_in_its_first_round_with_what_it_commits_to(table):
    root = bytes(range(32))
    receipt = table.do(table.owner, "createNewGame", 5, 3, root)
    (created,) = table.events(receipt, "NewGameCreated")
    assert created == {"game": 0, "roundCount": 5, "choiceCount": 3, "startTime": table.now()}
    assert table.market.status(0) == "open"
    assert [table.read(view, 0) for view in ("roundCount", "choiceCount", "currentRoundIdx")] == [5, 3, 0]
    assert table.read("merkleRoot", 0) == root
    assert table.new_game() == 1
    assert table.market.game_count() == 2


def test_only_the_owner_runs_games(table):
    table.new_game()
    for function, *arguments in (
        ("createNewGame", 4, 4, 32 * b"\1"),
        ("incrementRound", 0),
        ("revealAnswer", 0, 1, 0),
        ("cancelGame", 0),
    ):
        assert table.refusal(STRANGER, function, *arguments) == "OwnableUnauthorizedAccount"
    assert table.market.owner() == table.owner


def test_a_game_has_bounded_rounds_and_choices(table):
    for rounds, choices in ((0, 4), (65, 4), (4, 1), (4, 65), (2**255, 4), (4, 2**255)):
        assert table.refusal(table.owner, "createNewGame", rounds, choices, 32 * b"\1") == "InvalidGame"
    for rounds, choices in ((1, 2), (64, 64)):
        table.new_game(rounds, choices)


def test_clues_come_until_the_last_round(table):
    game = table.new_game(rounds=3)
    for clue in (1, 2):
        receipt = table.do(table.owner, "incrementRound", game)
        assert table.events(receipt, "RoundIncremented") == [{"game": game, "timestamp": table.now()}]
        assert table.market.current_round(game) == clue
    assert table.refusal(table.owner, "incrementRound", game) == "InvalidRound"


def test_the_answer_is_told_once_and_is_one_of_the_choices(table):
    game = table.new_game(choices=3)
    with pytest.raises(ChainError, match="GameStillOpen"):
        table.read("correctChoice", game)
    assert table.refusal(table.owner, "revealAnswer", game, 3, 0) == "InvalidChoice"
    receipt = table.do(table.owner, "revealAnswer", game, 2, 77)
    assert table.events(receipt, "AnswerRevealed") == [{"game": game, "correctChoice": 2, "jobId": 77}]
    assert (table.market.status(game), table.read("correctChoice", game)) == ("revealed", 2)
    for function, *arguments in (("revealAnswer", 1, 0), ("incrementRound",), ("cancelGame",)):
        assert table.refusal(table.owner, function, game, *arguments) == "GameNotOpen"


def test_a_cancelled_game_is_abandoned_for_good(table):
    game = table.new_game()
    receipt = table.do(table.owner, "cancelGame", game)
    assert table.events(receipt, "GameCancelled") == [{"game": game}]
    assert table.market.status(game) == "abandoned"
    assert table.refusal(table.owner, "revealAnswer", game, 1, 0) == "GameNotOpen"
    assert table.refusal(table.owner, "cancelGame", game) == "GameNotOpen"
    with pytest.raises(ChainError, match="GameNotOpen"):
        table.read("correctChoice", game)


def test_a_game_that_is_left_alone_for_a_day_is_abandoned_to_the_second(table):
    game = table.new_game()
    begun = table.now()
    table.rpc("evm_setNextBlockTimestamp", begun + DAY - 1)
    assert table.send(account_of("A"), "guessAnswer", game, "A", 0, 1, 5 * TOKEN)["status"] == 1
    table.rpc("evm_setNextBlockTimestamp", begun + DAY)
    assert table.send(account_of("B"), "guessAnswer", game, "B", 0, 1, 5 * TOKEN)["status"] == 0
    assert table.market.status(game) == "abandoned"
    assert table.refusal(account_of("B"), "guessAnswer", game, "B", 0, 1, TOKEN) == "GameNotOpen"
    assert table.refusal(table.owner, "incrementRound", game) == "GameNotOpen"
    assert table.refusal(table.owner, "revealAnswer", game, 1, 0) == "GameNotOpen"
    assert table.claim(game, "A") == 5 * TOKEN


def test_each_clue_is_a_sign_of_life(table):
    game = table.new_game(rounds=3)
    for _ in range(2):
        table.wait(DAY - 60)
        table.next_clue(game)
    table.wait(DAY - 60)
    assert table.market.status(game) == "open"
    table.reveal(game, 0)
    table.wait(2 * DAY)
    assert table.market.status(game) == "revealed"


def test_a_market_needs_a_coordinator_that_is_a_contract_and_an_owner(table):
    compiled = artifact("PredictionMarket")
    factory = table.market.web3.eth.contract(abi=compiled["abi"], bytecode=compiled["bytecode"])
    deployer = Transactor(table.market, Account.create())
    for coordinator, owner, error in (
        (STRANGER, table.owner, "InvalidCoordinator"),
        (table.swarm.address, NOBODY, "OwnableInvalidOwner"),
    ):
        with pytest.raises(Reverted, match=error):
            deployer.execute(factory.constructor(coordinator, owner))
    assert table.market.coordinator() == table.swarm.address


# ---------------------------------------------------------------------------------------------------------------- bets


def test_a_bet_buys_tokens_at_the_rounds_price_and_is_told(table):
    game = table.new_game()
    table.bet(game, "A", choice=3, bet=9 * TOKEN)
    table.next_clue(game)
    table.next_clue(game)
    receipt = table.bet(game, "A", round=2, choice=3, bet=10 * TOKEN)
    assert table.events(receipt, "NewGuess") == [
        {"game": game, "caller": account_of("A"), "peerId": "A", "round": 2, "choice": 3, "bet": 10 * TOKEN}
    ]
    assert [table.read("price", game, round, 3) for round in range(4)] == [TOKEN, 2 * TOKEN, 3 * TOKEN, 4 * TOKEN]
    bought = 10 * TOKEN // 3
    assert table.read("choiceTokensOut", game, 2, 3, 10 * TOKEN) == bought
    assert table.read("choiceTokenBalance", game, 3, "A") == table.read("choiceSupply", game, 3) == 9 * TOKEN + bought
    assert table.read("choiceBets", game, 3, "A") == table.read("totalBets", game) == 19 * TOKEN
    assert table.read("choiceBets", game, 2, "A") == table.read("choiceSupply", game, 2) == 0
    assert table.balance("A") == 81 * TOKEN
    assert [table.read("hasGuessed", game, round, "A") for round in (0, 1, 2, 3, 64, 2**255)] == [
        *(True, False, True, False, False, False)
    ]


def test_a_peer_bets_once_a_round(table):
    game = table.new_game()
    table.bet(game, "A", choice=1, bet=TOKEN)
    for choice in (1, 2):
        assert table.refusal(account_of("A"), "guessAnswer", game, "A", 0, choice, TOKEN) == "AlreadyGuessed"
    table.next_clue(game)
    table.bet(game, "A", round=1, choice=2, bet=TOKEN)
    assert table.read("totalBets", game) == 2 * TOKEN


def test_a_bet_that_is_made_already_is_told_as_such_whatever_came_after(table):
    game = table.new_game()
    again = (account_of("A"), "guessAnswer", game, "A", 0, 1, TOKEN)
    table.do(*again)
    table.next_clue(game)
    assert table.refusal(*again) == "AlreadyGuessed"
    table.reveal(game, 1)
    assert table.refusal(*again) == "AlreadyGuessed"


def test_a_bet_in_another_round_than_the_current_is_refused(table):
    game = table.new_game()
    table.next_clue(game)
    for round in (0, 2, 4, 64, 300, 2**255):
        assert table.refusal(account_of("A"), "guessAnswer", game, "A", round, 1, TOKEN) == "InvalidRound"


def test_a_bet_on_no_choice_or_in_no_game_is_refused(table):
    game = table.new_game(choices=3)
    assert table.refusal(account_of("A"), "guessAnswer", game, "A", 0, 3, TOKEN) == "InvalidChoice"
    assert table.refusal(account_of("A"), "guessAnswer", game + 1, "A", 0, 0, TOKEN) == "GameNotFound"


def test_a_bet_after_the_reveal_is_refused(table):
    game = table.new_game()
    table.reveal(game, 1)
    assert table.refusal(account_of("A"), "guessAnswer", game, "A", 0, 1, TOKEN) == "GameNotOpen"


def test_a_bet_by_another_account_than_the_peers_is_refused(table):
    game = table.new_game()
    for account, peer in (
        (STRANGER, "A"),
        (account_of("B"), "A"),
        (STRANGER, "nobody's"),
        (NOBODY, "nobody's"),
        (account_of(""), ""),
    ):
        with pytest.raises(Reverted, match="NotPeerOwner"):
            call = table.market.contract.functions.guessAnswer(game, peer, 0, 1, TOKEN)
            table.market.ask(lambda call=call, account=account: call.call({"from": account}))


def test_a_bet_of_more_than_the_peer_has_is_refused_and_all_of_it_is_taken(table):
    game = table.new_game()
    for bet in (100 * TOKEN + 1, 2**248, 2**256 - 1):
        assert table.refusal(account_of("A"), "guessAnswer", game, "A", 0, 1, bet) == "InsufficientBalance"
    table.bet(game, "A", choice=1, bet=100 * TOKEN)
    assert table.balance("A") == 0


def test_a_bet_that_buys_nothing_is_refused(table):
    game = table.new_game()
    assert table.refusal(account_of("A"), "guessAnswer", game, "A", 0, 1, 0) == "InvalidBet"
    table.next_clue(game)
    assert table.refusal(account_of("A"), "guessAnswer", game, "A", 1, 1, 1) == "InvalidBet"
    table.bet(game, "A", round=1, choice=1, bet=2)
    assert table.read("choiceSupply", game, 1) == 1


def test_peers_of_one_account_play_for_themselves(table):
    table.register("A2", account=account_of("A"))
    game = table.new_game()
    table.bet(game, "A", choice=1, bet=30 * TOKEN)
    table.do(account_of("A"), "guessAnswer", game, "A2", 0, 2, 40 * TOKEN)
    assert (table.balance("A"), table.balance("A2")) == (70 * TOKEN, 60 * TOKEN)


# ------------------------------------------------------------------------------------------------------------- payouts


def test_winners_get_their_bets_back_and_share_the_losers_by_their_tokens(table):
    game = table.new_game()
    table.bet(game, "A", choice=2, bet=40 * TOKEN)
    table.bet(game, "C", choice=1, bet=100 * TOKEN)
    table.next_clue(game)
    table.bet(game, "B", round=1, choice=2, bet=40 * TOKEN)
    assert table.read("payout", game, "A") == 0
    table.reveal(game, 2)
    # 40 early tokens of A and 20 late ones of B share the 100 that C lost.
    assert table.claim(game, "A") == 40 * TOKEN + 100 * TOKEN * 40 // 60
    assert table.claim(game, "B") == 40 * TOKEN + 100 * TOKEN * 20 // 60
    assert table.refusal(account_of("C"), "claimReward", game, "C") == "NothingToClaim"
    assert (table.balance("A"), table.balance("B")) == (166_666666666666666666, 133_333333333333333333)
    # What rounding down leaves behind: one smallest unit.
    assert table.read("tokensHeld", game) == 1


def test_a_peer_that_bet_on_several_answers_is_paid_for_the_right_one(table):
    game = table.new_game()
    table.bet(game, "A", choice=0, bet=30 * TOKEN)
    table.bet(game, "B", choice=1, bet=50 * TOKEN)
    table.next_clue(game)
    table.bet(game, "A", round=1, choice=1, bet=20 * TOKEN)
    table.reveal(game, 1)
    # B has 50 tokens and A 10 of the answer; 30 were lost, by A itself.
    assert table.claim(game, "A") == 20 * TOKEN + 30 * TOKEN * 10 // 60
    assert table.claim(game, "B") == 50 * TOKEN + 30 * TOKEN * 50 // 60
    assert table.read("tokensHeld", game) == 0


def test_a_claim_is_told_with_the_tokens_that_it_is_for(table):
    game = table.new_game()
    table.bet(game, "A", choice=2, bet=10 * TOKEN)
    table.bet(game, "B", choice=1, bet=5 * TOKEN)
    table.reveal(game, 2)
    receipt = table.do(account_of("A"), "claimReward", game, "A")
    assert table.events(receipt, "RewardClaimed") == [
        {
            **{"game": game, "caller": account_of("A"), "peerId": "A"},
            **{"correctChoiceTokensIn": 10 * TOKEN, "betTokensOut": 15 * TOKEN},
        }
    ]
    assert table.read("payout", game, "A") == 15 * TOKEN


def test_a_game_pays_a_peer_once(table):
    game = table.new_game()
    table.bet(game, "A", choice=2, bet=10 * TOKEN)
    table.reveal(game, 2)
    assert table.read("hasClaimed", game, "A") is False
    table.claim(game, "A")
    assert table.read("hasClaimed", game, "A") is True
    assert table.refusal(account_of("A"), "claimReward", game, "A") == "AlreadyClaimed"
    assert table.balance("A") == 100 * TOKEN


def test_a_claim_is_for_the_peers_account_and_a_game_that_is_over(table):
    game = table.new_game()
    table.bet(game, "A", choice=2, bet=10 * TOKEN)
    assert table.refusal(account_of("A"), "claimReward", game, "A") == "GameStillOpen"
    assert table.refusal(account_of("A"), "claimReward", game + 1, "A") == "GameNotFound"
    table.reveal(game, 2)
    assert table.refusal(STRANGER, "claimReward", game, "A") == "NotPeerOwner"
    assert table.refusal(account_of("B"), "claimReward", game, "B") == "NothingToClaim"


@pytest.mark.parametrize("end", ["nobody was right", "cancelled", "abandoned"])
def test_without_a_winner_everybody_gets_all_bets_back(table, end):
    game = table.new_game()
    table.bet(game, "A", choice=0, bet=30 * TOKEN)
    table.bet(game, "B", choice=1, bet=7)
    table.next_clue(game)
    table.bet(game, "A", round=1, choice=1, bet=20 * TOKEN + 1)
    if end == "nobody was right":
        table.reveal(game, 3)
    elif end == "cancelled":
        table.do(table.owner, "cancelGame", game)
    else:
        table.wait(DAY)
    receipt = table.do(account_of("A"), "claimReward", game, "A")
    (claimed,) = table.events(receipt, "RewardClaimed")
    assert (claimed["correctChoiceTokensIn"], claimed["betTokensOut"]) == (0, 50 * TOKEN + 1)
    assert table.claim(game, "B") == 7
    assert table.read("tokensHeld", game) == 0
    assert (table.balance("A"), table.balance("B")) == (100 * TOKEN, 100 * TOKEN)


# ----------------------------------------------------------------------------------------------------------- allowance


def test_a_registered_peer_has_a_welcome_which_counts_once_it_bets(table):
    assert (table.balance("A"), table.balance("nobody's")) == (100 * TOKEN, 0)
    game = table.new_game()
    assert (table.balance("A"), table.read("totalIssued")) == (100 * TOKEN, 0)
    table.bet(game, "A", choice=1, bet=TOKEN)
    assert (table.balance("A"), table.read("totalIssued")) == (99 * TOKEN, 100 * TOKEN)


def test_who_has_lost_nearly_all_is_topped_up_for_the_next_game_and_not_before(table):
    first = table.new_game()
    table.bet(first, "A", choice=0, bet=96 * TOKEN)
    table.bet(first, "B", choice=1, bet=TOKEN)
    table.next_clue(first)
    assert table.balance("A") == 4 * TOKEN
    assert table.refusal(account_of("A"), "guessAnswer", first, "A", 1, 0, 5 * TOKEN) == "InsufficientBalance"
    table.reveal(first, 1)
    assert table.balance("A") == 4 * TOKEN
    second = table.new_game()
    assert (table.balance("A"), table.read("totalIssued")) == (10 * TOKEN, 200 * TOKEN)
    table.bet(second, "A", choice=0, bet=9 * TOKEN)
    assert (table.balance("A"), table.read("totalIssued")) == (TOKEN, 206 * TOKEN)
    table.next_clue(second)
    assert table.refusal(account_of("A"), "guessAnswer", second, "A", 1, 0, 2 * TOKEN) == "InsufficientBalance"


def test_the_allowance_does_not_add_up_over_games_without_the_peer(table):
    game = table.new_game()
    table.bet(game, "A", choice=0, bet=100 * TOKEN)
    for _ in range(3):
        game = table.new_game()
    assert table.balance("A") == 10 * TOKEN
    assert table.read("totalIssued") == 100 * TOKEN


def test_an_older_game_gives_the_welcome_but_no_allowance(table):
    older = table.new_game()
    table.bet(older, "A", choice=0, bet=98 * TOKEN)
    table.next_clue(older)
    newest = table.new_game()
    assert table.refusal(account_of("A"), "guessAnswer", older, "A", 1, 0, 3 * TOKEN) == "InsufficientBalance"
    table.bet(older, "A", round=1, choice=0, bet=TOKEN)
    table.bet(older, "B", round=1, choice=0, bet=100 * TOKEN)
    table.bet(newest, "A", choice=0, bet=10 * TOKEN)
    assert table.read("totalIssued") == 209 * TOKEN


def test_a_claim_brings_no_allowance(table):
    first = table.new_game()
    table.bet(first, "A", choice=0, bet=100 * TOKEN)
    table.do(table.owner, "cancelGame", first)
    second = table.new_game()
    table.bet(second, "B", choice=0, bet=100 * TOKEN)
    assert table.balance("A") == 10 * TOKEN
    assert table.claim(first, "A") == 100 * TOKEN
    assert table.balance("A") == 100 * TOKEN
    assert table.read("totalIssued") == 200 * TOKEN


# --------------------------------------------------------------------------------------------------------------- views


def test_a_game_that_is_not_there_has_no_state(table):
    assert table.market.status(0) == table.market.status(2**256 - 1) == "unknown"
    for view, *arguments in (
        *(("roundCount",), ("choiceCount",), ("currentRoundIdx",), ("merkleRoot",), ("correctChoice",)),
        *(("price", 0, 0), ("choiceTokensOut", 0, 0, 1), ("choiceSupply", 0), ("totalBets",), ("tokensHeld",)),
        *(("choiceTokenBalance", 0, "A"), ("choiceBets", 0, "A"), ("hasGuessed", 0, "A")),
        *(("hasClaimed", "A"), ("payout", "A")),
    ):
        with pytest.raises(ChainError, match="GameNotFound"):
            table.read(view, 0, *arguments)


def test_a_price_is_told_for_rounds_and_choices_of_the_game_only(table):
    game = table.new_game(rounds=2, choices=3)
    for view, more in (("price", ()), ("choiceTokensOut", (TOKEN,))):
        with pytest.raises(ChainError, match="InvalidRound"):
            table.read(view, game, 2, 0, *more)
        with pytest.raises(ChainError, match="InvalidChoice"):
            table.read(view, game, 0, 3, *more)


# -------------------------------------------------------------------------------------------------------- re-entrancy


@pytest.fixture(scope="module")
def reentering() -> Any:
    """The ReenteringCoordinator, compiled for this test alone."""
    return compiled_for_tests("ReenteringCoordinator")


def _inner_calls(trace: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for call in trace.get("calls", []):
        yield call
        yield from _inner_calls(call)


def test_a_coordinator_that_calls_back_gains_nothing(devnet, reentering):
    fair = MarketTable(devnet)
    factory = fair.market.web3.eth.contract(abi=reentering["abi"], bytecode=reentering["bytecode"])
    receipt = Transactor(fair.market, devnet.owner).execute(factory.constructor())
    table = MarketTable(devnet, coordinator=str(receipt["contractAddress"]))
    evil = table.market.web3.eth.contract(
        address=to_checksum_address(table.market.coordinator()), abi=reentering["abi"]
    )

    def attack(function: str, *arguments: Any) -> list[dict[str, Any]]:
        """Do it through the coordinator, which does it again from within; these inner calls of the market."""
        data = table.market.contract.encode_abi(function, list(arguments))
        receipt = table.send_data(STRANGER, evil.address, evil.encode_abi("attack", [table.market.address, data]))
        assert receipt["status"] == 1
        trace = table.rpc("debug_traceTransaction", receipt["transactionHash"].to_0x_hex(), {"tracer": "callTracer"})
        return [call for call in _inner_calls(trace) if call["input"] == data and call["from"] == evil.address.lower()]

    def refused_with(call: dict[str, Any]) -> str:
        return error_selectors("PredictionMarket")[call["output"]]

    game = table.new_game()
    outer, inner = attack("guessAnswer", game, "A", 0, 1, 60 * TOKEN)
    assert ("error" in outer, refused_with(inner)) == (False, "ReentrancyGuardReentrantCall")
    assert (table.balance("A"), table.read("totalBets", game)) == (40 * TOKEN, 60 * TOKEN)
    table.reveal(game, 1)
    outer, inner = attack("claimReward", game, "A")
    assert ("error" in outer, refused_with(inner)) == (False, "ReentrancyGuardReentrantCall")
    assert (table.balance("A"), table.read("tokensHeld", game)) == (100 * TOKEN, 0)
    assert table.read("totalIssued") == 100 * TOKEN


# ----------------------------------------------------------------------------------------------------------------- abi


def test_every_error_that_the_market_can_raise_is_met_in_this_file():
    text = Path(__file__).read_text(encoding="utf-8")
    names = error_selectors("PredictionMarket").values()
    assert [name for name in names if f'"{name}"' not in text] == []
