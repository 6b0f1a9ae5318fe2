"""One real anvil for all tests of the chain, a fresh contract for each, and an RPC that can be made to misbehave."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from eth_account import Account
from eth_account.signers.local import LocalAccount

from rgym_exp.chain.contract import DeployedContract, SwarmContract
from rgym_exp.chain.deploy import MarketOwner, OwnerClient, deploy_coordinator, deploy_market
from rgym_exp.chain.devnet import Devnet
from rgym_exp.chain.market_contract import MarketContract
from rgym_exp.chain.sending import RetryPolicy
from rgym_exp.chain.transactions import Transactor
from rgym_exp.chain.wallet import WalletCoordinator

QUICK = RetryPolicy(
    first_seconds=0.05,
    longest_seconds=0.1,
    most_tries=4,
    look_seconds=0.02,
    longest_look_seconds=0.1,
    chain_look_seconds=0.2,
)


@pytest.fixture
def quick() -> RetryPolicy:
    """Waits short enough for a test, and few tries."""
    return QUICK


@pytest.fixture(scope="session")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    with Devnet.start(tmp_path_factory.mktemp("devnet")) as running:
        yield running


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A contract of a test's own, and people who use it."""

    devnet: Devnet
    address: str
    owner: OwnerClient

    @property
    def contract(self) -> SwarmContract:
        return SwarmContract(self.devnet.rpc_url, self.address)

    def person(self, account: LocalAccount | None = None, contract: DeployedContract | None = None) -> Person:
        """Somebody who calls the coordinator, or another ``contract``."""
        return Person(contract or self.contract, account or Account.create())

    @property
    def owner_person(self) -> Person:
        return Person(self.contract, self.devnet.owner)


class Person:
    """Somebody with an account who calls the contract directly and waits for the block."""

    def __init__(self, contract: DeployedContract, account: LocalAccount) -> None:
        self.contract = contract
        self.account = account
        self.address = str(account.address)
        self._transactor = Transactor(contract, account)

    def do(self, function: str, *arguments: Any) -> Any:
        """The transaction's receipt; raises Reverted."""
        return self._transactor.execute(self.contract.contract.functions[function](*arguments))

    def transactions_made(self) -> int:
        return self._transactor.transactions_made()


@pytest.fixture
def chain(devnet: Devnet) -> Chain:
    deployment = deploy_coordinator(devnet.rpc_url, devnet.owner)
    return Chain(
        devnet=devnet,
        address=deployment.address,
        owner=OwnerClient(devnet.rpc_url, deployment.address, devnet.owner),
    )


@pytest.fixture
def games(chain: Chain) -> MarketOwner:
    """A prediction market of the test's contract, in the hands of who runs its games."""
    deployment = deploy_market(chain.devnet.rpc_url, chain.devnet.owner, chain.address)
    return MarketOwner(
        chain.devnet.rpc_url, deployment.address, chain.devnet.owner, one_at_a_time=chain.owner.one_at_a_time
    )


@pytest.fixture
def market_contract(chain: Chain, games: MarketOwner) -> MarketContract:
    """The same market, to be looked at."""
    return MarketContract(chain.devnet.rpc_url, games.address)


@pytest.fixture
def bets_on_chain(market_contract: MarketContract) -> Callable[..., list[tuple[int, int, int, int]]]:
    """Tells a peer's bets as the chain's log has them: game, clue, choice, stake."""

    def bets(peer_id: str) -> list[tuple[int, int, int, int]]:
        found = market_contract.contract.events.NewGuess().get_logs(from_block=0)
        told = [each["args"] for each in found if each["args"]["peerId"] == peer_id]
        return [(each["game"], each["round"], each["choice"], each["bet"]) for each in told]

    return bets


NodeMaker = Callable[..., WalletCoordinator]


@pytest.fixture
def make_node(chain: Chain, tmp_path: Path) -> Iterator[NodeMaker]:
    """Makes wallet coordinators that share one folder of locks, as the nodes of one machine do."""
    made: list[WalletCoordinator] = []

    def make(
        *, name: str = "node", account: LocalAccount | None = None, rpc_url: str | None = None, **options: Any
    ) -> WalletCoordinator:
        node = WalletCoordinator(
            rpc_url=rpc_url or chain.devnet.rpc_url,
            contract_address=options.pop("contract_address", chain.address),
            chain_id=options.pop("chain_id", chain.devnet.chain_id),
            account=account or Account.create(),
            outbox_path=tmp_path / f"{name}.sqlite",
            lock_folder=tmp_path / "locks",
            retry_policy=options.pop("retry_policy", QUICK),
            market_address=options.pop("market_address", None),
            hub=options.pop("hub", None),
        )
        made.append(node)
        return node

    yield make
    for node in made:
        node.close()


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """Waits for a condition that another thread or process brings about, and fails when it doesn't."""

    def wait(condition: Callable[[], object], *, within_seconds: float = 20.0) -> None:
        deadline = time.monotonic() + within_seconds
        checked = threading.Event()
        while not condition():
            assert time.monotonic() < deadline, f"not within {within_seconds} s"
            checked.wait(0.02)

    return wait


@dataclass
class FaultyRpc:
    """A JSON-RPC proxy before the devnet. ``mode`` says what happens to each request, or to raw transactions only."""

    target: str
    mode: str = "pass"
    """pass; away (the connection is cut); lose (raw transactions never arrive, and get no answer); mute (they arrive,
    but get no answer); garbage (a web page); refuse (an RPC error); refuse each (one for each question of a batch)."""
    swallowed: threading.Event = field(default_factory=threading.Event)
    """Set when a raw transaction was lost or muted."""
    methods: list[str] = field(default_factory=list)
    requests: int = 0
    """HTTP requests, each of which may have several methods."""
    released: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def serve(self) -> ThreadingHTTPServer:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                answer = proxy.answer(body)
                if answer is None:
                    self.close_connection = True
                    return
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    def answer(self, body: bytes) -> bytes | None:
        request = json.loads(body)
        # Several questions in one request count as each of them.
        methods = [each["method"] for each in request] if isinstance(request, list) else [request["method"]]
        self.requests += 1
        self.methods += methods
        if self.mode == "away":
            return None
        if self.mode == "garbage":
            return b"<html>Please log in to this network</html>"
        if self.mode == "refuse each" and isinstance(request, list):
            error = {"code": -32000, "message": "The hub's chain does not answer just now; try again."}
            return json.dumps([{"jsonrpc": "2.0", "id": each["id"], "error": error} for each in request]).encode()
        if self.mode == "refuse":
            number = None if isinstance(request, list) else request["id"]
            return json.dumps(
                {"jsonrpc": "2.0", "id": number, "error": {"code": -32005, "message": "limit exceeded"}}
            ).encode()
        if "eth_sendRawTransaction" in methods and self.mode in ("lose", "mute"):
            if self.mode == "mute":
                requests.post(self.target, data=body, headers={"content-type": "application/json"}, timeout=10)
            self.swallowed.set()
            self.released.wait(30)
            return None
        answer = requests.post(self.target, data=body, headers={"content-type": "application/json"}, timeout=10)
        return answer.content


@pytest.fixture
def faulty_rpc(devnet: Devnet) -> Iterator[FaultyRpc]:
    proxy = FaultyRpc(target=devnet.rpc_url)
    server = proxy.serve()
    yield proxy
    proxy.released.set()
    server.shutdown()
    server.server_close()
