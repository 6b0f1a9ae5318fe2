"""A hub from its start to its end: a real chain, a real bootnode, real HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from eth_account import Account
from web3.types import Nonce

from rgym_exp.base.ports import free_port
from rgym_exp.chain import anvil_process
from rgym_exp.chain.contract import SwarmContract
from rgym_exp.chain.market_contract import MarketContract
from rgym_exp.chain.rpc import connect
from rgym_exp.config.invite import Invite
from rgym_exp.config.paths import Home
from rgym_exp.errors import HubError
from rgym_exp.hub import hub
from rgym_exp.hub.client import ask, hub_status
from rgym_exp.hub.hub_plan import HubOptions, planned
from rgym_exp.judge.http_judge import HttpJudge
from rgym_exp.swarm.dht_records import DhtRecords
from rgym_exp.swarm.identity import Identity, load_or_create_identity
from rgym_exp.types import Announcement
from tests.support.processes import HubProgram, process_environ, wait_for
from tests.unit.swarm.swarm_builders import make_announcement

StartHub = Callable[..., HubProgram]


def rpc(invite: Invite, method: str, *params: Any) -> dict[str, Any]:
    """One call through the hub's RPC proxy."""
    assert invite.rpc_url is not None
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    answer: dict[str, Any] = json.loads(ask(invite.rpc_url, data=body).body)
    return answer


def announcement(identity: Identity, swarm_id: str, round: int) -> Announcement:
    return make_announcement(identity.peer_id, round, swarm_id=swarm_id, time=time.time())


def stopped(hub: HubProgram) -> int:
    """Tell it to stop, and wait; the exit status."""
    hub.process.terminate()
    return hub.wait()


def test_a_stopped_hub_leaves_nothing_running_and_started_again_is_the_same_hub(start_hub: StartHub) -> None:
    first = start_hub()
    invite = first.invite()
    children = first.children()
    assert {"anvil", "p2pd"} <= {child.name() for child in children}
    assert stopped(first) == 0
    assert psutil.wait_procs(children, timeout=20)[1] == []
    again = start_hub()
    assert again.invite() == invite
    assert invite.swarm_id == again.hub_status()["swarm_id"]


def test_strangers_can_read_and_send_signed_transactions_and_rule_nothing(start_hub: StartHub) -> None:
    invite = start_hub().invite()
    assert invite.rpc_url is not None and invite.coordinator_address is not None
    coordinator = SwarmContract(invite.rpc_url, invite.coordinator_address, chain_id=invite.chain_id)
    assert coordinator.bootnodes() == list(invite.bootnodes)
    assert coordinator.round_and_stage() == (0, 0)
    stranger = Account.create()
    for method, params in {
        "anvil_setBalance": [stranger.address, "0xffff"],
        "anvil_impersonateAccount": [invite.coordinator_address],
        "eth_sendTransaction": [{"from": invite.coordinator_address, "to": stranger.address}],
        "anvil_setCode": [invite.coordinator_address, "0x00"],
        "evm_mine": [],
        "anvil_reset": [],
        "anvil_dumpState": [],
    }.items():
        assert rpc(invite, method, *params)["error"]["code"] == -32601
    assert rpc(invite, "eth_getBalance", stranger.address, "latest")["result"] == "0x0"

    web3 = connect(invite.rpc_url)
    contract = coordinator.contract
    transaction = contract.functions.registerPeer("QmStranger").build_transaction(
        {"from": stranger.address, "nonce": Nonce(0), "gasPrice": web3.eth.gas_price}
    )
    sent = web3.eth.send_raw_transaction(stranger.sign_transaction(transaction).raw_transaction)
    assert web3.eth.wait_for_transaction_receipt(sent, timeout=20)["status"] == 1
    assert contract.functions.getEoa(["QmStranger"]).call() == [stranger.address]


async def test_rounds_advance_when_all_active_peers_have_announced(start_hub: StartHub, tmp_path: Path) -> None:
    invite = await asyncio.to_thread(start_hub("--round-minimum", "0").invite)
    assert invite.hub_url is not None
    identities = [load_or_create_identity(tmp_path / f"{name}.pem") for name in "ab"]
    all_records = [
        await DhtRecords.create(identity=identity, swarm_id=invite.swarm_id, bootnodes=invite.bootnodes)
        for identity in identities
    ]
    try:
        for round in range(3):
            for records, identity in zip(all_records, identities, strict=True):
                await records.publish(announcement(identity, invite.swarm_id, round))
            status = await _status_at(invite.hub_url, round + 1)
            # A round may end with the first announcement only while nobody else is known to be there.
            if round > 0:
                assert {peer["peer_id"] for peer in status["peers"]} == {identity.peer_id for identity in identities}
        await all_records[0].publish(announcement(identities[0], invite.swarm_id, 3))
        status = await _status_until(invite.hub_url, lambda status: status["announced"] == 1)
        assert (status["round"], status["active"]) == (3, 2), "the missing active peer is waited for"
        assert all(len(peer["name"].split()) == 3 for peer in status["peers"])
    finally:
        for records in all_records:
            await records.close()


