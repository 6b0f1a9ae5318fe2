"""RL Swarm: train your own language model by reinforcement learning together with strangers.

The packages, from the top down (imports point only downward; ARCHITECTURE.md has the picture):

    cli, commands   what people type
    node            a node's life, and one round in the order in which it happens
    hub             what a host runs: bootnode, devnet, keeper, HTTP API
    tasks training swarm chain   the packages that a round calls; they do not know each other
    config observe  typed settings; logs, metrics and progress
    types           the dataclasses that flow between the packages; errors: what a person can do something about
    base            what knows nothing of the swarm and is used everywhere, once each
"""

__version__ = "0.2.0"
