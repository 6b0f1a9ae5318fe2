"""Old spellings: names of the version before that this one still reads, those of the first RL Swarm, and one that stays
on the wire.

This is the only file where the old words occur. The version before's tables go with the next version.
"""

from __future__ import annotations

from collections.abc import Mapping

CONFIG_KEYS: Mapping[str, str] = {
    "training.own_groups": "training.local_groups",
    "training.foreign_groups": "training.external_groups",
    "training.foreign_weight": "training.external_weight",
    "training.redraws": "training.resamples",
}
"""Keys of the configuration: old name -> the name that the schema has."""

REMOVED_KEYS: Mapping[str, tuple[object, str]] = {
    "training.use_continuous_batching": (
        False,
        "it cast the weights that are trained to bf16 and generated nothing sooner. Take it away, or use"
        " training.use_vllm on a GPU.",
    ),
}
"""Keys of the configuration that are gone: the default, which a file may still hold, and what to do about another."""

REPORT_KEYS: Mapping[str, str] = {
    "own_groups": "local_groups",
    "foreign_groups": "external_groups",
    "foreign_peers": "external_peers",
    "own_reward": "local_reward",
    "foreign_reward": "external_reward",
    "zero_variance_share": "zero_advantage_share",
    "foreign_weights": "external_weights",
}
"""Keys of a line of ``metrics.jsonl``: old name -> field of ``RoundReport``."""

DHT_KEY_PREFIX = "rl-swarm/board/1"
"""How every key of the DHT begins. Peers of both versions meet there, so this spelling stays."""

_CONFIG_OF_TRAINER = "game_manager.trainer.config"

FIRST_SWARM_KEYS: Mapping[str, str] = {
    "training.max_round": "training.max_rounds",
    "training.num_transplant_trees": "training.external_groups",
    **{
        key: key
        for key in (
            "training.hf_push_frequency",
            "training.num_generations",
            "training.seed",
            "training.dtype",
            "prg_game_config.prg_game",
            "default_large_model_pool",
            "default_small_model_pool",
        )
    },
    "game_manager.max_round": "training.max_rounds",
    "game_manager.hf_push_frequency": "training.hf_push_frequency",
    "game_manager.trainer.models.0.pretrained_model_name_or_path": "training.model_name",
    "game_manager.trainer.log_with": "observe.log_with",
    "game_manager.trainer.epsilon": "training.epsilon",
    "game_manager.trainer.epsilon_high": "training.epsilon_high",
    "game_manager.trainer.num_generations": "training.num_generations",
    **{
        f"{_CONFIG_OF_TRAINER}.{key}": f"training.{key}"
        for key in (
            "beta",
            "dtype",
            "epsilon",
            "epsilon_high",
            "learning_rate",
            "max_completion_length",
            "max_grad_norm",
            "num_generations",
            "temperature",
            "top_k",
            "top_p",
        )
    },
    f"{_CONFIG_OF_TRAINER}.max_new_tokens": "training.max_completion_length",
    "game_manager.data_manager.num_train_samples": "training.local_groups",
    "game_manager.data_manager.num_transplant_trees": "training.external_groups",
    "game_manager.data_manager.num_evaluation_samples": "eval.items",
    "game_manager.data_manager.num_generations": "training.num_generations",
    "game_manager.data_manager.seed": "training.seed",
}
"""Keys of the first RL Swarm's rg-swarm.yaml whose values mean the same here: its name -> ours."""

FIRST_SWARM_REPLACED: Mapping[str, str] = {
    "log_dir": "logs/ in the home, --home",
    "training.max_stage": "a round has one stage",
    "blockchain.alchemy_url": "blockchain.rpc_url",
    "blockchain.swarm_contract_address": "blockchain.contract_address",
    "blockchain.org_id": "the login that `login` makes",
    "blockchain.mainnet_chain_id": "network.chain_id",
    "blockchain.modal_proxy_url": "network.login_url",
    "blockchain.initial_peers": "communications.bootnodes",
    "eval.judge_base_url": "network.judge_url",
    "communications.initial_peers": "communications.bootnodes",
    "game_manager.bootnodes": "communications.bootnodes",
    "game_manager.communication.initial_peers": "communications.bootnodes",
    "game_manager.communication.identity_path": "the variable IDENTITY_PATH",
    "game_manager.coordinator.web3_url": "blockchain.rpc_url",
    "game_manager.coordinator.contract_address": "blockchain.contract_address",
    "game_manager.hf_token": "the variable HUGGINGFACE_ACCESS_TOKEN",
    "game_manager.trainer.judge_base_url": "network.judge_url",
    "game_manager.data_manager.yaml_config_path": "tasks",
    "game_manager.data_manager.system_prompt_id": "tasks",
}
"""Keys of the first RL Swarm's rg-swarm.yaml whose values belong to its network or its code, and what replaces them."""

FIRST_SWARM_VARIABLES: Mapping[str, str] = {
    "SWARM_CONTRACT": "blockchain.contract_address",
    "PRG_CONTRACT": "network.prg_address",
    "ORG_ID": "the login server keeps who is logged in",
    "INITIAL_PEERS": "communications.bootnodes",
    "PEER_MULTI_ADDRS": "communications.bootnodes",
    "PUB_MULTI_ADDRS": "communications.announce",
    "HOST_MULTI_ADDRS": "communications.host and communications.port",
    "PARAM_B": "MODEL_NAME",
    "USE_BIG_SWARM": "MODEL_NAME",
}
"""Environment variables of the first RL Swarm that are not read here, and what replaces them."""
