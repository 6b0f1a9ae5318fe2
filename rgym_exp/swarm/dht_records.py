"""The DHT records: announcements, kept for a while by everybody together (a Kademlia DHT).

Used by every peer (through ``LibP2PExchange``) and by a hub, whose node is the bootnode that others join through.
hivemind's ``DHTNode`` runs on the caller's asyncio loop; its process wrapper, whose pipe breaks on larger messages, is
not used. All methods belong to that loop.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence

from hivemind.dht.node import DHTNode
from hivemind.dht.routing import DHTID
from hivemind.p2p import P2P, PeerID
from hivemind.p2p.p2p_daemon_bindings.utils import P2PDaemonError

from rgym_exp.base.swarm_clock import SwarmClock
from rgym_exp.errors import SwarmError
from rgym_exp.swarm.announcement import SignedAnnouncement, encode_announcement
from rgym_exp.swarm.bootnode_services import serve_as_bootnode
from rgym_exp.swarm.bootnodes import BootnodeKeeper, parse_bootnodes
from rgym_exp.swarm.daemon import start_daemon, use_clock
from rgym_exp.swarm.identity import Identity
from rgym_exp.swarm.reachability import ReachabilityWatch
from rgym_exp.swarm.reading import RecordReader
from rgym_exp.swarm.shards import Shard, Slice, SwarmSize, record_key, shard_of
from rgym_exp.swarm.validator import AnnouncementValidator, expiry_of
from rgym_exp.types import Announcement, interim_count

_REPLICAS = 4
"""Nodes that keep each shard."""
_NEIGHBOURS = 8
"""Size of a routing bucket (Kademlia's k), and how many neighbours each answer names: they cost more than the data."""
_QUICK_READ, _THOROUGH_READ = 2, 4
"""How many of a shard's keepers a read asks. Any may lack the newest record, but the next look is soon."""
_RPC_SECONDS = 3.0
_FIRST_CONTACT_SECONDS = 6.0
_KEYS_PER_READ = 16
_MAX_KEYS_STORED = 4096
# hivemind stops a search at the first value that lives "long enough"; nothing compares to NaN, so it asks everyone.
_NEVER_SUFFICIENT = float("nan")

logger = logging.getLogger("rl_swarm.swarm")


class DhtRecords:
    """One node of the DHT. Make it with ``create``."""

    def __init__(
        self,
        *,
        identity: Identity,
        swarm_id: str,
        p2p: P2P,
        node: DHTNode,
        validator: AnnouncementValidator,
        clock: SwarmClock,
    ) -> None:
        self.peer_id = identity.peer_id
        self.p2p = p2p
        self._identity = identity
        self._swarm_id = swarm_id
        self._node = node
        self._validator = validator
        self._clock = clock
        self._reader = RecordReader(self, random.Random())
        self._last: Announcement | None = None
        self._maddrs: list[str] = []
        self.bootnodes: list[PeerID] = []
        """Who may be asked to pass on a share that can't be fetched directly."""
        self.reachability: ReachabilityWatch | None = None
        """Whether others can reach this node, as its bootnodes find it."""
        self._tasks: list[asyncio.Task[None]] = []
        self._keeper: BootnodeKeeper | None = None
        self._is_closed = False
        self.stopped = asyncio.Event()
        """Set when the daemon has ended, whether by ``close`` or by itself."""

    @property
    def size(self) -> SwarmSize:
        """How many peers there are, as far as this node has read."""
        return self._reader.size

    @property
    def level(self) -> int:
        """The level at which this node writes."""
        return self.size.level or 0

    @classmethod
    async def create(
        cls,
        *,
        identity: Identity,
        swarm_id: str,
        host: str = "127.0.0.1",
        port: int = 0,
        announce: Sequence[str] = (),
        bootnodes: Sequence[str] = (),
        on_drop: Callable[[str], None] | None = None,
        first_contact_seconds: float = _FIRST_CONTACT_SECONDS,
        clock: SwarmClock | None = None,
    ) -> DhtRecords:
        """Start a node of the DHT: at most ``first_contact_seconds`` after its daemon is up, reached or not.

        ``port`` 0 takes any free port; ``announce`` are multiaddrs to tell others instead of those listened on;
        ``on_drop(reason)`` is told of each bad record met; ``clock`` is the swarm's time, by default this machine's.

        Raises:
            SwarmError: the daemon can't start, or a bootnode's address is malformed. Not: a bootnode is away.
        """
        known = parse_bootnodes(bootnodes)
        clock = clock or SwarmClock()
        validator = AnnouncementValidator(swarm_id, on_drop or (lambda reason: None), clock)
        p2p = await start_daemon(identity, host=host, port=port, announce=announce, bootnodes=bootnodes)
        try:
            use_clock(clock)
            node = await _start_node(p2p, validator)
            records = cls(identity=identity, swarm_id=swarm_id, p2p=p2p, node=node, validator=validator, clock=clock)
            records._maddrs = await _addresses(p2p)
            records.bootnodes = [each.peer_id for each in known if each.peer_id != p2p.peer_id]
            if not known:
                await serve_as_bootnode(p2p)
        except (P2PDaemonError, OSError, EOFError, ValueError) as error:
            await p2p.shutdown()
            raise SwarmError(f"The peer-to-peer daemon (p2pd) ended right after its start: {error}") from error
        except BaseException:
            await p2p.shutdown()
            raise
        records.reachability = ReachabilityWatch(p2p, records.bootnodes)
        records._keeper = keeper = BootnodeKeeper(known, p2p, node, records._joined)
        work = (keeper.run(), records.reachability.run(), records._watch_daemon())
        records._tasks = [asyncio.create_task(each) for each in work]
        for task in records._tasks:
            task.add_done_callback(_report)
        if known:
            await keeper.first_attempt(first_contact_seconds)
        return records

    def visible_maddrs(self) -> list[str]:
        """Addresses that others can dial, each ``/ip4/.../tcp/.../p2p/<peer id>`` (those to announce, if given)."""
        return list(self._maddrs)

    def set_round(self, round_number: int) -> None:
        """Say which round the swarm is at, so that records from nowhere near it are refused."""
        self._validator.set_round(round_number)
        if self._keeper is not None and not interim_count(round_number):
            # Whoever knows a round of the contract has heard of the hub just now.
            self._keeper.try_now()

    async def publish(self, announcement: Announcement) -> bool:
        """Publish this peer's own announcement; whether somebody keeps it now, or nobody needs to any more.

        It is published again whenever contact with the swarm is made anew.

        Raises:
            ValueError: the announcement is another peer's, or has a field outside the limits.
        """
        level = self.level
        record = encode_announcement(announcement, self._identity, level=level)
        self._last = announcement
        expiry = expiry_of(announcement)
        if expiry <= self._clock.now():
            return True
        number = shard_of(self.peer_id, announcement.listed, level)
        shard = Shard(announcement.listed, level, number)
        key = record_key(self._swarm_id, announcement.listed, level, number)
        is_taken = await self._node.store(
            key, subkey=self.peer_id, value=record, expiration_time=expiry, beam_size=_REPLICAS
        )
        return bool(is_taken) or await self._is_kept(announcement, shard)

    async def _is_kept(self, announcement: Announcement, shard: Shard) -> bool:
        """Whether this or a newer one of ours is there: who has it already refuses to store it again."""
        held = (await self.get([shard], thorough=True))[shard]
        return any(one.peer_id == self.peer_id and one.time >= announcement.time for one in held)

    async def read(self, round: int, *parts: Slice, thorough: bool = True) -> list[Announcement]:
        """See ``RecordReader.read``. Never raises for what others wrote or for an unreachable network."""
        return await self._reader.read(round, *parts, thorough=thorough)

    async def survey(self, round: int, *, sweep: bool = False) -> list[Announcement]:
        """See ``RecordReader.survey``."""
        return await self._reader.survey(round, sweep=sweep)

    async def get(self, shards: Sequence[Shard], *, thorough: bool) -> dict[Shard, list[Announcement]]:
        """See ``ShardStore``."""
        keys = [record_key(self._swarm_id, shard.round, shard.level, shard.number) for shard in shards]
        held: dict[Shard, list[Announcement]] = {}
        beam = _THOROUGH_READ if thorough else _QUICK_READ
        for start in range(0, len(keys), _KEYS_PER_READ):
            batch = keys[start : start + _KEYS_PER_READ]
            values = await self._node.get_many(batch, sufficient_expiration_time=_NEVER_SUFFICIENT, beam_size=beam)
            for key, shard in zip(batch, shards[start : start + _KEYS_PER_READ], strict=True):
                entry = values.get(key)
                held[shard] = self._announcements_in(entry.value if entry is not None else None, shard)
        return held

    async def is_alive(self) -> bool:
        """Whether the daemon answers."""
        if self.stopped.is_set():
            return False
        try:
            await _addresses(self.p2p)
        except (OSError, EOFError, P2PDaemonError):
            return False
        return True

    async def close(self) -> None:
        """Leave the DHT and end the daemon."""
        if self._is_closed:
            return
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(_RPC_SECONDS):
                await self._node.shutdown()
        except (TimeoutError, OSError, EOFError, P2PDaemonError):
            logger.debug("The DHT node did not end in order.", exc_info=True)
        await self.p2p.shutdown()
        self.stopped.set()

    def _announcements_in(self, value: object, shard: Shard) -> list[Announcement]:
        if not isinstance(value, dict):
            return []
        announcements = []
        for subkey, entry in value.items():
            signed: SignedAnnouncement | None = self._validator.announcement_in(entry.value, subkey=subkey)
            if signed is None or signed.level != shard.level:
                continue
            announcement = signed.announcement
            is_at_home = (announcement.swarm_id, announcement.listed) == (self._swarm_id, shard.round)
            if is_at_home and shard_of(announcement.peer_id, shard.round, shard.level) == shard.number:
                announcements.append(announcement)
        return announcements

    async def _joined(self) -> None:
        if self.reachability is not None:
            self.reachability.joined()
        if self._last is not None:
            await self.publish(self._last)

    async def _watch_daemon(self) -> None:
        await self.p2p._child.wait()
        logger.error("The peer-to-peer daemon (p2pd) ended by itself, with code %s.", self.p2p._child.returncode)
        self.stopped.set()


async def _addresses(p2p: P2P) -> list[str]:
    try:
        return [str(address) for address in await p2p.get_visible_maddrs(latest=True)]
    except ValueError:  # none at all: a peer that can only be reached through a relay
        return []


async def _start_node(p2p: P2P, validator: AnnouncementValidator) -> DHTNode:
    node = await DHTNode.create(
        p2p=p2p,
        # From the peer id, so that a node that restarts is the same node to those who remember it.
        node_id=DHTID.generate(source=str(p2p.peer_id)),
        num_replicas=_REPLICAS,
        num_workers=_REPLICAS,
        bucket_size=_NEIGHBOURS,
        wait_timeout=_RPC_SECONDS,
        # No caches: a shard changes all the time, and spreading copies of it costs more than asking again.
        cache_locally=False,
        cache_nearest=0,
        cache_on_store=False,
        cache_size=1,
        reuse_get_requests=False,
        record_validator=validator,
    )
    node.protocol._validate_dictionary = validator.keep_valid_entries
    node.protocol.storage.maxsize = _MAX_KEYS_STORED
    validator.watch_storage(node.protocol.storage)
    return node


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("A background task of the DHT ended by a mistake of ours.", exc_info=task.exception())
