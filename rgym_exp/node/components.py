"""Making the components that the configuration names: ours by default, or somebody's own by ``_target_``."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rgym_exp.base.swarm_clock import SwarmClock
from rgym_exp.chain.coordinator import Coordinator
from rgym_exp.chain.factory import make_coordinator
from rgym_exp.chain.market import Market
from rgym_exp.config.environment import secrets_in
from rgym_exp.config.paths import Home, login_token_file
from rgym_exp.config.resolved import without_secrets
from rgym_exp.config.schema import Config
from rgym_exp.config.seams import instantiate_or, target_of
from rgym_exp.config.validate import is_bootnode
from rgym_exp.judge.http_judge import HttpJudge
from rgym_exp.judge.judge import Judge
from rgym_exp.judge.judge_client import JudgeClient
from rgym_exp.node.own_classes import guarded_coordinator, guarded_exchange, guarded_tasks
from rgym_exp.node.prediction import MarketPlayer
from rgym_exp.observe.metrics import read_history
from rgym_exp.observe.services import make_tracker
from rgym_exp.observe.tracker import Tracker
from rgym_exp.swarm.exchange import Exchange
from rgym_exp.swarm.libp2p import LibP2PExchange
from rgym_exp.swarm.multiaddrs import is_on_this_machine
from rgym_exp.swarm.names import animal_name
from rgym_exp.tasks.source import ReasoningGymTasks, TaskSource
from rgym_exp.training.build import Learner
from rgym_exp.training.hub_push import HubPush
from rgym_exp.training.model_card import TrainedHere
from rgym_exp.training.provenance import hyperparameters, versions

logger = logging.getLogger("rl_swarm.node")

# So many held-out problems show which datasets there are.
_SAMPLE_PROBLEMS = 64


def make_tasks(config: Config) -> TaskSource:
    """The problems: the network's tasks file, another one, or a class."""
    name = config.network.tasks if config.tasks == "auto" else config.tasks
    made: TaskSource = instantiate_or(config.tasks, lambda: ReasoningGymTasks(name), key="tasks")
    return guarded_tasks(made, target) if (target := target_of(config.tasks)) else made


def make_coordinator_of(config: Config, home: Home, clock: SwarmClock) -> Coordinator:
    """The contract: as the network says, unless the section ``blockchain`` says otherwise. The hub sets the clock."""
    chain, network = config.blockchain, config.network
    kind = network.coordinator if chain.coordinator == "auto" else chain.coordinator
    given: dict[str, Any] = {
        "rpc_url": chain.rpc_url or network.rpc_url,
        "contract_address": chain.contract_address or network.coordinator_address,
        "market_address": network.prg_address,
        "hub_url": network.hub_url,
        "chain_id": network.chain_id,
        "key_file": home.account_key,
        "outbox_path": home.outbox,
        "login_url": network.login_url,
        "login_token_file": login_token_file(wallet=network.login_wallet),
        "round_seconds": chain.round_seconds,
        "on_time": clock.observe,
    }
    made: Coordinator = instantiate_or(
        chain.coordinator, lambda: make_coordinator(kind, **given), key="blockchain.coordinator", given=given
    )
    return guarded_coordinator(made, target) if (target := target_of(chain.coordinator)) else made


def make_judge(config: Config) -> Judge | None:
    """The network's judge, or somebody's own; None where there is none."""
    url = None if config.judge.judge == "none" else config.network.judge_url
    given = {"base_url": url, "timeout_seconds": config.judge.timeout_seconds}
    return instantiate_or(
        config.judge.judge,
        lambda: HttpJudge(url, timeout_seconds=config.judge.timeout_seconds) if url else None,
        key="judge.judge",
        given=given,
    )


def make_judge_client(config: Config, judge: Judge | None, *, peer_id: str, model_name: str) -> JudgeClient | None:
    """Where the judge's questions come in; None where none are to be asked."""
    if judge is None or config.judge.every_rounds == 0:
        return None
    return JudgeClient(
        judge,
        user_id=peer_id,
        model_name=model_name,
        every_rounds=config.judge.every_rounds,
        questions=config.judge.questions,
    )


