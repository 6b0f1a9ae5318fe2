"""A node whose account the login server keeps: real contract and chain, and a login server that may fail anywhere."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from rgym_exp.base.ports import free_port
from rgym_exp.chain.contract import Reverted
from rgym_exp.chain.coordinator import ChainError, PeerTotals
from rgym_exp.chain.deploy import deploy_market
from rgym_exp.chain.factory import make_coordinator
from rgym_exp.chain.market import ONE_TOKEN
from rgym_exp.chain.modal import ModalCoordinator
from rgym_exp.chain.outbox_reading import read_outbox
from tests.support.earlier_market import hide_views
from tests.support.login_stand_in import HANGS_UP, Answer, Asked, LoginStandIn, Says, says

ZEROS = "0x" + 64 * "0"
REPOSITORY = Path(__file__).resolve().parents[3]


class Login:
    """The login server's side of a test: one user with an account of their own on the real contract."""

    def __init__(self, chain) -> None:
        self.chain = chain
        self.market: Any = None
        """The user, as who plays in the prediction market; None where there is none."""
        self.user = chain.person()
        self.turns = threading.Lock()
        self.token = "secret"
        self.account: dict[str, object] | None = {
            "orgId": "org-1",
            "address": self.user.address,
            "activation": "activated",
            "expiresAt": None,
        }
        self.health = {
            "service": "rl-swarm-login",
            "version": "1",
            "wallet": "local",
            "chainId": chain.devnet.chain_id,
            "contract": chain.address,
            "dataDir": "",
        }
        self.known_users = {"org-1"}
        self.before: Callable[[Asked], Answer | str] = lambda asked: "go on"
        """An answer in place of the write's own."""
        self.after: Callable[[Asked, Says], Answer] = lambda asked, said: said
        """What is said of a write that was made."""
        self.stand_in = LoginStandIn(self.answer)

    def answer(self, asked: Asked) -> Answer:
        if asked.method == "GET":
            return says({"health": self.health, "account": self.account}[asked.route])
        if asked.headers.get("authorization") != f"Bearer {self.token}":
            return says({"error": "This needs the token."}, 401)
        instead = self.before(asked)
        if not isinstance(instead, str):
            return instead
        if asked.body["orgId"] not in self.known_users:
            return says({"error": "Nobody is logged in under this orgId."}, 404)
        with self.turns:
            said = self.write(asked)
        return self.after(asked, said)

    def write(self, asked: Asked) -> Says:
        body = asked.body
        try:
            match asked.route:
                case "register-peer":
                    if self.chain.contract.registered_to(body["peerId"]) == self.user.address:
                        return says({"hash": ZEROS})
                    receipt = self.user.do("registerPeer", body["peerId"])
                case "submit-reward":
                    receipt = self.user.do(
                        "submitReward", body["roundNumber"], body["stageNumber"], body["reward"], body["peerId"]
                    )
                case "submit-winner":
                    receipt = self.user.do("submitWinners", body["roundNumber"], body["winners"], body["peerId"])
                case "guess-answer":
                    assert isinstance(body["bet"], str)
                    numbers = [body["clueId"], body["choiceIdx"], int(body["bet"])]
                    receipt = self.market.do("guessAnswer", body["gameId"], body["peerId"], *numbers)
                case "claim-reward":
                    receipt = self.market.do("claimReward", body["gameId"], body["peerId"])
        except Reverted as refusal:
            return says({"error": refusal.name}, 400)
        return says({"hash": receipt["transactionHash"].to_0x_hex()})

    def writes(self) -> list[str]:
        return [asked.route for asked in self.stand_in.asked if asked.method == "POST"]


@pytest.fixture
def login(chain) -> Iterator[Login]:
    made = Login(chain)
    with made.stand_in.served():
        yield made


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("secret")
    return path


@pytest.fixture
def make_modal(chain, login, token_file, tmp_path, quick):
    made: list[ModalCoordinator] = []

    def make(*, name: str = "node", **options) -> ModalCoordinator:
        given = {
            "rpc_url": chain.devnet.rpc_url,
            "contract_address": chain.address,
            "chain_id": chain.devnet.chain_id,
            "login_url": login.stand_in.url,
            "token_file": token_file,
            "outbox_path": tmp_path / f"{name}.sqlite",
            "retry_policy": quick,
        }
        made.append(ModalCoordinator(**(given | options)))
        return made[-1]

    yield make
    for node in made:
        node.close()


