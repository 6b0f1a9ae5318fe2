"""The typed configuration: one dataclass per section, every key with its meaning.

``rg-swarm.yaml`` (the template) carries the same keys and defaults; a test holds the two together.
"auto" means: decided at start from the network and the hardware, and printed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class NetworkConfig:
    """A named set of chain + contract + bootnodes + tasks (``config/network/*.yaml``, or an invite)."""

    name: str = "local"
    swarm_id: str = "local"
    """Names the swarm in seeds, DHT keys and signatures, so that two swarms never mix."""
    tasks: str = "starter"
    """Which tasks file: a name in ``config/tasks/`` or a path."""
    model_name: str = "auto"
    """Default model of this network; "auto" picks from the pool that suits the hardware."""
    hub: bool = False
    """Whether a run starts (or finds) a hub on this machine."""
    hub_url: str | None = None
    """HTTP API of the swarm's hub, e.g. ``http://127.0.0.1:8600``."""
    coordinator: str = "wallet"
    """Which coordinator by default: wallet, modal or offline."""
    chain_id: int | None = None
    rpc_url: str | None = None
    coordinator_address: str | None = None
    """Address of the SwarmCoordinator contract."""
    prg_address: str | None = None
    """Address of the PredictionMarket contract; none where the network has no market."""
    judge_url: str | None = None
    login_url: str | None = None
    """Base URL of the login server's REST API, for the modal coordinator; null: the one that a run starts here."""
    login_wallet: str = "local"
    """The login server's wallet: local (it keeps plain keys) or alchemy (smart accounts, login in the browser)."""
    explorer_url: str | None = None
    """Where people look at accounts and transactions; the login page links there."""
    bootnodes: list[str] = field(default_factory=list)
    """libp2p multiaddrs that end in ``/p2p/<peer id>``."""


@dataclass
class TrainingConfig:
    """The model, the GRPO step and the checkpoints."""

    model_name: str = "auto"
    """A Hugging Face name, a local folder, or "auto"."""
    max_rounds: int | None = None
    """Stop after this many rounds taken part in; null goes on for ever."""
    num_generations: int = 8
    """G: completions per problem. At least 2; the advantage is relative within a group."""
    local_groups: int = 4
    """Groups a round from this node's own problems."""
    external_groups: int = 4
    """Groups a round from other peers; missing ones are filled with own ones."""
    resamples: int = 1
    """How often zero-advantage groups are resampled, within local_groups x (1 + resamples) slots."""
    max_completion_length: int | None = None
    """Tokens; null takes the tasks file's."""
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    learning_rate: float | None = None
    """null: 1e-6; 5e-6 for models under 0.3 B parameters, 1e-5 for LoRA."""
    loss_type: str = "dapo"
    """TRL's loss_type. "sapo" is Soft Adaptive Policy Optimization, not Swarm sAmpling Policy Optimization."""
    steps_per_round: int = 1
    """Optimizer steps on each round's batch."""
    epsilon: float = 0.2
    epsilon_high: float = 0.28
    beta: float = 0.0
    """KL weight against the starting model; 0 keeps no reference model in memory."""
    scale_rewards: str = "group"
    max_grad_norm: float = 1.0
    external_weight: str = "none"
    """Weight on external groups: none (all 1) or bounded (clip(exp(our - sender's mean log-prob), 0.8, 1.0))."""
    lora: bool = False
    lora_rank: int = 16
    device: str = "auto"
    """auto, cpu, cuda, mps."""
    dtype: str = "auto"
    """auto, bfloat16 (bf16 compute, fp32 master weights) or float32."""
    gradient_checkpointing: bool = False
    micro_batch_groups: int | None = None
    """Groups per forward and backward pass; null fits memory. Halved after an out-of-memory error."""
    shared_prompt: bool = True
    """Compute a group's prompt once (packed step, shared prefill). False: TRL's own path."""
    use_vllm: bool = False
    vllm_gpu_memory_utilization: float = 0.3
    checkpoint_minutes: float = 10.0
    """Minutes between checkpoints; one is always written at the end."""
    checkpoints_to_keep: int = 2
    hf_push_frequency: int = 100
    """With HUGGINGFACE_ACCESS_TOKEN set, the model is pushed to the Hub every so many rounds and at the end; 0: only at
    the end."""
    seed: int = 42


@dataclass
class BlockchainConfig:
    """The contract: where, as whom, and how patiently."""

    coordinator: Any = "auto"
    """auto (the network's), wallet, modal, offline, or a mapping with ``_target_`` for one of your own."""
    rpc_url: str | None = None
    """Overrides the network's."""
    contract_address: str | None = None
    """Overrides the network's SwarmCoordinator."""
    poll_seconds: float = 1.0
    """How often the round is asked for while waiting for the next."""
    round_seconds: float = 60.0
    """Length of a round under the offline coordinator."""


@dataclass
class CommunicationsConfig:
    """The peer-to-peer network."""

    exchange: Any = "auto"
    """auto (libp2p), or a mapping with ``_target_``."""
    host: str = "auto"
    """Address to listen on. auto: this machine only, but every address in a swarm with a bootnode elsewhere."""
    port: int = 0
    """0 takes any free port."""
    announce: list[str] = field(default_factory=list)
    """Multiaddrs to tell others, when behind NAT with a forwarded port."""
    bootnodes: list[str] = field(default_factory=list)
    """Added to the network's."""
    gather_timeout_seconds: float = 60.0
    """Longest wait for external shares, counted from when the own share is published."""
    max_share_bytes: int = 4 * 1024 * 1024
    groups_per_peer: int = 4
    """At most this many groups from one peer in a round."""
    max_slots: int = 32
    """Slots a peer may draw problems from in a round; receivers drop shares that go beyond, so keep the swarm's."""


@dataclass
class EvalConfig:
    """Held-out evaluation by the node itself."""

    every_rounds: int = 10
    """0 turns it off. Also before the first round, and after the last of --rounds."""
    items: int = 64
    """How many held-out problems; training can never draw them."""


@dataclass
class JudgeConfig:
    """Evaluation by the network's judge."""

    judge: Any = "auto"
    """auto (the network's, where it has one), none, or a mapping with ``_target_`` for one of your own."""
    every_rounds: int = 1
    """0 turns it off."""
    questions: int = 4
    """How many are asked each time; the model answers them in one batched call."""
    timeout_seconds: float = 10.0
    """How long one answer of the judge may take. Rounds never wait for it."""


@dataclass
class PrgGameConfig:
    """The prediction market: play tokens on the answer to a question whose clues come one by one."""

    prg_game: bool | None = None
    """Whether to play; null: yes where the network has a market and a judge that runs its games."""


@dataclass
class ObserveConfig:
    """What a person sees."""

    live: str = "auto"
    """auto (on a terminal), yes, no."""
    page: str = "auto"
    """The node's web page: auto (where Node.js and enough memory are), yes, no."""
    log_with: str = "none"
    """none, wandb, tensorboard or trackio."""
    log_level: str = "INFO"


@dataclass
class Config:
    """The whole configuration of a run."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    blockchain: BlockchainConfig = field(default_factory=BlockchainConfig)
    communications: CommunicationsConfig = field(default_factory=CommunicationsConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    prg_game_config: PrgGameConfig = field(default_factory=PrgGameConfig)
    observe: ObserveConfig = field(default_factory=ObserveConfig)
    tasks: Any = "auto"
    """auto (the network's tasks file), a name in config/tasks/, a path, or a mapping with ``_target_``."""
    tracker: Any = "auto"
    """auto (what observe.log_with says), or a mapping with ``_target_``."""
    default_large_model_pool: list[str] = field(
        default_factory=lambda: [
            "nvidia/AceInstruct-1.5B",
            "dnotitia/Smoothie-Qwen3-1.7B",
            "Gensyn/Qwen2.5-1.5B-Instruct",
        ]
    )
    """Models for 40 GiB of GPU memory and more."""
    default_small_model_pool: list[str] = field(
        default_factory=lambda: ["Gensyn/Qwen2.5-0.5B-Instruct", "Qwen/Qwen3-0.6B"]
    )
    """Models for anything smaller."""
