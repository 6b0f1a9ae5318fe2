"""A process: a bootnode as the hub runs it, without the rest of a hub. Prints its address as one line, then serves."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from rgym_exp.hub.addresses import bootnode_address
from rgym_exp.swarm.dht_records import DhtRecords
from rgym_exp.swarm.identity import load_or_create_identity


async def serve(arguments: argparse.Namespace) -> None:
    """Until the process is ended."""
    identity = load_or_create_identity(arguments.home / "hub.pem")
    address = bootnode_address(arguments.public, arguments.port, identity.peer_id)
    await DhtRecords.create(
        identity=identity,
        swarm_id="lab",
        host=arguments.host,
        port=arguments.port,
        announce=[address.rpartition("/p2p/")[0]],
    )
    print(f"BOOTNODE {address}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--public", required=True, help="the address that others know")
    parser.add_argument("--port", type=int, default=38331)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s")
    asyncio.run(serve(parser.parse_args()))