def settled(node):
    return lambda: node.pending() == 0


def statuses(node):
    return [each.status for each in node.transactions(100)]


def details(node):
    return [each.detail for each in node.transactions(100)]


def owe_all(node, *, round=0):
    node.register("QmA")
    node.submit_reward(round=round, stage=0, reward=-4, peer_id="QmA")
    node.submit_winners(round=round, winners=["QmA", "QmB"], peer_id="QmA")


def is_all_there(node):
    return node.peer_totals("QmA") == PeerTotals(registered_to=node.account, total_reward=-4, total_wins=1)


# ----------------------------------------------------------------------------------------------------------- the start


def test_its_account_is_that_of_who_is_logged_in_however_its_letters_are_written(login, make_modal, chain):
    login.account["address"] = login.user.address.lower()
    node = make_modal()
    assert node.account == login.user.address
    assert node.round_and_stage() == (0, 0)
    assert node.bootnodes() == []


@pytest.mark.parametrize(
    ("account", "sentence"),
    [
        (None, "Nobody is logged in at http.*`rl-swarm login`.*--headless"),
        ({"activation": "pending"}, "isn't finished.*`rl-swarm login`"),
        ({"address": None}, "isn't finished.*`rl-swarm login`"),
        ({"activation": "expired", "expiresAt": 86400 * 366}, "ran out on 1971-01-0.*again with `rl-swarm login`"),
    ],
)
def test_a_login_that_can_not_be_used_is_told_before_anything_starts(login, make_modal, account, sentence):
    login.account = None if account is None else login.account | account
    with pytest.raises(ChainError, match=sentence):
        make_modal()


def test_a_login_server_that_is_away_is_told_with_the_ways_out(make_modal):
    with pytest.raises(ChainError, match=r"No login server.*`rl-swarm login`.*coordinator=wallet.*=offline"):
        make_modal(login_url="http://127.0.0.1:9/api")


@pytest.mark.parametrize("wrong", [{"contract": "0x" + 40 * "9"}, {"contract": None}, {"chainId": 1}])
def test_a_login_server_that_writes_elsewhere_is_not_used(login, make_modal, wrong):
    login.health |= wrong
    with pytest.raises(ChainError, match="writes to the contract.*another network"):
        make_modal()


def test_it_starts_while_the_chain_is_away(login, make_modal, faulty_rpc):
    faulty_rpc.mode = "away"
    assert make_modal(rpc_url=faulty_rpc.url).account == login.user.address


def test_the_factory_finds_the_token_where_the_checkout_keeps_it(
    chain, login, token_file, tmp_path, monkeypatch, wait_until
):
    monkeypatch.setenv("LOGIN_DATA_DIR", str(token_file.parent))
    node = make_coordinator(
        "modal",
        rpc_url=chain.devnet.rpc_url,
        contract_address=chain.address,
        chain_id=chain.devnet.chain_id,
        login_url=login.stand_in.url,
        outbox_path=tmp_path / "outbox.sqlite",
    )
    try:
        node.register("QmA")
        wait_until(settled(node))
        assert chain.contract.registered_to("QmA") == login.user.address
    finally:
        node.close()


# -------------------------------------------------------------------------------------------------------------- writes


def test_registration_reward_and_vote_reach_the_contract_in_the_bodies_of_earlier_clients(
    login, make_modal, wait_until
):
    node = make_modal()
    owe_all(node)
    wait_until(settled(node))
    assert statuses(node) == ["confirmed"] * 3
    assert all(each.hash and each.hash != ZEROS for each in node.transactions())
    assert is_all_there(node)
    assert [(asked.route, asked.body) for asked in login.stand_in.asked if asked.method == "POST"] == [
        ("register-peer", {"orgId": "org-1", "peerId": "QmA"}),
        ("submit-reward", {"orgId": "org-1", "peerId": "QmA", "roundNumber": 0, "stageNumber": 0, "reward": -4}),
        ("submit-winner", {"orgId": "org-1", "peerId": "QmA", "roundNumber": 0, "winners": ["QmA", "QmB"]}),
    ]


