"""A swarm in one process: the in-memory kinds of the package's seams, for unit tests, benchmarks and experiments.

- ``memory_chain``     a contract in memory and its coordinators; ``memory_market`` its prediction market
- ``memory_exchange``  peers that hand each other their shares
- ``memory_judge``     a judge that asks and scores what it was told
- ``memory_tasks``     small sums, without reasoning-gym
- ``memory_observers`` a tracker and a progress view that remember
- ``virtual_...``      a whole swarm in virtual time, with the real keeper and gatherings
- ``former_rule``      when rounds ended and who was fetched before, to compare with
"""
