"""The contract: which round it is, who owns which peer, rewards and votes.

Map, from what a node holds to what it stands on:

- ``coordinator``  the ``Coordinator`` protocol and its errors: all that the node's loop knows of a chain
- ``factory``      makes one by its configured name
- ``wallet``       a key file and an RPC: the real one
- ``modal``        through the login server; ``offline`` a local clock; ``memory`` a chain in this process, for tests
- ``sending``      the thread that empties the outbox; ``outbox`` the SQLite rows; ``verdict`` what a refusal means
- ``contract``     typed calls of the SwarmCoordinator, errors by name; ``transactions`` signed and paid for
- ``account``      the key file
- ``deploy``, ``owner``   what a host does to the contract
- ``devnet``, ``anvil``   a chain of one's own on this machine

Nothing here is imported by importing the package: web3 takes a second, and ``--help`` must not pay for it.
"""