def test_a_peer_that_is_registered_already_costs_no_transaction(login, make_modal, wait_until):
    login.user.do("registerPeer", "QmA")
    node = make_modal()
    node.register("QmA")
    wait_until(settled(node))
    assert statuses(node) == ["confirmed"]
    assert node.transactions()[0].hash is None
    assert login.user.transactions_made() == 1


def test_a_server_that_tells_of_an_own_peer_by_its_error_is_understood_too(login, make_modal, wait_until):
    login.user.do("registerPeer", "QmA")
    login.before = lambda asked: says({"error": "PeerIdAlreadyRegistered"}, 400)
    node = make_modal()
    node.register("QmA")
    wait_until(settled(node))
    assert statuses(node) == ["confirmed"]


def test_a_peer_of_another_login_is_refused_with_the_two_ways_out(chain, make_modal, wait_until, caplog):
    other = chain.person()
    other.do("registerPeer", "QmA")
    node = make_modal()
    with caplog.at_level(logging.WARNING, logger="rl_swarm.chain"):
        node.register("QmA")
        node.submit_reward(round=0, stage=0, reward=1, peer_id="QmA")
        wait_until(settled(node))
    assert statuses(node) == ["refused", "refused"]
    for detail in details(node):
        assert other.address in detail
        assert "log in with the email that first registered it" in detail
        assert "move swarm.pem away so that a new peer is made" in detail
    assert any(other.address in record.getMessage() for record in caplog.records)


def test_a_refusal_of_the_contract_is_told_by_its_name_and_holds_up_nothing(make_modal, wait_until):
    node = make_modal()
    node.register("QmA")
    node.submit_winners(round=0, winners=["QmB", "QmB"], peer_id="QmA")
    node.submit_winners(round=1, winners=["\ud800"], peer_id="QmA")
    node.submit_reward(round=0, stage=0, reward=5, peer_id="QmA")
    wait_until(settled(node))
    assert sorted(statuses(node)) == ["confirmed", "confirmed", "refused", "refused"]
    assert any("InvalidVote: the vote is empty or names a peer twice" in detail for detail in details(node))


def test_a_reward_ahead_of_the_chain_waits_until_the_round_has_begun(chain, make_modal, quick, wait_until):
    node = make_modal(retry_policy=replace(quick, most_tries=1000))
    owe_all(node, round=1)
    wait_until(lambda: any("InvalidRoundNumber" in detail for detail in details(node)))
    chain.owner.advance_round()
    wait_until(settled(node))
    assert statuses(node) == ["confirmed"] * 3
    assert is_all_there(node)


# ------------------------------------------------------------------------------------------------------------ failures


def test_an_answer_that_was_lost_after_inclusion_leads_to_no_second_transaction(login, make_modal, wait_until):
    lost: set[str] = set()

    def lose_first(asked, said):
        if asked.route in lost:
            return said
        lost.add(asked.route)
        return HANGS_UP

    login.after = lose_first
    node = make_modal()
    owe_all(node)
    wait_until(settled(node))
    assert statuses(node) == ["confirmed"] * 3
    assert is_all_there(node)
    assert login.user.transactions_made() == 3
    assert len(login.writes()) == 6


@pytest.mark.parametrize("trouble", [HANGS_UP, says({"error": "The chain is away."}, 500), Says(content=b"<html>")])
def test_nothing_is_given_up_while_the_login_server_or_its_chain_is_away(login, make_modal, quick, wait_until, trouble):
    login.before = lambda asked: trouble
    node = make_modal()
    owe_all(node)
    wait_until(lambda: len(login.writes()) > 2 * quick.most_tries)
    assert statuses(node) == ["waiting"] * 3
    login.before = lambda asked: "go on"
    wait_until(settled(node))
    assert is_all_there(node)
    assert login.user.transactions_made() == 3


def test_who_was_logged_out_meanwhile_is_told_once_and_loses_nothing(login, make_modal, quick, wait_until, caplog):
    node = make_modal()
    login.known_users.clear()
    with caplog.at_level(logging.WARNING, logger="rl_swarm.chain"):
        owe_all(node)
        wait_until(lambda: len(login.writes()) > quick.most_tries)
    told = [record.getMessage() for record in caplog.records if "Log in again at" in record.getMessage()]
    assert len(told) == 1
    assert "what is owed waits in the outbox" in told[0]
    assert statuses(node) == ["waiting"] * 3
    login.known_users.add("org-1")
    wait_until(settled(node))
    assert is_all_there(node)


