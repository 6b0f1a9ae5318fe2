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
    own_groups: int
    foreign_groups: int
    redraws: int
    """How often a set of groups that teach nothing is drawn again."""
    max_slots: int
    """Bound on the slots of one peer in one round; every receiver enforces it."""
    groups_per_peer: int
    gather_timeout_seconds: float
    poll_seconds: float

    @property
    def total_groups(self) -> int:
        """Groups of every batch, own and foreign."""
        return self.own_groups + self.foreign_groups

    @classmethod
    def of(cls, config: Config) -> RoundSettings:
        """Take the settings out of a whole configuration."""
        return cls(
            swarm_id=config.network.swarm_id,
            num_generations=config.training.num_generations,
            own_groups=config.training.own_groups,
            foreign_groups=config.training.foreign_groups,
            redraws=config.training.redraws,
            max_slots=config.communications.max_slots,
            groups_per_peer=config.communications.groups_per_peer,
            gather_timeout_seconds=config.communications.gather_timeout_seconds,
            poll_seconds=config.blockchain.poll_seconds,
        )
