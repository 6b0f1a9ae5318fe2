"""A hub's life: chain, contracts, bootnode, keeper, judge and HTTP API, started in this order, stopped in reverse.

Everything a hub keeps is in ``home.hub``, so that a restarted hub is the same swarm at the same addresses on the same
chain, and nobody who joined needs a new invite.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from rgym_exp.base.open_files import raise_open_files_limit
from rgym_exp.base.ports import is_free
from rgym_exp.base.swarm_clock import SwarmClock
from rgym_exp.chain.account import LocalAccount, load_or_create_account
from rgym_exp.chain.contract import SwarmContract
from rgym_exp.chain.coordinator import ChainError, ChainUnavailable
from rgym_exp.chain.deploy import MarketOwner, OwnerClient, deploy_coordinator, deploy_market
from rgym_exp.chain.devnet import Devnet
from rgym_exp.chain.market_contract import MarketContract
from rgym_exp.config.invite import HUB_CAPABILITIES, Invite
from rgym_exp.errors import HubError
from rgym_exp.hub.addresses import bootnode_address
from rgym_exp.hub.api import build_app, chain_forwarder, serving
from rgym_exp.hub.beside import beside
from rgym_exp.hub.block_pace import BlockPace
from rgym_exp.hub.client_address import ClientAddresses
from rgym_exp.hub.connections import ConnectionLimits, Connections
from rgym_exp.hub.hub_plan import DEFAULT_RPC_PORT, HubPlan
from rgym_exp.hub.hub_record import HubRecord, save_record
from rgym_exp.hub.judging import Judging, judging
from rgym_exp.hub.keeper import Keeper
from rgym_exp.hub.leaderboard import Leaderboard, MarketBalances, keeping_leaderboard, leaderboard_routes
from rgym_exp.hub.rate_limit import RateLimit
from rgym_exp.hub.round_route import round_route
from rgym_exp.hub.rpc_proxy import Forward, RpcProxy
from rgym_exp.hub.shared_batches import SharedBatches
from rgym_exp.hub.status import status
from rgym_exp.swarm.dht_records import DhtRecords
from rgym_exp.swarm.identity import load_or_create_identity
from rgym_exp.swarm.lasting_records import LastingRecords
from rgym_exp.types import PROTOCOL

log = logging.getLogger("rl_swarm.hub")

REQUESTS_PER_SECOND = 400.0
"""Per client address. A node's round costs some 45, so that 40 behind one address fit with rounds of 9 s."""
REQUEST_BURST = 3000.0
DEVNET_LOOK_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The chain that the hub works with, and the contract's owner on it."""

    rpc_url: str
    chain_id: int
    owner: LocalAccount
    devnet: Devnet | None
    """The chain itself when it is the hub's own."""


async def serve(plan: HubPlan, *, stop: asyncio.Event, on_ready: Callable[[Invite], None]) -> None:
    """Run a hub until ``stop`` is set. ``on_ready`` is called once, when joiners can come.

    Raises a SwarmUserError when a part can't be started, or ends while it should run.
    """
    async with AsyncExitStack() as stack:
        # Starting blocks in threads that can't be cancelled; a stop is heeded between the steps instead, so that
        # nothing is started that nobody would end.
        chain = await stack.enter_async_context(_chain(plan))
        if stop.is_set():
            return
        owner, record, is_new = await _deploy(plan, chain)
        if stop.is_set():
            return
        # One clock for all that this hub says and counts by.
        clock = SwarmClock()
        records, bootnode = await stack.enter_async_context(_bootnode(plan, clock))
        await asyncio.to_thread(owner.set_bootnodes, [bootnode])
        keeper = Keeper(client=owner, records=records, limits=plan.options.limits)
        # Known before anybody can ask: without it the judge has no questions, and games miss the swarm's first move.
        await keeper.learn_round()
        invite = _invite(plan, chain, record, plan.hub_url, bootnode)
        rate_limit = RateLimit(per_second=REQUESTS_PER_SECOND, burst=REQUEST_BURST)
        proxy = RpcProxy(
            forward=await stack.enter_async_context(_to_chain(chain)),
            rate_limit=rate_limit,
            free_chain_id=chain.chain_id if chain.devnet is not None else None,
        )
        judged = await stack.enter_async_context(_judging(plan, chain, owner, record, keeper))
        leaderboard = await stack.enter_async_context(_leaderboard(plan, chain, record, keeper, judged, is_new))
        app = build_app(
            invite=invite.encode(),
            status=lambda: {**status(invite, keeper, _trouble(chain, records)), **judged.status()},
            proxy=proxy,
            rate_limit=rate_limit,
            also=[
                round_route(keeper, contract=record.contract, clock=clock),
                *judged.routes,
                *leaderboard_routes(leaderboard),
            ],
        )
        await stack.enter_async_context(serving(app, plan.options.host, record.port, connections=_connections(plan)))
        log.info("The hub of swarm %s is up: API port %d, bootnode %s", record.swarm_id, record.port, bootnode)
        on_ready(invite)
        await _until_stopped(keeper, records, chain, stop)
        log.info("The hub of swarm %s stops.", record.swarm_id)