async def test_a_hub_judges_its_peers_and_runs_games_that_go_on_after_a_restart(
    start_hub: StartHub, tmp_path: Path
) -> None:
    hub = start_hub("--round-minimum", "0")
    invite = await asyncio.to_thread(hub.invite)
    assert invite.hub_url is not None and invite.judge_url == invite.hub_url
    assert invite.prg_address is not None and invite.rpc_url is not None
    market = MarketContract(invite.rpc_url, invite.prg_address, chain_id=invite.chain_id)
    assert await asyncio.to_thread(market.coordinator) == invite.coordinator_address
    node = HttpJudge(invite.judge_url)
    question = await asyncio.to_thread(lambda: node.ask(user_id="QmA", round=0, model_name="model"))
    assert await asyncio.to_thread(lambda: node.submit(question, round=0, answer="no answer")) == 0.0
    assert await asyncio.to_thread(node.current_clue) is None

    # The swarm moves, and so a game begins.
    identity = load_or_create_identity(tmp_path / "a.pem")
    records = await DhtRecords.create(identity=identity, swarm_id=invite.swarm_id, bootnodes=invite.bootnodes)
    try:
        await records.publish(announcement(identity, invite.swarm_id, 0))
        status = await _status_until(invite.hub_url, lambda status: status["game"] is not None)
    finally:
        await records.close()
    assert status["judge"] == {"ready": True, "answers": 1}
    clue = await asyncio.to_thread(node.current_clue)
    assert clue is not None and (clue.game, clue.clue) == (0, 0)
    assert await asyncio.to_thread(market.current_round, 0) == 0
    told = json.loads((await asyncio.to_thread(ask, f"{invite.hub_url}/games/0")).body)
    assert (told["status"], told["clues"]) == ("running", [clue.text])

    children = hub.children()
    assert await asyncio.to_thread(stopped, hub) == 0
    assert psutil.wait_procs(children, timeout=20)[1] == []
    again = await asyncio.to_thread(start_hub().invite)
    assert again == invite
    status = await _status_until(invite.hub_url, lambda status: status["game"] is not None and status["judge"]["ready"])
    assert status["judge"]["answers"] == 1
    assert await asyncio.to_thread(node.current_clue) == clue
    node.close()


async def test_a_hub_that_is_ready_knows_the_round_before_its_keeper_is_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def without_keeper(*parts: object) -> None:
        await stop.wait()

    monkeypatch.setattr(hub, "_until_stopped", without_keeper)
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    options = HubOptions(port=free_port(), p2p_port=free_port(), rpc_port=free_port())
    with planned(Home(root=tmp_path), options) as plan:
        serving = asyncio.create_task(hub.serve(plan, stop=stop, on_ready=ready.set_result))
        try:
            async with asyncio.timeout(60):
                invite: Invite = await ready
            status = await asyncio.to_thread(hub_status, str(invite.hub_url))
            assert (status["round"], status["trouble"]) == (0, None)
        finally:
            stop.set()
            await serving


async def test_health_tells_of_a_chain_whose_state_is_not_written_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anvil_process, "STATE_SILENCE_SECONDS", 7.0)
    monkeypatch.setattr(anvil_process, "UPKEEP_SECONDS", 0.2)
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    options = HubOptions(port=free_port(), p2p_port=free_port(), rpc_port=free_port())
    state = Home(root=tmp_path).hub / "chain" / "chain.json"
    with planned(Home(root=tmp_path), options) as plan:
        serving = asyncio.create_task(hub.serve(plan, stop=stop, on_ready=ready.set_result))
        try:
            async with asyncio.timeout(60):
                url = (await ready).hub_url
            assert (await _health(url)) == (200, {"ok": True, "trouble": None})
            await asyncio.to_thread(wait_for, state.exists, what="the first state")
            state.unlink()
            state.mkdir()  # As on a full disk: anvil can't write it, and goes on.
            async with asyncio.timeout(60):
                while (told := await _health(url))[0] == 200:
                    await asyncio.sleep(0.1)
            assert told[0] == 503 and "has not been written for" in told[1]["trouble"]
            state.rmdir()
            async with asyncio.timeout(60):
                while (await _health(url))[0] != 200:
                    await asyncio.sleep(0.1)
        finally:
            stop.set()
            await serving


