"""The contract: which round it is, who owns which peer, rewards and votes.

Map, from what a node holds to what it stands on:

- ``coordinator``  the ``Coordinator`` protocol and its errors: all that the node's loop knows of a chain
- ``factory``      makes one by its configured name
- ``contract_coordinator``  what the kinds with a contract share
- ``market``       the ``Market`` protocol; ``contract_market`` the one on a chain
- ``wallet``       a key file and an RPC
- ``modal``        an account that the login server keeps; ``login_client`` asks that server
- ``offline``      a local clock
- ``sending``      the thread that empties the outbox; ``outbox`` the SQLite rows, ``outbox_schema`` their table;
  ``verdict`` what a refusal means
- ``contract``     typed calls of a contract, errors by name; ``market_contract`` those of the PredictionMarket;
  ``transactions`` signed and paid for, ``last_sent`` what the last one tells about the next
- ``rpc``          the way to a chain's server
- ``account``      the key file; ``account_lock`` one sender per account on this machine
- ``deploy``       what a host does to the contract
- ``devnet``       a chain of one's own on this machine: ``anvil`` the program, ``anvil_process`` its life,
  ``saved_state`` its file

web3 is not imported by importing the package: it takes a second, and most commands must not pay for it.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress

_PYTHONS_LIMIT, _PY_ECCS_LIMIT = 1_000, 100_000


def _keep_recursion_limit() -> None:
    """Import py_ecc, which web3 and eth_account bring, without the recursion limit of 100,000 that it sets.

    With that limit deeply nested JSON from a stranger runs through the C stack and ends the process, where Python's
    own limit makes an exception of it.
    """
    limit = sys.getrecursionlimit()
    with suppress(ImportError):
        importlib.import_module("py_ecc")
    # Whoever imported it before us has the high limit already.
    sys.setrecursionlimit(_PYTHONS_LIMIT if limit == _PY_ECCS_LIMIT else limit)


_keep_recursion_limit()
