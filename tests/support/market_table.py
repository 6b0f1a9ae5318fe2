"""A prediction market of a test's own on a real chain, and people who play at it without keys: anvil lets anybody send
in anybody's name, which is quicker than signing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import eth_abi
import requests
from eth_utils import keccak
from eth_utils.abi import abi_to_signature
from eth_utils.address import to_checksum_address
from hexbytes import HexBytes
from web3.logs import DISCARD
from web3.types import TxReceipt

from rgym_exp.chain.contract import DeployedContract, SwarmContract, artifact, error_selectors
from rgym_exp.chain.deploy import deploy_coordinator, deploy_market
from rgym_exp.chain.devnet import Devnet
from rgym_exp.chain.market_contract import MarketContract

TOKEN = 10**18
DAY = 24 * 60 * 60


def account_of(name: str) -> str:
    """Somebody's address; the same one whenever the name comes up."""
    return to_checksum_address(keccak(text=name)[-20:])


class MarketTable:
    """Peers belong to the account of their own name, unless ``register`` says otherwise."""

    def __init__(self, devnet: Devnet, coordinator: str | None = None) -> None:
        """``coordinator``: the address of another contract than a fresh SwarmCoordinator."""
        self.devnet = devnet
        self._session = requests.Session()
        self.owner = str(devnet.owner.address)
        address = coordinator or deploy_coordinator(devnet.rpc_url, devnet.owner).address
        self.swarm = SwarmContract(devnet.rpc_url, address)
        self.market = MarketContract(devnet.rpc_url, deploy_market(devnet.rpc_url, devnet.owner, address).address)
        self.rpc("anvil_autoImpersonateAccount", True)

    def rpc(self, method: str, *parameters: Any) -> Any:
        """Anything that anvil understands."""
        answer = self._post({"id": 1, "jsonrpc": "2.0", "method": method, "params": parameters})
        assert "error" not in answer, answer
        return answer["result"]

    def do(self, account: str, function: str, *arguments: Any, contract: DeployedContract | None = None) -> TxReceipt:
        """A transaction of ``account`` to the market; raises Reverted when it would be refused."""
        contract = contract or self.market
        call = contract.contract.functions[function](*arguments)
        contract.ask(lambda: call.call({"from": account}))
        receipt = self.send(account, function, *arguments, contract=contract)
        assert receipt["status"] == 1
        return receipt

    def send(self, account: str, function: str, *arguments: Any, contract: DeployedContract | None = None) -> TxReceipt:
        """As ``do``, but without looking whether it will be refused: see the receipt's status."""
        contract = contract or self.market
        return self.send_data(account, contract.address, contract.contract.encode_abi(function, list(arguments)))

    def send_data(self, account: str, to: str, data: str) -> TxReceipt:
        # It answers once the transaction is in a block.
        sent = self.rpc("eth_sendTransactionSync", _transaction(account, to, data))
        return self.market.web3.eth.get_transaction_receipt(HexBytes(sent["transactionHash"]))

    def refusal(self, account: str, function: str, *arguments: Any) -> str | None:
        """The name of the error with which the market refuses a call; None, and it is made, when it doesn't."""
        transaction = _transaction(account, self.market.address, _encoded(function, arguments))
        request = {"id": 1, "jsonrpc": "2.0", "method": "eth_call", "params": [transaction, "latest"]}
        error = self._post(request).get("error")
        if error is not None:
            return error_selectors("PredictionMarket")[error["data"][:10]]
        assert self.rpc("eth_sendTransactionSync", transaction)["status"] == "0x1"
        return None

    def reads(self, *calls: tuple[Any, ...]) -> list[Any]:
        """The values of views, ``(name, argument, ...)`` each, in one request."""
        requests = [
            {
                **{"id": place, "jsonrpc": "2.0", "method": "eth_call"},
                "params": [_transaction(self.owner, self.market.address, _encoded(name, arguments)), "latest"],
            }
            for place, (name, *arguments) in enumerate(calls)
        ]
        answers = {answer["id"]: HexBytes(answer["result"]) for answer in self._post(requests)} if requests else {}
        return [
            eth_abi.decode(_types(_entry(name)["outputs"]), answers[place])[0] for place, (name, *_) in enumerate(calls)
        ]

    def _post(self, body: Any) -> Any:
        return self._session.post(self.devnet.rpc_url, json=body, timeout=20).json()

    def read(self, function: str, *arguments: Any) -> Any:
        return self.market.read(function, *arguments)

    def events(self, receipt: TxReceipt, name: str) -> list[dict[str, Any]]:
        found = self.market.contract.events[name]().process_receipt(receipt, errors=DISCARD)
        return [dict(each["args"]) for each in found]

    def register(self, *peers: str, account: str | None = None) -> None:
        for peer in peers:
            self.do(account or account_of(peer), "registerPeer", peer, contract=self.swarm)

    def new_game(self, rounds: int = 4, choices: int = 4, root: bytes = 32 * b"\1") -> int:
        receipt = self.do(self.owner, "createNewGame", rounds, choices, root)
        return int(self.events(receipt, "NewGameCreated")[0]["game"])

    def next_clue(self, game: int) -> None:
        self.do(self.owner, "incrementRound", game)

    def reveal(self, game: int, answer: int) -> None:
        self.do(self.owner, "revealAnswer", game, answer, 0)

    def bet(self, game: int, peer: str, *, round: int = 0, choice: int = 0, bet: int) -> TxReceipt:
        return self.do(account_of(peer), "guessAnswer", game, peer, round, choice, bet)

    def claim(self, game: int, peer: str) -> int:
        """What the claim paid, as its event says."""
        receipt = self.do(account_of(peer), "claimReward", game, peer)
        return int(self.events(receipt, "RewardClaimed")[0]["betTokensOut"])

    def balance(self, peer: str) -> int:
        return self.market.bet_token_balance(peer)

    def now(self) -> int:
        """The newest block's time, seconds since the epoch."""
        return int(cast(Any, self.market.web3.eth.get_block("latest"))["timestamp"])

    def wait(self, seconds: int) -> None:
        """Let the chain's clock run ahead."""
        self.rpc("evm_increaseTime", seconds)
        self.rpc("evm_mine")


def _transaction(account: str, to: str, data: str) -> dict[str, str]:
    return {"from": account, "to": to, "data": data, "gas": hex(2_000_000), "gasPrice": "0x0"}


@cache
def _entry(function: str) -> Any:
    (entry,) = [each for each in artifact("PredictionMarket")["abi"] if each.get("name") == function]
    return entry


def _types(parameters: Sequence[Any]) -> list[str]:
    return [parameter["type"] for parameter in parameters]


def _encoded(function: str, arguments: Sequence[Any]) -> str:
    entry = _entry(function)
    return "0x" + (keccak(text=abi_to_signature(entry))[:4] + eth_abi.encode(_types(entry["inputs"]), arguments)).hex()
