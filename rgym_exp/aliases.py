"""Old spellings: names of the version before that this one still reads, and one that stays on the wire.

This is the only file where the old words occur. The tables go with the next version.
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