def make_player(
    config: Config, home: Home, judge: Judge | None, market: Market | None, *, peer_id: str
) -> MarketPlayer | None:
    """The player of the prediction market; None where there is no game to play, or this node is not to."""
    wanted = config.prg_game_config.prg_game
    if judge is not None and market is not None and wanted is not False:
        return MarketPlayer(
            judge=judge, market=market, peer_id=peer_id, state_file=home.prg_state, record_file=home.prg_record
        )
    if wanted:
        lacks = "contract (network.prg_address)" if market is None else "judge to run its games (network.judge_url)"
        logger.warning("prg_game is on, but this network's prediction market has no %s: not playing.", lacks)
    return None


def make_push(
    config: Config, home: Home, tasks: TaskSource, learner: Learner, *, peer_id: str, model_name: str
) -> HubPush | None:
    """Where the trained model is pushed to; None without a token for it."""
    sample = tasks.held_out(_SAMPLE_PROBLEMS)
    training = config.training
    run = TrainedHere(
        model_name=model_name,
        lora=training.lora,
        animal_name=animal_name(peer_id),
        peer_id=peer_id,
        network=config.network.name,
        swarm_id=config.network.swarm_id,
        tasks=config.network.tasks if config.tasks == "auto" else str(config.tasks),
        datasets=sorted({problem.dataset for problem in sample}),
        chat=tasks.messages(sample[0]) if sample else (),
        hyperparameters=hyperparameters(
            training,
            learning_rate=learner.trainer.args.learning_rate,
            max_completion_length=training.max_completion_length or tasks.max_completion_length,
        ),
        versions=versions(),
    )
    return HubPush.make(
        os.environ,
        folder=home.push,
        run=run,
        frequency=training.hf_push_frequency,
        name_of=animal_name,
        history=read_history(home.logs / "metrics.jsonl"),
    )


def make_exchange(
    config: Config, home: Home, tasks_digest: str, contract_bootnodes: Sequence[str], clock: SwarmClock
) -> Exchange:
    """The peer-to-peer network, with the bootnodes of the network, the contract and the user."""
    settings = config.communications
    listed = [address for address in contract_bootnodes if is_bootnode(address)]
    if len(listed) < len(contract_bootnodes):
        logger.warning(
            "Left aside %d of the contract's bootnodes: no multiaddrs.", len(contract_bootnodes) - len(listed)
        )
    bootnodes = list(dict.fromkeys([*config.network.bootnodes, *listed, *settings.bootnodes]))
    given: dict[str, Any] = {
        "identity_path": home.identity,
        "swarm_id": config.network.swarm_id,
        "tasks_digest": tasks_digest,
        "max_slots": settings.max_slots,
        "num_generations": config.training.num_generations,
        "host": listen_host(settings.host, bootnodes),
        "port": settings.port,
        "announce": settings.announce,
        "bootnodes": bootnodes,
        "max_share_bytes": settings.max_share_bytes,
        "clock": clock,
    }
    made: Exchange = instantiate_or(
        settings.exchange, lambda: LibP2PExchange(**given), key="communications.exchange", given=given
    )
    return guarded_exchange(made, target) if (target := target_of(settings.exchange)) else made


def listen_host(host: str, bootnodes: Sequence[str]) -> str:
    """Where to listen: as configured; by default on loopback, unless the swarm has bootnodes on other machines.

    Peers fetch each other's shares directly, so a node that listens on loopback only has nothing to give them.
    """
    if host != "auto":
        return host
    if all(is_on_this_machine(address) for address in bootnodes):
        return "127.0.0.1"
    logger.info("Listening on all addresses, so that peers on other machines can fetch this node's answers.")
    return "0.0.0.0"


def make_tracker_of(config: Config, home: Home, *, run_name: str) -> Tracker:
    """``logs/metrics.jsonl``, the service that the configuration names, and a class of somebody's own beside them."""
    given = {"folder": Path(home.logs), "run_name": run_name}
    own = instantiate_or(config.tracker, lambda: None, key="tracker", given=given)
    return make_tracker(
        config.observe.log_with,
        logs=home.logs,
        run_name=run_name,
        config=without_secrets(asdict(config), secrets_in(os.environ)),
        also=[own] if own is not None else [],
    )