def test_another_users_login_in_between_never_gets_this_ones_writes(login, make_modal, wait_until):
    node = make_modal()
    login.account = {**login.account, "orgId": "org-2", "address": Account.create().address}
    owe_all(node)
    wait_until(settled(node))
    assert {asked.body["orgId"] for asked in login.stand_in.asked if asked.method == "POST"} == {"org-1"}


def test_a_new_token_of_a_server_started_anew_is_taken_up(login, make_modal, token_file, wait_until):
    node = make_modal()
    login.token = "new secret"
    owe_all(node)
    wait_until(lambda: any("status 401" in detail for detail in details(node)))
    token_file.write_text("new secret")
    wait_until(settled(node))
    assert is_all_there(node)


def test_a_write_that_alone_brings_the_server_into_trouble_does_not_hold_up_the_others(login, make_modal, wait_until):
    login.before = lambda asked: says({"error": "?"}, 500) if asked.route == "submit-reward" else "go on"
    node = make_modal()
    owe_all(node)
    node.submit_winners(round=0, winners=["QmC"], peer_id="QmB")  # of a peer that isn't registered yet
    wait_until(lambda: statuses(node).count("confirmed") >= 3)
    assert node.peer_totals("QmA") == PeerTotals(registered_to=node.account, total_reward=0, total_wins=1)


def test_what_is_said_to_be_included_but_is_not_on_the_chain_is_sent_anew(login, make_modal, quick, wait_until):
    told: list[str] = []

    def lie_once(asked):
        if asked.route in told:
            return "go on"
        told.append(asked.route)
        return says({"hash": "0x" + 64 * "f"})

    login.before = lie_once
    node = make_modal(retry_policy=replace(quick, confirm_seconds=0.1))
    owe_all(node)
    wait_until(settled(node))
    assert statuses(node) == ["confirmed"] * 3
    assert is_all_there(node)


def test_a_node_that_was_killed_after_the_answer_asks_the_chain_and_sends_nothing_again(
    login, make_modal, faulty_rpc, wait_until
):
    before = make_modal(rpc_url=faulty_rpc.url)
    faulty_rpc.mode = "away"
    before.register("QmA")
    wait_until(lambda: statuses(before) == ["sent"])
    before.close()
    after = make_modal()
    wait_until(settled(after))
    assert statuses(after) == ["confirmed"]
    assert login.writes() == ["register-peer"]


def test_where_the_contract_is_too_old_to_be_asked_the_servers_word_is_taken(chain, make_modal, faulty_rpc, wait_until):
    # 0.4.2 has hasSubmittedRoundStageReward for an account where later ones have it for a peer, and so reverts.
    selector = chain.contract.contract.encode_abi("hasSubmittedRoundStageReward", [0, 0, "QmA"])[:10]
    pass_on = faulty_rpc.answer
    asked = threading.Event()

    def older(body):
        if f'"{selector}' not in body.decode():
            return pass_on(body)
        asked.set()
        error = {"code": 3, "message": "execution reverted", "data": "0x"}
        return json.dumps({"jsonrpc": "2.0", "id": json.loads(body)["id"], "error": error}).encode()

    faulty_rpc.answer = older
    node = make_modal(rpc_url=faulty_rpc.url)
    owe_all(node)
    wait_until(settled(node))
    assert asked.is_set()
    assert statuses(node) == ["confirmed"] * 3
    assert is_all_there(node)


def test_closing_with_a_flush_gets_out_what_waits(login, make_modal, wait_until):
    login.known_users.clear()
    node = make_modal()
    node.register("QmA")
    wait_until(lambda: "Log in again" in "".join(details(node)))
    login.known_users.add("org-1")
    node.close(flush_seconds=10)
    assert login.chain.contract.registered_to("QmA") == login.user.address