async def _health(hub_url: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{hub_url}/health") as response:
        return response.status, await response.json()


def test_a_host_who_wants_no_judge_has_none_and_no_market(start_hub: StartHub) -> None:
    invite = start_hub("--no-judge").invite()
    assert (invite.judge_url, invite.prg_address) == (None, None)
    assert invite.hub_url is not None
    status = hub_status(invite.hub_url)
    assert (status["judge"], status["game"]) == (None, None)
    with pytest.raises(HubError, match="404"):
        ask(f"{invite.hub_url}/current_clue/")


def test_a_host_who_wants_no_market_still_has_a_judge(start_hub: StartHub) -> None:
    invite = start_hub("--no-market").invite()
    assert invite.judge_url == invite.hub_url and invite.prg_address is None
    assert json.loads(ask(f"{invite.hub_url}/current_clue/").body)["game_id"] == -1


async def _status_at(hub_url: str, round: int) -> Any:
    return await _status_until(hub_url, lambda status: status["round"] == round)


async def _status_until(hub_url: str, condition: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(60):
        while not condition(status := await asyncio.to_thread(hub_status, hub_url)):
            await asyncio.sleep(0.1)
    return status


def test_a_killed_node_takes_its_hub_with_it(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from rgym_exp.config.paths import Home\n"
        "from rgym_exp.hub.local_hub import find_or_start_hub\n"
        "hub = find_or_start_hub(Home(root=pathlib.Path(sys.argv[1])), port=int(sys.argv[2]))\n"
        "print(hub.process.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    node = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path), str(free_port())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=process_environ({}),
    )
    assert node.stdout is not None and node.stdin is not None
    hub = psutil.Process(int(node.stdout.readline()))
    processes = [hub, *hub.children(recursive=True)]
    assert len(processes) >= 3
    os.kill(node.pid, signal.SIGKILL)
    node.wait(10)
    assert psutil.wait_procs(processes, timeout=30)[1] == []
    node.stdin.close()
    node.stdout.close()


def test_a_hub_that_cannot_start_says_why_in_one_sentence_at_once(start_hub: StartHub) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        hub = start_hub("--p2p-port", port)
        assert hub.wait() == 1
        output = hub.output()
    assert f"Port {port} on 127.0.0.1" in output and "`--p2p-port PORT`" in output
    assert "Traceback" not in output


async def test_a_hub_outlives_its_chain_and_its_bootnode(start_hub: StartHub, tmp_path: Path) -> None:
    """Both are killed; they are there again at the same addresses, and the next round comes."""
    host = start_hub("--round-minimum", "0")
    invite = await asyncio.to_thread(host.invite)
    assert invite.hub_url is not None
    identity = load_or_create_identity(tmp_path / "swarm.pem")
    records = await DhtRecords.create(identity=identity, swarm_id=invite.swarm_id, bootnodes=invite.bootnodes)
    try:
        await records.publish(announcement(identity, invite.swarm_id, 0))
        await _status_at(invite.hub_url, 1)
        # What is younger than the state file is lost with the chain.
        state = host.home.hub / "chain" / "chain.json"
        begun = time.time()
        await asyncio.to_thread(
            wait_for, lambda: state.exists() and state.stat().st_mtime > begun, what="a saved state"
        )
        before = _daemons(host)
        for daemon in before.values():
            daemon.kill()
        troubled = await _status_until(invite.hub_url, lambda status: status["trouble"] is not None)
        assert "ended by itself" in troubled["trouble"]
        healthy = await _status_until(invite.hub_url, lambda status: status["trouble"] is None)
        assert (healthy["swarm_id"], healthy["contract"]) == (invite.swarm_id, invite.coordinator_address)
        assert not {daemon.pid for daemon in before.values()} & {daemon.pid for daemon in _daemons(host).values()}
        assert rpc(invite, "eth_chainId")["result"] == hex(invite.chain_id or 0)
        # Its own records went with the daemon; a peer publishes its announcement again when it meets the new one.
        await records.publish(announcement(identity, invite.swarm_id, 1))
        await _status_at(invite.hub_url, 2)
    finally:
        await records.close()
    assert await asyncio.to_thread(stopped, host) == 0


def _daemons(host: HubProgram) -> dict[str, psutil.Process]:
    """anvil and p2pd, once both are there."""
    found = wait_for(
        lambda: {
            child.name(): child
            for child in host.children()
            if child.name() in ("anvil", "p2pd") and child.status() != psutil.STATUS_ZOMBIE
        },
        what="the hub's daemons",
    )
    assert set(found) == {"anvil", "p2pd"}
    return found