@asynccontextmanager
async def _chain(plan: HubPlan) -> AsyncIterator[Chain]:
    """The hub's own devnet for as long as the context lasts, or the chain that the host named."""
    folder = plan.home.hub
    rpc_url = plan.record.rpc_url
    if rpc_url is not None:
        owner = load_or_create_account(folder / "owner.key")
        chain_id = await asyncio.to_thread(_chain_id, rpc_url)
        yield Chain(rpc_url=rpc_url, chain_id=chain_id, owner=owner, devnet=None)
        return
    port = plan.options.rpc_port or (DEFAULT_RPC_PORT if is_free("127.0.0.1", DEFAULT_RPC_PORT) else 0)
    devnet = await asyncio.to_thread(Devnet.start, folder / "chain", port=port, owner_key_file=folder / "owner.key")
    try:
        yield Chain(rpc_url=devnet.rpc_url, chain_id=devnet.chain_id, owner=devnet.owner, devnet=devnet)
    finally:
        await asyncio.to_thread(devnet.stop)


@asynccontextmanager
async def _to_chain(chain: Chain) -> AsyncIterator[Forward]:
    """The way to the chain for strangers; the hub's own chain is told how often to make blocks."""
    async with chain_forwarder(chain.rpc_url) as forward:
        if chain.devnet is None:
            yield forward
            return
        pace = BlockPace(SharedBatches(forward).forward, forward)
        async with beside(pace.run(), "pace of blocks"):
            yield pace.forward


def _connections(plan: HubPlan) -> Connections:
    """As many connections as this process may have files, and a part of them for one address."""
    limits = ConnectionLimits.within(raise_open_files_limit())
    return Connections(limits=limits, addresses=ClientAddresses(plan.trusted_proxies))


def _chain_id(rpc_url: str) -> int:
    """The id of the chain at this URL; raises a ChainError when none answers there."""
    return SwarmContract(rpc_url, f"0x{0:040x}").chain_id


async def _deploy(plan: HubPlan, chain: Chain) -> tuple[OwnerClient, HubRecord, bool]:
    """The coordinator in its owner's hands, and the record with the contracts' addresses, saved."""
    recorded = plan.record.contract
    deployment = await asyncio.to_thread(deploy_coordinator, chain.rpc_url, chain.owner, recorded)
    if recorded is not None and deployment.is_new:
        log.warning("The contract %s is gone with its chain; those who joined need the new invite.", recorded)
    record = dataclasses.replace(plan.record, contract=deployment.address)
    # Saved at once: what follows may fail, and the next start must find this contract.
    save_record(plan.home.hub / "hub.json", record)
    if plan.options.market:
        address = await asyncio.to_thread(_market_address, plan, chain, deployment.address)
        record = dataclasses.replace(record, market=address)
        save_record(plan.home.hub / "hub.json", record)
    owner = OwnerClient(chain.rpc_url, deployment.address, chain.owner, chain_id=chain.chain_id)
    return owner, record, deployment.is_new


def _market_address(plan: HubPlan, chain: Chain, coordinator: str) -> str:
    """The prediction market's address, found again or deployed. Raises a SwarmUserError that names the way around."""
    try:
        return deploy_market(chain.rpc_url, chain.owner, coordinator, plan.record.market).address
    except ChainUnavailable:
        raise
    except ChainError as error:
        raise HubError(f"{error} To host the swarm without a prediction market, add `--no-market`.") from error


