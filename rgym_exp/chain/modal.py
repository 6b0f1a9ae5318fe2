"""The coordinator of a node whose account is kept by the login server (browser login, as on the public testnet).

Reads go to the chain's RPC, as with a key file. Writes go to the login server, which holds a key that may act for the
user, and lets the nodes of one account take turns.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eth_utils.address import to_checksum_address

from rgym_exp.base.called import as_called
from rgym_exp.chain.contract import SwarmContract
from rgym_exp.chain.contract_coordinator import ContractCoordinator
from rgym_exp.chain.contract_market import FATE_UNKNOWN, Markets
from rgym_exp.chain.contract_views import ContractViews, chain_failures_for_outbox
from rgym_exp.chain.coordinator import ChainError
from rgym_exp.chain.hub_round import HubRounds
from rgym_exp.chain.login_client import LoginAccount, LoginClient, LoginHealth, Route
from rgym_exp.chain.login_errors import LoginServerAway, LoginServerTrouble, NotLoggedIn, TokenRefused, WriteRefused
from rgym_exp.chain.market_contract import MarketContract
from rgym_exp.chain.outbox import Outbox
from rgym_exp.chain.outbox_rows import Row, target_of
from rgym_exp.chain.sender import Absent, Outcome, Record, Retry, TransactionRefused
from rgym_exp.chain.sending import RetryPolicy

logger = logging.getLogger("rl_swarm.chain")

_WATCHES_IN_VAIN = 3
"""A write that the server called included, and that the chain doesn't show for so many times
``RetryPolicy.confirm_seconds``, was undone (a reorganised or restored chain): it is sent anew."""


class ModalCoordinator(ContractCoordinator):
    """Coordinator of whoever is logged in when it is made. Another login later doesn't change the account: what this
    one owes waits until its user is logged in again."""

    def __init__(
        self,
        *,
        rpc_url: str,
        contract_address: str,
        chain_id: int | None,
        login_url: str,
        token_file: Path | None,
        outbox_path: Path,
        retry_policy: RetryPolicy | None = None,
        market_address: str | None = None,
        hub: HubRounds | None = None,
    ) -> None:
        """Asks the login server, but not the chain: a node can start while the chain is away. ``market_address`` None:
        the swarm has no market.

        Raises ChainError when the login server is away, writes to another contract, or has nobody logged in.
        """
        contract = SwarmContract(rpc_url, contract_address, chain_id=chain_id)
        client = LoginClient(login_url, token_file)
        health = _require_same_contract(client, contract.address, chain_id)
        market = None
        if market_address and _serves_market(client, health, market_address):
            market = MarketContract(rpc_url, market_address, chain_id=chain_id)
        login, address = _require_login(client)
        retry_policy = retry_policy or RetryPolicy()
        super().__init__(
            contract=contract,
            outbox=Outbox(outbox_path, target=target_of(contract.address, chain_id or rpc_url), account=address),
            # Reads of the sender have a client of their own, so that they never hold up the question for the round.
            sender=ModalSender(
                client,
                SwarmContract(rpc_url, contract_address, chain_id=chain_id),
                org_id=login.org_id,
                account=address,
                unseen_seconds=_WATCHES_IN_VAIN * retry_policy.confirm_seconds,
                markets=Markets(rpc_url, chain_id=chain_id),
                market_address=market.address if market else None,
            ),
            # The server queues the writes of an account, those of its nodes on other machines included.
            lock=None,
            retry_policy=retry_policy,
            market=market,
            hub=hub,
        )


class ModalSender:
    """Hands rows to the login server, which answers when the chain has included them.

    A crash or a lost answer in between costs nothing: the row is handed over again, and the contract, which takes
    each once, answers that it is there already. Bets are different: a market of an earlier version may take a second
    bet on a clue. So a bet is recorded as sent before it is handed over, and after a lost answer only the contract can
    say that it may be handed over again.
    """

    def __init__(
        self,
        client: LoginClient,
        contract: SwarmContract,
        *,
        org_id: str,
        account: str,
        unseen_seconds: float,
        markets: Markets,
        market_address: str | None,
    ) -> None:
        """``market_address``: where the server, which runs for this network, sends bets and claims."""
        self.account = account
        self.way_to_owner = "log in with the email that first registered it"
        self.views = ContractViews(contract, markets)
        self._client = client
        self._org_id = org_id
        self._unseen_seconds = unseen_seconds
        self._markets = markets
        self._market_address = market_address
        self._unseen_since: dict[int, float] = {}
        """When we first looked for a sent row on the chain, in vain, by row id."""
        self._troubled_row: int | None = None

    def send(self, row: Row, record: Record) -> str:
        """As Sender says. The hash isn't known before the server has answered, so ``record`` is left to the caller,
        but for bets: from here on, whether one was made is not for us to know."""
        route, body = self._request(row)
        if row.contract:
            with chain_failures_for_outbox():
                self._markets.of(row)
        if row.kind == "bet":
            record(None, None, None)
        with self._failures_for_outbox(row):
            hash = self._client.write(route, {"orgId": self._org_id, "peerId": row.peer_id, **body})
        if row.kind == "register" and int(hash, 16) == 0:
            # No transaction was needed; what that means is decided as after the contract's own refusal.
            raise TransactionRefused("PeerIdAlreadyRegistered")
        return hash

    def outcome(self, row: Row) -> Outcome:
        if self._is_on_chain(row):
            self._unseen_since.pop(row.id, None)
            return "confirmed"
        if row.hash is None:
            # A bet whose answer was lost. The contract can be asked about bets, and one that can takes no second bet on
            # a clue: should the server still be at the first, the second is refused as there already.
            return "void"
        since = self._unseen_since.setdefault(row.id, time.monotonic())
        if time.monotonic() - since < self._unseen_seconds:
            return "pending"
        del self._unseen_since[row.id]
        return "void"

    def registered_to(self, peer_id: str) -> str | None:
        return self.views.registered_to(peer_id)

    def _request(self, row: Row) -> tuple[Route, dict[str, Any]]:
        if row.kind == "register":
            return "register-peer", {}
        if row.kind == "reward":
            return "submit-reward", {
                "roundNumber": row.round,
                "stageNumber": row.stage,
                "reward": row.payload["reward"],
            }
        if row.kind == "winners":
            return "submit-winner", {"roundNumber": row.round, "winners": row.payload["winners"]}
        if row.contract != self._market_address:
            raise TransactionRefused(
                f"the login server serves another market than {row.contract}, which this was meant for"
            )
        if row.kind == "claim":
            return "claim-reward", {"gameId": row.round}
        return "guess-answer", {
            "gameId": row.round,
            "clueId": row.stage,
            "choiceIdx": row.payload["choice"],
            # In digits: a number of JSON loses those beyond 2^53 in most readers.
            "bet": str(row.payload["stake"]),
        }

    def _is_on_chain(self, row: Row) -> bool:
        """Whether the contract shows what the row is for. Raises TransactionRefused for a peer of another account."""
        if row.kind == "register":
            owner = self.registered_to(row.peer_id)
            if owner is not None and owner.lower() != self.account.lower():
                raise TransactionRefused("PeerIdAlreadyRegistered")
            return owner is not None
        if row.contract:
            with chain_failures_for_outbox():
                taken = self._markets.is_taken(row)
            if taken is None and row.hash is None:
                raise TransactionRefused(FATE_UNKNOWN)
        else:
            taken = self.views.has(row)
        if taken:
            # There for whom? A stranger's peer has its owner's writes there.
            owner = self.registered_to(row.peer_id)
            if owner is not None and owner.lower() != self.account.lower():
                raise TransactionRefused("InvalidVoterPeerId")
        # Of a contract that can't be asked, the server's word that it was included must do.
        return taken is not False

    @contextmanager
    def _failures_for_outbox(self, row: Row) -> Iterator[None]:
        try:
            yield
        except WriteRefused as refusal:
            raise TransactionRefused(refusal.name) from refusal
        except LoginServerAway as error:
            raise Absent(str(error), unsent=error.is_unheard) from error
        except (NotLoggedIn, TokenRefused) as error:
            raise Absent(str(error), unsent=True) from error
        except LoginServerTrouble as error:
            # Mostly the server's chain is away, and no row has a chance now. Where it is this row alone, the others
            # must not wait for ever behind it.
            if self._troubled_row == row.id:
                self._troubled_row = None
                raise Retry(str(error), counted=False) from error
            self._troubled_row = row.id
            raise Absent(str(error)) from error


def _require_same_contract(client: LoginClient, address: str, chain_id: int | None) -> LoginHealth:
    """What the server is. Raises ChainError unless it writes to the contract that this node reads."""
    try:
        health = client.health()
    except LoginServerAway as error:
        raise ChainError(
            f"No login server answers at {client.page_url}, and the account of this node is kept by one. Start it and "
            f"log in with `{as_called('login')}`. {_other_ways()}"
        ) from error
    if health.contract is None or health.contract.lower() != address.lower() or chain_id not in (None, health.chain_id):
        raise ChainError(
            f"The login server at {client.page_url} writes to the contract {health.contract} on chain "
            f"{health.chain_id}, but this node's swarm has {address} on chain {chain_id}. Stop that server, which was "
            "started for another network, or give this one another port with LOGIN_PORT."
        )
    return health


def _serves_market(client: LoginClient, health: LoginHealth, address: str) -> bool:
    """Whether bets can go through the server; a market is no reason not to train, so a warning is all it costs."""
    if (health.market or "").lower() == address.lower():
        return True
    logger.warning(
        "The login server at %s bets in %s, but the swarm's prediction market is %s: this node doesn't bet. Stop that "
        "server to have it started again for this swarm.",
        client.page_url,
        f"the market {health.market}" if health.market else "no market",
        address,
    )
    return False


def _require_login(client: LoginClient) -> tuple[LoginAccount, str]:
    """The current login and its account's address; raises ChainError when there is none that can be used."""
    login = client.account()
    if login is None:
        raise ChainError(
            f"Nobody is logged in at {client.page_url}. Log in with `{as_called('login')}`. {_other_ways()}"
        )
    if login.activation == "expired":
        ended = time.strftime(" on %Y-%m-%d", time.localtime(login.expires_at)) if login.expires_at else ""
        raise ChainError(
            f"The login at {client.page_url} ran out{ended}: its key may not act for the account any more. Log in "
            f"again with `{as_called('login')}`. {_other_ways()}"
        )
    if login.activation == "pending" or login.address is None:
        raise ChainError(
            f"The login at {client.page_url} isn't finished: the permission for the node's key is still missing. "
            f"Finish it in the browser (`{as_called('login')}` prints the address). {_other_ways()}"
        )
    # One way to write it: the outbox keeps the rows of each account apart by its letters.
    return login, to_checksum_address(login.address)


def _other_ways() -> str:
    return (
        f"Or use an account of this node's own with blockchain.coordinator=wallet (`{as_called('login')} "
        "--headless` makes its "
        "key), or no chain with blockchain.coordinator=offline."
    )
