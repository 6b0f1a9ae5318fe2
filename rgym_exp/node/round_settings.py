"""What a round is like."""

from __future__ import annotations

from dataclasses import dataclass

from rgym_exp.config.schema import Config


@dataclass(frozen=True, kw_only=True)
class RoundSettings:
    """The choices that a round needs, out of the configuration."""

    swarm_id: str
    num_generations: int
    """G: completions per problem."""
    local_groups: int
    external_groups: int
    resamples: int
    """How often zero-advantage groups are resampled."""
    max_slots: int
    """Bound on the slots of one peer in one round; every receiver enforces it."""
    groups_per_peer: int
    gather_timeout_seconds: float
    poll_seconds: float
    goes_on_alone: bool = False
    """Whether the next round begins at once where nobody else is known: a clock makes the rounds, and no bootnode leads
    to others who keep to it. Whoever comes later is waited for."""

    @property
    def total_groups(self) -> int:
        """Groups of every batch, local and external."""
        return self.local_groups + self.external_groups

    @classmethod
    def of(cls, config: Config) -> RoundSettings:
        """Take the settings out of a whole configuration."""
        return cls(
            swarm_id=config.network.swarm_id,
            num_generations=config.training.num_generations,
            local_groups=config.training.local_groups,
            external_groups=config.training.external_groups,
            resamples=config.training.resamples,
            max_slots=config.communications.max_slots,
            groups_per_peer=config.communications.groups_per_peer,
            gather_timeout_seconds=config.communications.gather_timeout_seconds,
            poll_seconds=config.blockchain.poll_seconds,
            goes_on_alone=is_offline(config) and not _has_bootnodes(config),
        )


def is_offline(config: Config) -> bool:
    """Whether a clock makes the rounds."""
    chosen = config.blockchain.coordinator
    return (config.network.coordinator if chosen == "auto" else chosen) == "offline"


def _has_bootnodes(config: Config) -> bool:
    return bool(config.network.bootnodes or config.communications.bootnodes)
