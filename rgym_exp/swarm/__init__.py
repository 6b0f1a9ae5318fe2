"""The swarm package: who we are, who else is there, and how shares travel.

A round, seen from here: a peer **publishes** a share (`publishing` packs it, `transfer` serves its bytes by digest) and
publishes a small signed announcement to the **DHT** (`dht_records`; `announcement` is the record, `validator` its
guard, `shards` its key).
Meanwhile a **gathering** (`gathering`) reads the DHT, fetches the shares it finds, and lets through only those that
`share` can decode within its limits and `verify` finds true to their announcement. `selection` then picks groups.

`exchange` holds the Protocols that the node programs against; `libp2p` is the real kind.
Homes behind routers: `share_routes` fetches directly or through a bootnode, which passes shares on (`share_relay`,
`share_transit`) and has a peer's own address dialled from outside (`dial_back`; a node asks by `reachability`, the
doctor by `outside_look`).
`identity` is the key in ``swarm.pem``, `names` turns peer ids into words, `bootnodes` keeps us in touch with the swarm.
"""