def test_two_nodes_of_one_login_lose_nothing(login, make_modal, wait_until):
    ada, bea = make_modal(name="ada"), make_modal(name="bea")
    assert ada.account == bea.account
    ada.register("QmA")
    bea.register("QmB")
    for node, peer in ((ada, "QmA"), (bea, "QmB")):
        node.submit_reward(round=0, stage=0, reward=5, peer_id=peer)
        node.submit_winners(round=0, winners=["QmA", "QmB"], peer_id=peer)
    wait_until(lambda: ada.pending() == bea.pending() == 0)
    assert statuses(ada) == statuses(bea) == ["confirmed"] * 3
    for peer in ("QmA", "QmB"):
        assert ada.peer_totals(peer) == PeerTotals(registered_to=ada.account, total_reward=5, total_wins=2)


# ------------------------------------------------------------------------------------------------------ bets and claims


@pytest.fixture
def make_player(login, games, market_contract, make_modal):
    """Makes nodes that see the market, whose first game has two clues and three choices."""
    login.market = login.chain.person(login.user.account, market_contract)
    login.health["market"] = games.address
    login.user.do("registerPeer", "QmA")
    games.create_game(2, 3, bytes(32))
    return lambda **options: make_modal(market_address=games.address, **options)


def bet(node, clue=0, *, stake=5 * ONE_TOKEN):
    return node.market.place_bet(game=0, clue=clue, choice=1, stake=stake, peer_id="QmA")


def bet_on(node, clue=0):
    return node.market.bet_on(game=0, clue=clue, peer_id="QmA")


def hands_over(login, route="guess-answer"):
    """How often the server was given one."""
    return login.writes().count(route)


THE_BET = (0, 0, 1, 5 * ONE_TOKEN)


def test_bets_and_claims_reach_the_market_in_the_bodies_of_earlier_clients(
    login, games, make_player, bets_on_chain, wait_until
):
    node = make_player()
    assert bet(node, stake=99 * ONE_TOKEN + 1) is True
    wait_until(settled(node))
    assert bet_on(node).status == "confirmed"
    assert bets_on_chain("QmA") == [(0, 0, 1, 99 * ONE_TOKEN + 1)]
    assert node.market.balance("QmA") == ONE_TOKEN - 1
    games.reveal(0, 1)
    node.market.claim(game=0, peer_id="QmA")
    wait_until(settled(node))
    assert node.market.claim_status(game=0, peer_id="QmA") == "confirmed"
    assert node.market.balance("QmA") == 100 * ONE_TOKEN
    assert all(each.hash and each.hash != ZEROS for each in node.transactions())
    user = {"orgId": "org-1", "peerId": "QmA"}
    assert [(asked.route, asked.body) for asked in login.stand_in.asked if asked.method == "POST"] == [
        ("guess-answer", {**user, "gameId": 0, "clueId": 0, "choiceIdx": 1, "bet": "99000000000000000001"}),
        ("claim-reward", {**user, "gameId": 0}),
    ]


def test_a_refusal_of_the_market_is_told_in_a_sentence(login, games, make_player, wait_until):
    node = make_player()
    games.increment_round(0)
    bet(node)
    node.market.claim(game=0, peer_id="QmA")
    wait_until(settled(node))
    assert (bet_on(node).status, node.market.claim_status(game=0, peer_id="QmA")) == ("refused", "refused")
    assert bet_on(node).detail == "InvalidRound: the clue was over before the bet arrived"
    assert bet(node) is False
    assert hands_over(login) == 1


def test_a_bet_that_is_refused_for_its_peer_is_made_once_that_is_registered(
    login, make_player, bets_on_chain, wait_until
):
    node = make_player()
    node.market.place_bet(game=0, clue=0, choice=1, stake=5 * ONE_TOKEN, peer_id="QmB")  # never registered
    wait_until(settled(node))
    assert bets_on_chain("QmB") == [THE_BET]
    assert sorted(statuses(node)) == ["confirmed", "confirmed"]


def test_a_lost_answer_to_a_bet_that_was_made_leads_to_no_second_one(login, make_player, bets_on_chain, wait_until):
    login.after = lambda asked, said: HANGS_UP
    node = make_player()
    bet(node)
    wait_until(settled(node))
    assert bet_on(node).status == "confirmed"
    assert bets_on_chain("QmA") == [THE_BET]
    assert hands_over(login) == 1


