"""The local chain: free of fees, deaf to strangers, and with its state safe whatever ends it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from eth_account import Account

from rgym_exp.chain import anvil_process, saved_state
from rgym_exp.chain.anvil import find_or_install_anvil
from rgym_exp.chain.anvil_process import DevnetError
from rgym_exp.chain.contract import SwarmContract
from rgym_exp.chain.deploy import OwnerClient, deploy_coordinator
from rgym_exp.chain.devnet import DEVNET_CHAIN_ID, Devnet
from rgym_exp.chain.transactions import Transactor
from tests.support.processes import wait_for

REPOSITORY = Path(__file__).resolve().parents[3]


def rpc(devnet, method, *params, content_type="application/json", **headers):
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})
    return requests.post(devnet.rpc_url, data=body, headers={"content-type": content_type, **headers}, timeout=10)


def test_it_answers_with_its_own_chain_id_on_loopback_only(devnet):
    assert int(rpc(devnet, "eth_chainId").json()["result"], 16) == devnet.chain_id == DEVNET_CHAIN_ID
    listening = psutil.Process(devnet.process_id).net_connections(kind="inet")
    assert [(each.laddr.ip, each.laddr.port) for each in listening if each.status == "LISTEN"] == [
        ("127.0.0.1", devnet.port)
    ]


def test_nobody_has_a_key_to_its_accounts_but_the_owner(devnet):
    assert rpc(devnet, "eth_accounts").json()["result"] == []
    well_known = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    assert int(rpc(devnet, "eth_getBalance", well_known, "latest").json()["result"], 16) == 0
    assert int(rpc(devnet, "eth_getBalance", devnet.owner.address, "latest").json()["result"], 16) > 0


def test_a_web_page_gets_nothing_from_it(devnet):
    """A page can send text/plain without asking first, and anything else only where CORS headers allow it."""
    assert "result" not in rpc(devnet, "eth_chainId", content_type="text/plain").json()
    answer = rpc(devnet, "eth_chainId", origin="http://evil.example")
    assert not any(name.lower().startswith("access-control") for name in answer.headers)


def test_a_full_block_does_not_bring_fees_back(chain):
    """EIP-1559 raises the base fee after a block more than half full; accounts here have nothing to pay with."""
    receipt = chain.owner_person.do("addBootnodes", ["x" * 200] * 85)
    limit = chain.contract.web3.eth.get_block("latest")["gasLimit"]
    assert receipt["gasUsed"] > limit / 2
    chain.owner.advance_round()
    poor = chain.person(Account.create())
    poor.do("registerPeer", "QmPoor")
    assert chain.contract.web3.eth.gas_price == 0
    assert poor.transactions_made() == 1


def test_a_taken_port_is_told_in_a_sentence(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DevnetError, match=f"Port {port} on 127.0.0.1"):
            Devnet.start(tmp_path / "devnet", port=port)


def test_a_restart_keeps_the_contract_and_the_owner(tmp_path):
    with Devnet.start(tmp_path / "devnet") as first:
        deployment = deploy_coordinator(first.rpc_url, first.owner)
        OwnerClient(first.rpc_url, deployment.address, first.owner).advance_round()
    assert not first.is_running
    with Devnet.start(tmp_path / "devnet") as second:
        assert second.owner.address == first.owner.address
        again = deploy_coordinator(second.rpc_url, second.owner, deployment.address)
        assert (again.address, again.is_new) == (deployment.address, False)
        assert SwarmContract(second.rpc_url, again.address).round_and_stage() == (1, 0)


def test_a_renewal_cuts_off_old_blocks_and_keeps_address_and_contract(tmp_path, monkeypatch):
    monkeypatch.setattr(saved_state, "BLOCKS_KEPT", 4)
    with Devnet.start(tmp_path / "devnet") as devnet:
        owner = OwnerClient(devnet.rpc_url, deploy_coordinator(devnet.rpc_url, devnet.owner).address, devnet.owner)
        for _ in range(10):
            owner.advance_round()
        process_id = devnet.process_id
        devnet.renew()
        assert devnet.process_id != process_id
        assert devnet.rpc_url.endswith(str(devnet.port))
        assert len(json.loads((tmp_path / "devnet" / "chain.json").read_text())["blocks"]) == 4
        assert owner.advance_round() == (11, 0)


def test_a_devnet_whose_state_has_grown_renews_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(anvil_process, "UPKEEP_SECONDS", 0.1)
    monkeypatch.setattr(anvil_process, "RENEW_AFTER_SECONDS", 0.0)
    with Devnet.start(tmp_path / "devnet") as devnet:
        address = deploy_coordinator(devnet.rpc_url, devnet.owner).address
        process_id = devnet.process_id
        monkeypatch.setattr(anvil_process, "RENEW_AT_BYTES", 1)
        wait_for(lambda: devnet.process_id != process_id, what="a new anvil process")
        monkeypatch.setattr(anvil_process, "RENEW_AT_BYTES", 2**60)
        devnet.renew()  # One may be under way; after this one it listens.
        assert SwarmContract(devnet.rpc_url, address).round_and_stage() == (0, 0)


def test_what_contracts_keep_does_not_have_a_devnet_renew_itself_again_and_again(tmp_path, monkeypatch):
    monkeypatch.setattr(anvil_process, "RENEW_AT_BYTES", 20_000)
    monkeypatch.setattr(anvil_process, "RENEW_AFTER_SECONDS", 0.0)
    state = tmp_path / "devnet" / "chain.json"
    with Devnet.start(tmp_path / "devnet") as devnet:
        for slot in range(500):  # As much as 70 rounds of one peer, in a file of 70 KB.
            rpc(devnet, "anvil_setStorageAt", f"0x{'11' * 20}", hex(slot), f"0x{slot + 1:064x}")
        wait_for(lambda: devnet._process.has_grown, what="a state that has grown")
        devnet.renew()
        cut = state.stat().st_mtime_ns
        wait_for(lambda: state.stat().st_mtime_ns != cut, what="the state, written by the new process")
        assert state.stat().st_size > 500 * 100
        assert not devnet._process.has_grown


def test_a_busy_devnet_is_not_renewed_again_and_again(tmp_path, monkeypatch):
    with Devnet.start(tmp_path / "devnet") as devnet:
        owner = OwnerClient(devnet.rpc_url, deploy_coordinator(devnet.rpc_url, devnet.owner).address, devnet.owner)
        owner.advance_round()
        wait_for(lambda: (tmp_path / "devnet" / "chain.json").exists(), what="its state")
        monkeypatch.setattr(anvil_process, "RENEW_AT_BYTES", 1)
        assert not devnet._process.has_grown
        monkeypatch.setattr(anvil_process, "RENEW_AT_ONCE_BYTES", 1)
        assert devnet._process.has_grown
        monkeypatch.setattr(anvil_process, "RENEW_AT_ONCE_BYTES", 2**60)
        monkeypatch.setattr(anvil_process, "RENEW_AFTER_SECONDS", 0.0)
        assert devnet._process.has_grown


def test_a_state_is_cut_the_same_way_however_it_is_written(tmp_path, monkeypatch):
    state = tmp_path / "devnet" / "chain.json"
    with Devnet.start(tmp_path / "devnet") as devnet:
        owner = OwnerClient(devnet.rpc_url, deploy_coordinator(devnet.rpc_url, devnet.owner).address, devnet.owner)
        for number in range(6):
            owner.set_bootnodes([f"/ip4/127.0.0.1/tcp/{number}/p2p/QmBoot"])
            owner.advance_round()
    written = state.read_bytes()
    whole = json.loads(written)
    monkeypatch.setattr(saved_state, "BLOCKS_KEPT", 4)
    cut = json.loads(saved_state.shortened(written))
    assert cut == json.loads(saved_state.shortened(json.dumps(whole).encode()))
    numbers = sorted(int(block["header"]["number"], 16) for block in cut["blocks"])
    assert numbers == list(range(numbers[-1] - 3, numbers[-1] + 1))
    made = [each for each in whole["transactions"] if each["block_number"] >= numbers[0]]
    assert cut["transactions"] == made and 0 < len(made) < len(whole["transactions"])
    assert all(cut[name] == whole[name] for name in whole if name not in ("blocks", "transactions"))


@pytest.mark.parametrize("names", [("blocks", "transactions"), ("transactions", "blocks", "historical_states")])
def test_a_state_of_another_order_or_with_a_list_less_is_cut_all_the_same(names, monkeypatch):
    monkeypatch.setattr(saved_state, "BLOCKS_KEPT", 1)
    lists: dict[str, Any] = {
        "blocks": [{"header": {"number": f"0x{number}"}, "transactions": [], "ommers": []} for number in (1, 2)],
        "transactions": [{"info": {"hash": number}, "block_number": number} for number in (1, 2)],
        "historical_states": None,
    }
    state = {"best_block_number": "0x2", **{name: lists[name] for name in names}}
    cut = json.loads(saved_state.shortened(json.dumps(state, separators=(",", ":")).encode()))
    assert cut == {**state, "blocks": lists["blocks"][1:], "transactions": lists["transactions"][1:]}


def test_to_cut_a_state_does_not_parse_it(tmp_path, monkeypatch):
    with Devnet.start(tmp_path / "devnet") as devnet:
        deploy_coordinator(devnet.rpc_url, devnet.owner)
    monkeypatch.setattr(saved_state.json, "loads", None)
    saved_state.prepare(tmp_path / "devnet" / "chain.json")


def test_half_a_state_file_is_replaced_by_its_copy(tmp_path):
    state = tmp_path / "devnet" / "chain.json"
    with Devnet.start(tmp_path / "devnet") as devnet:
        address = deploy_coordinator(devnet.rpc_url, devnet.owner).address
    assert saved_state.back_up(state) is True
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    assert saved_state.back_up(state) is False
    with Devnet.start(tmp_path / "devnet") as devnet:
        assert SwarmContract(devnet.rpc_url, address).round_and_stage() == (0, 0)


def test_a_state_that_is_lost_is_told_in_a_sentence(tmp_path):
    folder = tmp_path / "devnet"
    folder.mkdir()
    (folder / "chain.json").write_text("{")
    with pytest.raises(saved_state.StateLost, match="Move both away"):
        Devnet.start(folder)


def test_a_saved_chain_can_be_given_another_id(tmp_path):
    with Devnet.start(tmp_path / "devnet") as devnet:
        address = deploy_coordinator(devnet.rpc_url, devnet.owner).address
    with Devnet.start(tmp_path / "devnet", chain_id=7) as devnet:
        assert devnet.chain_id == 7
        contract = SwarmContract(devnet.rpc_url, address, chain_id=7)
        Transactor(contract, devnet.owner).execute(contract.contract.functions.updateStageAndRound())
        assert contract.round_and_stage() == (1, 0)


_PARENT = """
import sys, threading
from pathlib import Path
from rgym_exp.chain.devnet import Devnet
made = []
thread = threading.Thread(target=lambda: made.append(Devnet.start(Path(sys.argv[1]))))
thread.start()
thread.join()
print(made[0].process_id, made[0].port, flush=True)
sys.stdin.read()
"""


def test_it_ends_with_its_parent_even_when_that_is_killed_and_not_with_the_thread_that_asked(tmp_path, wait_until):
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path / "devnet")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert parent.stdout is not None
    process_id, port = map(int, parent.stdout.readline().split())
    anvil = psutil.Process(process_id)
    # The thread that called start() has ended by now; the chain must not have.
    assert requests.post(
        f"http://127.0.0.1:{port}", json={"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}, timeout=10
    ).ok
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not anvil.is_running() or anvil.status() == psutil.STATUS_ZOMBIE)
    assert (tmp_path / "devnet" / "chain.json").exists()  # ended by SIGTERM, so it saved its state


def test_a_chain_that_dies_at_its_first_start_is_told_at_once(tmp_path, monkeypatch):
    program = tmp_path / "anvil"
    program.write_text("#!/bin/sh\necho cannot do that; exit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("ANVIL", str(program))
    with pytest.raises(DevnetError, match="cannot do that"):
        Devnet.start(tmp_path / "devnet")


def test_a_chain_that_dies_is_there_again_at_the_same_address_and_says_so_meanwhile(tmp_path):
    with Devnet.start(tmp_path / "devnet") as devnet:
        assert devnet.trouble is None
        process_id = devnet.process_id
        os.kill(process_id, signal.SIGKILL)
        told = wait_for(lambda: devnet.trouble, what="a word about it")
        assert "ended by itself" in told
        wait_for(lambda: devnet.trouble is None, what="the chain")
        assert devnet.process_id != process_id
        assert rpc(devnet, "eth_chainId").ok and devnet.is_running


def test_a_chain_that_can_not_be_started_again_is_tried_until_it_can(tmp_path, monkeypatch):
    """Something is in its way for a while: here its own program, which can't be run."""
    program = tmp_path / "anvil"
    program.write_text(f'#!/bin/sh\nexec {find_or_install_anvil()} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("ANVIL", str(program))
    with Devnet.start(tmp_path / "devnet") as devnet:
        whole = program.read_text()
        program.write_text("#!/bin/sh\necho no room; exit 3\n")
        os.kill(devnet.process_id, signal.SIGKILL)
        wait_for(lambda: "no room" in (devnet.trouble or ""), what="why it doesn't start")
        assert devnet.is_running, "the hub goes on meanwhile"
        program.write_text(whole)
        wait_for(lambda: devnet.trouble is None, what="the chain")
        assert rpc(devnet, "eth_chainId").ok


class TestWriting:
    """Whether the state file is still written, and whole."""

    @staticmethod
    def write(path, content):
        path.write_text(content)
        stamp = TestWriting.stamp = TestWriting.stamp + 1
        os.utime(path, ns=(stamp, stamp))

    stamp = 10**18
    WHOLE = '{"blocks": [], "transactions": []}'

    def watch(self, path):
        self.now = 0.0
        return saved_state.WritingWatch(path, longest_seconds=30, clock=lambda: self.now)

    def test_a_file_that_is_written_again_and_again_is_no_trouble(self, tmp_path):
        path = tmp_path / "chain.json"
        watch = self.watch(path)
        for _ in range(20):
            self.now += 5
            self.write(path, self.WHOLE)
            assert watch.look() is None

    def test_one_that_stays_as_it_is_is_told_until_it_is_written_again(self, tmp_path):
        path = tmp_path / "chain.json"
        self.write(path, self.WHOLE)
        watch = self.watch(path)
        self.now = 30
        assert watch.look() is None
        self.now = 31
        assert "has not been written for 31 s" in watch.look() and str(path) in watch.look()
        self.write(path, self.WHOLE)
        assert watch.look() is None

    def test_half_a_file_is_none_however_often_it_is_written(self, tmp_path):
        path = tmp_path / "chain.json"
        watch = self.watch(path)
        for _ in range(10):
            self.now += 5
            self.write(path, self.WHOLE[:-1])
            told = watch.look()
        assert "has not been written for 50 s" in told and "disk is full" in told

    def test_a_file_that_is_missing_is_none(self, tmp_path):
        watch = self.watch(tmp_path / "chain.json")
        self.now = 31
        assert watch.look() is not None

    def test_the_time_in_which_the_chain_was_down_does_not_count(self, tmp_path):
        watch = self.watch(tmp_path / "chain.json")
        self.now = 31
        watch.begin_anew()
        assert watch.look() is None


def test_a_chain_whose_state_can_not_be_written_says_so_and_when_it_is_over(tmp_path, monkeypatch):
    monkeypatch.setattr(anvil_process, "STATE_SILENCE_SECONDS", 7.0)
    monkeypatch.setattr(anvil_process, "UPKEEP_SECONDS", 0.2)
    state = tmp_path / "devnet" / "chain.json"
    with Devnet.start(tmp_path / "devnet") as devnet:
        wait_for(state.exists, what="the first state")
        state.unlink()
        state.mkdir()  # As on a full disk: anvil can't write it, and goes on.
        told = wait_for(lambda: devnet.trouble, what="a word about it")
        assert "has not been written" in told and rpc(devnet, "eth_chainId").ok
        state.rmdir()
        wait_for(lambda: devnet.trouble is None, what="the all-clear")


def test_starting_in_a_thread_that_ends_leaves_the_chain_running(tmp_path):
    made: list[Devnet] = []
    thread = threading.Thread(target=lambda: made.append(Devnet.start(tmp_path / "devnet")))
    thread.start()
    thread.join()
    assert rpc(made[0], "eth_chainId").ok
    made[0].stop()
    assert not made[0].is_running
