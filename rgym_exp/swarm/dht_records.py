"""The DHT records: announcements, kept for a while by everybody together (a Kademlia DHT).

Used by every peer (through ``LibP2PExchange``) and by a hub, whose node is the bootnode that others join through.
hivemind's ``DHTNode`` runs on the caller's asyncio loop; its process wrapper, whose pipe breaks on larger messages, is
not used. All methods belong to that loop.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence

from hivemind.dht.node import DHTNode
from hivemind.dht.routing import DHTID
from hivemind.p2p import P2P, PeerID
from hivemind.p2p.p2p_daemon_bindings.utils import P2PDaemonError

from rgym_exp.errors import SwarmError
from rgym_exp.swarm.announcement import SignedAnnouncement, encode_announcement
from rgym_exp.swarm.bootnode_services import serve_as_bootnode
from rgym_exp.swarm.bootnodes import BootnodeKeeper, parse_bootnodes
from rgym_exp.swarm.daemon import start_daemon
from rgym_exp.swarm.identity import Identity
from rgym_exp.swarm.reachability import ReachabilityWatch
from rgym_exp.swarm.shards import SwarmSize, levels_to_read, record_key, shard_of
from rgym_exp.swarm.validator import RECORD_LIFETIME_SECONDS, AnnouncementValidator
from rgym_exp.types import Announcement

_REPLICAS = 4
"""Nodes that keep each shard."""
_NEIGHBOURS = 8
"""Size of a routing bucket (Kademlia's k), and how many neighbours each answer names: they cost more than the data."""
_NARROW_READ, _WIDE_READ = 2, 4
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
        self, *, identity: Identity, swarm_id: str, p2p: P2P, node: DHTNode, validator: AnnouncementValidator
    ) -> None:
        self.peer_id = identity.peer_id
        self.p2p = p2p
        self.size = SwarmSize()
        self._identity = identity
        self._swarm_id = swarm_id
        self._node = node
        self._validator = validator
        self._rng = random.Random()
        self._last: Announcement | None = None
        self._maddrs: list[str] = []
        self.bootnodes: list[PeerID] = []
        """Who may be asked to pass on a share that can't be fetched directly."""
        self.reachability: ReachabilityWatch | None = None
        """Whether others can reach this node, as its bootnodes find it."""
        self._tasks: list[asyncio.Task[None]] = []
        self._is_closed = False
        self.stopped = asyncio.Event()
        """Set when the daemon has ended, whether by ``close`` or by itself."""

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
    ) -> DhtRecords:
        """Start a node of the DHT: at most ``first_contact_seconds`` after its daemon is up, reached or not.

        ``port`` 0 takes any free port; ``announce`` are multiaddrs to tell others instead of those listened on;
        ``on_drop(reason)`` is told of each bad record met.

        Raises:
            SwarmError: the daemon can't start, or a bootnode's address is malformed. Not: a bootnode is away.
        """
        known = parse_bootnodes(bootnodes)
        validator = AnnouncementValidator(swarm_id, on_drop or (lambda reason: None))
        p2p = await start_daemon(identity, host=host, port=port, announce=announce, bootnodes=bootnodes)
        try:
            node = await _start_node(p2p, validator)
            records = cls(identity=identity, swarm_id=swarm_id, p2p=p2p, node=node, validator=validator)
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
        keeper = BootnodeKeeper(known, p2p, node, records._joined)
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

    async def publish(self, announcement: Announcement) -> bool:
        """Publish this peer's own announcement; whether at least this node's replica or another's took it.

        It is published again whenever contact with the swarm is made anew.

        Raises:
            ValueError: the announcement is another peer's, or has a field outside the limits.
        """
        level = self.size.level or 0
        record = encode_announcement(announcement, self._identity, level=level)
        self._last = announcement
        key = self._key(announcement.round, level, shard_of(self.peer_id, announcement.round, level))
        return bool(
            await self._node.store(
                key,
                subkey=self.peer_id,
                value=record,
                expiration_time=time.time() + RECORD_LIFETIME_SECONDS,
                beam_size=_REPLICAS,
            )
        )

    async def read(self, round: int, enough: int | None = None, *, wide: bool = True) -> list[Announcement]:
        """The announcements of a round: all of them, or from random shards until there are ``enough``.

        ``wide`` also looks at the neighbouring levels, where peers with another estimate of the swarm's size write;
        it is done only while there are too few. Never raises for what others wrote or for an unreachable network.
        """
        found: dict[str, Announcement] = {}
        for level in levels_to_read(self.size.level, wide=False):
            await self._read_level(round, level, enough, found, beam=_WIDE_READ if wide else _NARROW_READ)
        if wide and (enough is None or len(found) < enough):
            own = self.size.level or 0
            for level in levels_to_read(own, wide=True)[1:]:
                await self._read_level(round, level, enough, found, beam=_NARROW_READ)
        return list(found.values())

    async def survey(self, round: int) -> list[Announcement]:
        """What one random shard of each plausible level held in a round that is over: who is there, and how many.

        This is how a peer that knows nobody yet finds the level at which the swarm writes, in one batch of reads.
        """
        levels = levels_to_read(self.size.level, wide=True)
        shards = [(level, self._rng.randrange(1 << level)) for level in levels]
        found: dict[str, Announcement] = {}
        await self._read_shards(round, shards, found, beam=_WIDE_READ)
        return list(found.values())

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

    async def _read_level(
        self, round: int, level: int, enough: int | None, found: dict[str, Announcement], *, beam: int
    ) -> None:
        shards = [(level, shard) for shard in range(1 << level)]
        self._rng.shuffle(shards)
        # With a number to reach, one shard usually holds it; without, there is no reason to go one by one.
        step = _KEYS_PER_READ if enough is None else 1
        for start in range(0, len(shards), step):
            if enough is not None and len(found) >= enough:
                return
            await self._read_shards(round, shards[start : start + step], found, beam=beam)

    async def _read_shards(
        self, round: int, shards: list[tuple[int, int]], found: dict[str, Announcement], *, beam: int
    ) -> None:
        keys = {self._key(round, level, shard): (level, shard) for level, shard in shards}
        values = await self._node.get_many(list(keys), sufficient_expiration_time=_NEVER_SUFFICIENT, beam_size=beam)
        counts: dict[int, list[int]] = {}
        for key, place in keys.items():
            entry = values.get(key)
            here = self._announcements_in(entry.value if entry is not None else None, round, place)
            found.update({announcement.peer_id: announcement for announcement in here})
            counts.setdefault(place[0], []).append(len(here))
        for level, sizes in counts.items():
            self.size.observe(round, level=level, shards_read=len(sizes), found=sum(sizes))

    def _announcements_in(self, shard: object, round: int, place: tuple[int, int]) -> list[Announcement]:
        if not isinstance(shard, dict):
            return []
        level, index = place
        announcements = []
        for subkey, entry in shard.items():
            signed: SignedAnnouncement | None = self._validator.announcement_in(entry.value, subkey=subkey)
            if signed is None or signed.level != level:
                continue
            announcement = signed.announcement
            is_at_home = (announcement.swarm_id, announcement.round) == (self._swarm_id, round)
            if is_at_home and shard_of(announcement.peer_id, round, level) == index:
                announcements.append(announcement)
        return announcements

    def _key(self, round: int, level: int, shard: int) -> str:
        return record_key(self._swarm_id, round, level, shard)

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