@pytest.mark.parametrize("trouble", [HANGS_UP, says({"error": "The chain is away."}, 500), Says(content=b"<html>")])
def test_a_lost_answer_to_a_bet_that_was_not_made_is_made_good(login, make_player, bets_on_chain, wait_until, trouble):
    login.before = lambda asked: trouble if hands_over(login) == 1 else "go on"
    node = make_player()
    bet(node)
    wait_until(settled(node))
    assert bet_on(node).status == "confirmed"
    assert bets_on_chain("QmA") == [THE_BET]
    assert hands_over(login) == 2


_BETTING_NODE = """
import sys
from pathlib import Path
from rgym_exp.chain.modal import ModalCoordinator
rpc_url, address, market, login, folder = sys.argv[1:5] + [Path(sys.argv[5])]
node = ModalCoordinator(rpc_url=rpc_url, contract_address=address, chain_id=685686, market_address=market,
    login_url=login, token_file=folder / "token", outbox_path=folder / "node.sqlite")
node.market.place_bet(game=0, clue=0, choice=1, stake=5 * 10**18, peer_id="QmA")
node.close(flush_seconds=60)
"""


@pytest.mark.parametrize("was_made", [True, False])
def test_a_node_killed_while_the_server_has_its_bet_bets_once(
    chain, login, games, make_player, bets_on_chain, tmp_path, wait_until, was_made
):
    handed_over = threading.Event()

    def keep(asked, said=HANGS_UP):
        handed_over.set()
        return HANGS_UP if process.wait(30) else said

    if was_made:
        login.after = keep
    else:
        login.before = keep
    arguments = [chain.devnet.rpc_url, chain.address, games.address, login.stand_in.url, str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-c", _BETTING_NODE, *arguments], env={**os.environ, "PYTHONPATH": str(REPOSITORY)}
    )
    assert handed_over.wait(30)
    process.send_signal(signal.SIGKILL)
    process.wait()
    pending, (row,) = read_outbox(tmp_path / "node.sqlite")
    assert (pending, row.status, row.hash) == (1, "sent", None)

    login.after, login.before = Login(chain).after, Login(chain).before
    node = make_player()  # the same outbox, another life
    wait_until(settled(node))
    assert bet_on(node).status == "confirmed"
    assert bets_on_chain("QmA") == [THE_BET]
    assert hands_over(login) == (1 if was_made else 2)


@pytest.mark.parametrize("was_made", [True, False])
def test_a_market_that_can_not_be_asked_gets_no_bet_twice(
    login, make_player, market_contract, bets_on_chain, faulty_rpc, wait_until, was_made
):
    hide_views(faulty_rpc, market_contract)
    if was_made:
        login.after = lambda asked, said: HANGS_UP
    else:
        login.before = lambda asked: HANGS_UP
    node = make_player(rpc_url=faulty_rpc.url)
    bet(node)
    wait_until(settled(node))
    assert bet_on(node).status == "refused"
    assert "nobody can tell whether it arrived" in bet_on(node).detail
    assert bets_on_chain("QmA") == ([THE_BET] if was_made else [])
    assert hands_over(login) == 1


def test_of_a_market_that_can_not_be_asked_the_servers_word_is_taken(
    login, games, make_player, market_contract, faulty_rpc, wait_until
):
    hide_views(faulty_rpc, market_contract)
    node = make_player(rpc_url=faulty_rpc.url)
    bet(node)
    wait_until(settled(node))
    games.reveal(0, 1)
    node.market.claim(game=0, peer_id="QmA")
    wait_until(settled(node))
    assert statuses(node) == ["confirmed", "confirmed"]