def _judging(
    plan: HubPlan, chain: Chain, owner: OwnerClient, record: HubRecord, keeper: Keeper
) -> AbstractAsyncContextManager[Judging]:
    """Judge and games, as far as the host wants them."""
    market = contract = None
    if plan.options.market and record.market is not None:
        contract = MarketContract(chain.rpc_url, record.market, chain_id=chain.chain_id)
        market = MarketOwner(
            chain.rpc_url,
            record.market,
            chain.owner,
            chain_id=chain.chain_id,
            one_at_a_time=owner.one_at_a_time,
        )
    return judging(
        folder=plan.home.hub,
        tasks=record.tasks,
        swarm_round=lambda: keeper.round,
        judge=plan.options.judge,
        market=market,
        market_contract=contract,
    )


def _leaderboard(
    plan: HubPlan, chain: Chain, record: HubRecord, keeper: Keeper, judged: Judging, is_new: bool
) -> AbstractAsyncContextManager[Leaderboard]:
    """How the peers stand, by the contract's events, the judge's record and the market's balances."""
    assert record.contract is not None
    balances = None
    if plan.options.market and record.market is not None:
        balances = MarketBalances(MarketContract(chain.rpc_url, record.market, chain_id=chain.chain_id))
    return keeping_leaderboard(
        file=plan.home.hub / "ledger.sqlite",
        contract=SwarmContract(chain.rpc_url, record.contract, chain_id=chain.chain_id),
        own_chain=chain.devnet is not None,
        swarm_round=lambda: keeper.round,
        judge=judged.judge,
        balances=balances,
        models=lambda: {each.peer_id: each.model_name for each in keeper.activity.newest()},
        is_new=is_new,
    )


@asynccontextmanager
async def _bootnode(plan: HubPlan, clock: SwarmClock) -> AsyncIterator[tuple[LastingRecords, str]]:
    """The bootnode, and the address under which joiners find it."""
    identity = load_or_create_identity(plan.home.hub / "hub.pem")
    port = plan.record.p2p_port
    address = bootnode_address(plan.public_host, port, identity.peer_id)
    records = await LastingRecords.create(
        lambda: DhtRecords.create(
            identity=identity,
            swarm_id=plan.record.swarm_id,
            host=plan.options.host,
            port=port,
            announce=[address.rpartition("/p2p/")[0]],
            clock=clock,
        )
    )
    try:
        yield records, address
    finally:
        await records.close()


def _invite(plan: HubPlan, chain: Chain, record: HubRecord, hub_url: str, bootnode: str) -> Invite:
    """What joiners need; they reach the chain through the hub's RPC proxy, whichever chain it is."""
    return Invite(
        swarm_id=record.swarm_id,
        tasks=record.tasks,
        model_name=record.model_name,
        hub_url=hub_url,
        chain_id=chain.chain_id,
        rpc_url=f"{hub_url}/rpc",
        coordinator_address=record.contract,
        prg_address=record.market if plan.options.market else None,
        judge_url=hub_url if plan.options.judge else None,
        bootnodes=(bootnode,),
        protocol=PROTOCOL,
        capabilities=tuple(HUB_CAPABILITIES),
    )


def _trouble(chain: Chain, records: LastingRecords) -> str | None:
    """What is wrong with chain or bootnode, in a sentence; None while all is well."""
    return (chain.devnet.trouble if chain.devnet is not None else None) or records.trouble


async def _until_stopped(keeper: Keeper, records: LastingRecords, chain: Chain, stop: asyncio.Event) -> None:
    """Keep rounds until told to stop. anvil and p2pd are started again when they die; what can't go on ends the hub.

    Raises the keeper's error, or a HubError when the devnet's state is lost.
    """
    keeping = asyncio.create_task(keeper.run(), name="keeper")
    lasting = asyncio.create_task(records.keep(), name="bootnode")
    ends = [keeping, lasting, *(asyncio.create_task(end) for end in (stop.wait(), _devnet_end(chain)))]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if keeping.done():
            keeping.result()
        if lasting.done():
            lasting.result()
        if not stop.is_set():
            raise HubError("The hub's chain (anvil) has ended for good; the log says why.")
    finally:
        for task in ends:
            task.cancel()
        await asyncio.gather(*ends, return_exceptions=True)


async def _devnet_end(chain: Chain) -> None:
    """Return when the hub's own devnet has ended for good; never for another chain."""
    while chain.devnet is None or chain.devnet.is_running:
        await asyncio.sleep(DEVNET_LOOK_SECONDS)
