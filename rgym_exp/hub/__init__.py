"""What a host runs: a swarm of their own in one process, with two child processes (anvil and p2pd).

- ``hub_plan``    options, the record of what this hub was, ports: checked before anything is loaded
- ``hub``         the life: chain, contracts, bootnode, keeper, judge, API, started in this order and stopped in reverse
- ``keeper``      when a round is over, and the loop that advances it; ``peer_activity`` who announced which round
- ``api``         ``/invite``, ``/status``, ``/health``, ``/rpc``; ``rpc_proxy`` what gets through to the chain
- ``judging``     the judge and the games beside the hub; ``judge_routes`` their HTTP; ``game_master`` runs the games on
                  the contract, ``game_file`` remembers them
- ``leaderboard`` how the peers stand: ``follower`` reads events (``contract_events``) into the ``ledger`` (its file:
                  ``ledger_tables``), ``ranking`` ranks, ``leaderboard_page`` shows; ``peer_ids`` which ids
- ``rate_limit``  an allowance per client; ``addresses`` ports and public addresses; ``hub_record`` ``hub.json``
- ``client``      asking a hub from outside; ``local_hub`` finding or starting this machine's own
"""
