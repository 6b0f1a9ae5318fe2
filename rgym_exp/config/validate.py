"""Whether a configuration makes sense: every value in its range, and the parts that a run needs all there."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from rgym_exp.config.schema import Config
from rgym_exp.types import MAX_GROUP_COMPLETIONS, MAX_SWARM_ID_BYTES

COORDINATORS = ("wallet", "modal", "offline")
LOSS_TYPES = ("grpo", "dapo", "dr_grpo", "bnpo", "cispo", "luspo", "vespo", "sapo")
DEVICES = ("auto", "cpu", "cuda", "mps")
CHOICES: Mapping[str, Collection[str]] = {
    "network.coordinator": COORDINATORS,
    "network.login_wallet": ("local", "alchemy"),
    "training.loss_type": LOSS_TYPES,
    "training.scale_rewards": ("group", "batch", "none"),
    "training.external_weight": ("none", "bounded"),
    "training.dtype": ("auto", "bfloat16", "float32"),
    "observe.live": ("auto", "yes", "no"),
    "observe.page": ("auto", "yes", "no"),
    "observe.log_with": ("none", "wandb", "tensorboard", "trackio"),
    "observe.log_level": ("DEBUG", "INFO", "WARNING", "ERROR"),
}
# Inclusive bounds; None is no bound. Keys that may be null are checked when they aren't.
RANGES: Mapping[str, tuple[float, float | None]] = {
    "training.max_rounds": (1, None),
    "training.num_generations": (2, MAX_GROUP_COMPLETIONS),
    "training.local_groups": (1, None),
    "training.external_groups": (0, None),
    "training.resamples": (0, None),
    "training.max_completion_length": (1, None),
    "training.top_k": (0, None),
    "training.beta": (0, None),
    "training.steps_per_round": (1, None),
    "training.lora_rank": (1, None),
    "training.micro_batch_groups": (1, None),
    "training.checkpoints_to_keep": (1, None),
    "training.seed": (0, 2**32 - 1),
    "communications.port": (0, 65535),
    "communications.gather_timeout_seconds": (0, None),
    "communications.max_share_bytes": (1024, 64 * 1024 * 1024),
    "communications.groups_per_peer": (1, None),
    "communications.max_slots": (1, 1024),
    "eval.every_rounds": (0, None),
    "eval.items": (1, None),
    "judge.every_rounds": (0, None),
    "judge.questions": (1, 16),
    "training.hf_push_frequency": (0, None),
    "network.chain_id": (1, None),
}
ABOVE_ZERO: Mapping[str, float | None] = {
    "training.temperature": None,
    "training.top_p": 1,
    "training.learning_rate": None,
    "training.epsilon": 1,
    "training.epsilon_high": None,
    "training.max_grad_norm": None,
    "training.vllm_gpu_memory_utilization": 1,
    "training.checkpoint_minutes": None,
    "blockchain.poll_seconds": None,
    "judge.timeout_seconds": None,
    "blockchain.round_seconds": None,
}
URLS = (
    "network.hub_url",
    "network.rpc_url",
    "network.judge_url",
    "network.login_url",
    "network.explorer_url",
    "blockchain.rpc_url",
)
ADDRESSES = ("network.coordinator_address", "network.prg_address", "blockchain.contract_address")
MULTIADDRS = ("network.bootnodes", "communications.announce", "communications.bootnodes")

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_DIALABLE = re.compile(r"/(ip4|ip6|dns|dns4|dns6)/[\w.:%-]+/(tcp|udp)/\d{1,5}(/[\w./:%-]*?)?")
_BOOTNODE = re.compile(_DIALABLE.pattern + r"/p2p/[1-9A-HJ-NP-Za-km-z]{20,80}")


def is_address(text: str) -> bool:
    """Whether ``text`` is an account or contract address: 0x and 40 hex digits."""
    return bool(_ADDRESS.fullmatch(text))


def is_bootnode(text: str) -> bool:
    """Whether ``text`` is a multiaddr that can be dialled and ends in ``/p2p/<peer id>``."""
    return bool(_BOOTNODE.fullmatch(text))


def is_http_url(text: str) -> bool:
    """Whether ``text`` starts like an HTTP address with a host."""
    return bool(re.fullmatch(r"https?://[!-.0-~][!-~]*", text))


def problems_of(config: Config) -> list[str]:
    """A sentence for everything that makes no sense, with what may stand there.

    The sentence starts with the key's name where it is about one key.
    """
    return [*_choices(config), *_numbers(config), *_places(config), *_seams(config), *_together(config)]


def value_at(config: Config, name: str) -> Any:
    """The value of a dotted key."""
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _choices(config: Config) -> Iterator[str]:
    for name, allowed in CHOICES.items():
        if (value := value_at(config, name)) not in allowed:
            yield f"{name} must be one of {', '.join(allowed)}, not {value!r}."
    if (device := config.training.device) not in DEVICES:
        # Trainer and vLLM take the first GPU that they see.
        hint = " Which GPU is chosen with CUDA_VISIBLE_DEVICES." if device.startswith("cuda:") else ""
        yield f"training.device must be one of {', '.join(DEVICES)}, not {device!r}.{hint}"


def _numbers(config: Config) -> Iterator[str]:
    for name, (low, high) in RANGES.items():
        value = value_at(config, name)
        # Written so that a NaN fails too.
        if value is not None and not (low <= value and (high is None or value <= high) and not math.isinf(value)):
            yield f"{name} must be {_range(low, high)}, not {value}."
    for name, most in ABOVE_ZERO.items():
        value = value_at(config, name)
        if value is not None and not (0 < value < math.inf and (most is None or value <= most)):
            yield f"{name} must be above 0{'' if most is None else f' and at most {most}'}, not {value}."
    if config.training.epsilon_high < config.training.epsilon:
        yield (
            f"training.epsilon_high ({config.training.epsilon_high}) must not be below training.epsilon"
            f" ({config.training.epsilon})."
        )


def _range(low: float, high: float | None) -> str:
    return f"at least {low}" if high is None else f"from {low} to {high}"


def _places(config: Config) -> Iterator[str]:
    for name in URLS:
        if (value := value_at(config, name)) is not None and not is_http_url(value):
            yield f"{name} must be an address that starts with http:// or https://, not {value!r}."
    for name in ADDRESSES:
        if (value := value_at(config, name)) is not None and not is_address(value):
            yield f"{name} must be 0x and 40 hex digits, not {value!r}."
    for name in MULTIADDRS:
        announce = name == "communications.announce"
        for value in value_at(config, name):
            if announce and not _DIALABLE.fullmatch(value):
                yield f"{name} must hold multiaddrs such as /ip4/203.0.113.5/tcp/38600, not {value!r}."
            if not announce and not is_bootnode(value):
                yield f"{name} must hold multiaddrs such as /ip4/203.0.113.5/tcp/38600/p2p/<peer id>, not {value!r}."
    try:
        if config.communications.host != "auto":
            ipaddress.ip_address(config.communications.host)
    except ValueError:
        yield (
            "communications.host must be auto or an IP address of this machine, 127.0.0.1 or 0.0.0.0,"
            f" not {config.communications.host!r}."
        )


def _seams(config: Config) -> Iterator[str]:
    named: Mapping[str, Collection[str] | None] = {
        "blockchain.coordinator": ("auto", *COORDINATORS),
        "communications.exchange": ("auto",),
        "tracker": ("auto",),
        "judge.judge": ("auto", "none"),
        "tasks": None,  # Any name or path; the tasks package says whether it exists.
    }
    for name, allowed in named.items():
        value = value_at(config, name)
        if isinstance(value, Mapping):
            if not isinstance(value.get("_target_"), str):
                yield f"{name} is a mapping without _target_: name the class there, e.g. _target_: my_package.MyClass."
        elif not isinstance(value, str) or not value or (allowed is not None and value not in allowed):
            names = ", ".join(allowed) if allowed else "auto, a name, a path"
            yield f"{name} must be one of {names}, or a mapping with _target_, not {value!r}."


def _together(config: Config) -> Iterator[str]:
    network, chain, training = config.network, config.blockchain, config.training
    slots = training.local_groups * (1 + training.resamples)
    if slots > config.communications.max_slots:
        yield (
            f"training.local_groups x (1 + training.resamples) is {slots}, above communications.max_slots"
            f" ({config.communications.max_slots}): other peers would drop the shares. Lower one of the two."
        )
    if not network.swarm_id.strip() or len(network.swarm_id.encode(errors="replace")) > MAX_SWARM_ID_BYTES:
        yield f"network.swarm_id must be 1 to {MAX_SWARM_ID_BYTES} bytes: it keeps this swarm apart from others."
    kind = network.coordinator if chain.coordinator == "auto" else chain.coordinator
    # A hub on this machine brings chain and contract when it is up.
    if kind in ("wallet", "modal") and not network.hub:
        if not (chain.rpc_url or network.rpc_url):
            yield f"The {kind} coordinator needs a chain; network {network.name} names none: set blockchain.rpc_url."
        if not (chain.contract_address or network.coordinator_address):
            yield (
                f"The {kind} coordinator needs a contract; network {network.name} names none:"
                " set blockchain.contract_address."
            )
