"""Making the rooms that the configuration names: ours by default, or somebody's own by ``_target_``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rgym_exp.chain.coordinator import Coordinator
from rgym_exp.chain.factory import make_coordinator
from rgym_exp.config.paths import Home
from rgym_exp.config.resolved import without_secrets
from rgym_exp.config.schema import Config
from rgym_exp.config.seams import instantiate_or
from rgym_exp.observe.tracker import Tracker, make_tracker
from rgym_exp.swarm.exchange import Exchange
from rgym_exp.swarm.libp2p import LibP2PExchange
from rgym_exp.tasks.source import ReasoningGymTasks, TaskSource


def make_tasks(config: Config) -> TaskSource:
    """The problems: the network's tasks file, another one, or a class."""
    name = config.network.tasks if config.tasks == "auto" else config.tasks
    return instantiate_or(config.tasks, lambda: ReasoningGymTasks(name), key="tasks")


def make_coordinator_of(config: Config, home: Home) -> Coordinator:
    """The contract: as the network says, unless the section ``blockchain`` says otherwise."""
    chain, network = config.blockchain, config.network
    kind = network.coordinator if chain.coordinator == "auto" else chain.coordinator
    given: dict[str, Any] = {
        "rpc_url": chain.rpc_url or network.rpc_url,
        "contract_address": chain.contract_address or network.coordinator_address,
        "chain_id": network.chain_id,
        "key_file": home.account_key,
        "outbox_path": home.outbox,
        "login_url": network.login_url,
        "round_seconds": chain.round_seconds,
    }
    return instantiate_or(
        chain.coordinator, lambda: make_coordinator(kind, **given), key="blockchain.coordinator", given=given
    )


def make_exchange(config: Config, home: Home, tasks_digest: str, contract_bootnodes: Sequence[str]) -> Exchange:
    """The peer-to-peer network, with the bootnodes of the network, the contract and the user."""
    settings = config.communications
    bootnodes = list(dict.fromkeys([*config.network.bootnodes, *contract_bootnodes, *settings.bootnodes]))
    given: dict[str, Any] = {
        "identity_path": home.identity,
        "swarm_id": config.network.swarm_id,
        "tasks_digest": tasks_digest,
        "max_slots": settings.max_slots,
        "num_generations": config.training.num_generations,
        "host": settings.host,
        "port": settings.port,
        "announce": settings.announce,
        "bootnodes": bootnodes,
        "max_share_bytes": settings.max_share_bytes,
        "enough_shares": 2 * config.training.foreign_groups,
    }
    return instantiate_or(
        settings.exchange, lambda: LibP2PExchange(**given), key="communications.exchange", given=given
    )


def make_tracker_of(config: Config, home: Home, *, run_name: str) -> Tracker:
    """``logs/metrics.jsonl``, the service that the configuration names, and a class of somebody's own beside them."""
    given = {"folder": Path(home.logs), "run_name": run_name}
    own = instantiate_or(config.tracker, lambda: None, key="tracker", given=given)
    return make_tracker(
        config.observe.log_with,
        logs=home.logs,
        run_name=run_name,
        config=without_secrets(asdict(config)),
        also=[own] if own is not None else [],
    )