@pytest.mark.parametrize("what_is_wrong", ["nobody is logged in", "the token", "no server"])
def test_a_bet_that_certainly_reached_nobody_is_made_later_even_where_the_market_can_not_be_asked(
    login, make_player, market_contract, bets_on_chain, faulty_rpc, token_file, wait_until, what_is_wrong
):
    hide_views(faulty_rpc, market_contract)
    port = free_port()
    with contextlib.ExitStack() as servers:
        node = make_player(rpc_url=faulty_rpc.url)
        if what_is_wrong == "nobody is logged in":
            login.known_users.clear()
        elif what_is_wrong == "the token":
            login.token = "new secret"
        else:
            node.close()
            servers.enter_context(elsewhere(login, port))
            node = make_player(rpc_url=faulty_rpc.url, login_url=login.stand_in.url)
            servers.close()
        bet(node)
        wait_until(lambda: bet_on(node).detail and bet_on(node).status == "waiting")
        login.known_users.add("org-1")
        token_file.write_text(login.token)
        if what_is_wrong == "no server":
            servers.enter_context(elsewhere(login, port))
        wait_until(settled(node))
        assert bet_on(node).status == "confirmed"
        assert bets_on_chain("QmA") == [THE_BET]


def elsewhere(login, port):
    """A second proxy to the same login server, at a port of its own."""
    login.stand_in = LoginStandIn(login.answer)
    return login.stand_in.served(port)


def test_a_bet_for_another_market_than_the_servers_is_not_handed_over(
    chain, login, games, make_player, make_modal, wait_until
):
    before = make_player()
    login.known_users.clear()
    bet(before)
    wait_until(lambda: bet_on(before).detail)
    before.close()
    login.known_users.add("org-1")
    count = hands_over(login)
    newer = deploy_market(chain.devnet.rpc_url, chain.devnet.owner, chain.address)
    login.health["market"] = newer.address
    after = make_modal(market_address=newer.address)
    wait_until(settled(after))
    assert statuses(after) == ["refused"]
    assert f"another market than {games.address}" in details(after)[0]
    assert hands_over(login) == count


@pytest.mark.parametrize("served", [None, "0x" + 40 * "9"])
def test_a_node_whose_login_server_bets_elsewhere_trains_and_does_not_bet(
    login, games, make_player, make_modal, caplog, served
):
    make_player()
    login.health["market"] = served
    node = make_modal(name="other", market_address=games.address)
    assert node.market is None
    assert f"the swarm's prediction market is {games.address}: this node doesn't bet" in caplog.text


def test_nothing_is_handed_over_for_an_address_without_a_market(login, make_player, make_modal, wait_until):
    make_player()
    login.health["market"] = "0x" + 40 * "9"
    node = make_modal(name="other", market_address="0x" + 40 * "9")
    bet(node)
    node.submit_reward(round=0, stage=0, reward=5, peer_id="QmA")
    wait_until(settled(node))
    assert sorted(statuses(node)) == ["confirmed", "refused"]
    assert login.writes() == ["submit-reward"]


def test_what_a_chain_that_was_set_back_has_lost_is_handed_over_again(login, make_modal, chain, wait_until):
    node = make_modal()
    node.register("QmA")
    wait_until(lambda: node.pending() == 0)
    rpc = chain.contract.web3.provider
    snapshot = rpc.make_request("evm_snapshot", [])["result"]
    node.submit_reward(round=0, stage=0, reward=3, peer_id="QmA")
    node.submit_winners(round=0, winners=["QmB"], peer_id="QmA")
    wait_until(lambda: node.pending() == 0)
    assert rpc.make_request("evm_revert", [snapshot])["result"] is True
    assert node.peer_totals("QmA").total_reward == 0
    node.submit_reward(round=0, stage=0, reward=3, peer_id="QmA")  # owed already: nothing but a reason to look
    wait_until(lambda: node.peer_totals("QmA").total_reward == 3 and node.peer_totals("QmB").total_wins == 1)


def test_what_the_contract_shows_for_a_strangers_peer_is_not_taken_for_ones_own(chain, login, make_modal, wait_until):
    owner = chain.person()
    owner.do("registerPeer", "QmOwners")
    owner.do("submitReward", 0, 0, 5, "QmOwners")
    # A server that gives the hash of a transaction which does nothing: what the contract shows is the owner's.
    login.before = lambda asked: says({"hash": "0x" + 64 * "1"}) if asked.route == "submit-reward" else "go on"
    node = make_modal()
    node.submit_reward(round=0, stage=0, reward=1, peer_id="QmOwners")
    wait_until(lambda: node.pending() == 0)
    (row,) = [each for each in node.transactions(10) if each.kind == "reward"]
    assert row.status == "refused"
    assert f"is registered to account {owner.address}" in row.detail
