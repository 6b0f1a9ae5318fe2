"""The real exchange: libp2p for the bytes, a DHT for the announcements, on one asyncio loop in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from hivemind.p2p.p2p_daemon_bindings.utils import P2PDaemonError

from rgym_exp.base.swarm_clock import SwarmClock
from rgym_exp.errors import SwarmError
from rgym_exp.swarm.announcement import MAX_DIGEST_BYTES
from rgym_exp.swarm.dht_records import DhtRecords
from rgym_exp.swarm.exchange import Drops, KnownPeers, SharesDealtWith
from rgym_exp.swarm.fetching import SlowServers
from rgym_exp.swarm.gathering import RoundGathering
from rgym_exp.swarm.identity import load_or_create_identity
from rgym_exp.swarm.lasting_records import LastingRecords
from rgym_exp.swarm.loop_thread import LoopThread
from rgym_exp.swarm.publishing import leave_notices, prepare
from rgym_exp.swarm.shards import Slice
from rgym_exp.swarm.share_routes import ShareRoutes
from rgym_exp.swarm.transfer import ShareServer, ShareStore
from rgym_exp.swarm.verify import ShareRules
from rgym_exp.types import MAX_SWARM_ID_BYTES, Announcement, ReceivedShare, Share

_START_SECONDS = 60.0
_CLOSE_SECONDS = 15.0
_LEAVE_NOTICE_SECONDS = 3.0
# For all of a leave, a new daemon for it included.
_LEAVE_SECONDS = 30.0
_LONGEST_PAUSE_SECONDS = 30.0

logger = logging.getLogger("rl_swarm.swarm")


class LibP2PExchange:
    """An ``Exchange`` over libp2p. Constructed means started; a bootnode that is away is looked for in the background.

    Raises:
        SwarmError: the daemon can't start (port taken, ...) or a bootnode address is malformed.
        IdentityError: the identity file can't be used.
    """

    def __init__(
        self,
        *,
        identity_path: Path,
        swarm_id: str,
        tasks_digest: str,
        max_slots: int,
        num_generations: int | None,
        host: str = "127.0.0.1",
        port: int = 0,
        announce: Sequence[str] = (),
        bootnodes: Sequence[str] = (),
        max_share_bytes: int = 4 * 1024 * 1024,
        max_text_chars: int = 65_536,
        fetches_at_once: int = 4,
        fetch_timeout_seconds: float = 20.0,
        clock: SwarmClock | None = None,
    ) -> None:
        _check_names(swarm_id, tasks_digest)
        self._identity = load_or_create_identity(Path(identity_path))
        self.peer_id = self._identity.peer_id
        self._rules = ShareRules(
            swarm_id=swarm_id,
            tasks_digest=tasks_digest,
            max_slots=max_slots,
            num_generations=num_generations,
            max_text_chars=max_text_chars,
            max_share_bytes=max_share_bytes,
        )
        self._host, self._port = host, port
        self._announce, self._bootnodes = list(announce), list(bootnodes)
        self._fetches_at_once = fetches_at_once
        self._routes = ShareRoutes(max_bytes=max_share_bytes, timeout_seconds=fetch_timeout_seconds)
        self._clock = clock or SwarmClock()
        self._drops = Drops()
        self._known = KnownPeers(self.peer_id)
        self._dealt_with = SharesDealtWith()
        self._slow_servers = SlowServers()
        self._store = ShareStore()
        self._server = ShareServer(self._store)
        self._newest: Announcement | None = None
        self._current: RoundGathering | None = None
        self._is_closed = False
        self._close_lock = threading.Lock()

        self._loop = LoopThread("rl-swarm-exchange")
        try:
            self._lasting = self._loop.call(LastingRecords.create(self._open_records), _START_SECONDS)
        except TimeoutError as error:
            self._loop.end()
            raise SwarmError(f"The peer-to-peer network did not start within {_START_SECONDS:.0f} s.") from error
        except BaseException:
            self._loop.end()
            raise
        # A node outlives a crash of its p2pd.
        self._loop.soon(lambda: self._loop.spawn(self._lasting.keep(self._publish_again)))

    def start_gathering(self, round: int) -> LibP2PGathering:
        """See ``Exchange``."""
        gathering = RoundGathering(
            round=round,
            records=self,
            fetch=self._fetch,
            rules=self._rules,
            known=self._known,
            dealt_with=self._dealt_with,
            slow_servers=self._slow_servers,
            drops=self._drops,
            own_peer_id=self.peer_id,
            fetches_at_once=self._fetches_at_once,
            rng=random.Random(),
        )
        if not self._is_closed:
            self._loop.soon(self._begin, gathering)
        return LibP2PGathering(self, gathering)

    def publish(
        self, share: Share, *, swarm_round: int, model_name: str, account: str, mean_reward: float
    ) -> Announcement:
        """See ``Exchange``."""
        data, announcement = prepare(
            share,
            author=self.peer_id,
            rules=self._rules,
            swarm_round=swarm_round,
            model_name=model_name,
            account=account,
            mean_reward=mean_reward,
            now=self._clock.now(),
        )
        if not self._is_closed:
            self._loop.soon(self._offer, data, announcement)
        return announcement

    def dropped(self) -> Mapping[str, int]:
        """See ``Exchange``."""
        return self._drops.take()

    def ways(self) -> Mapping[str, str]:
        """See ``Exchange``."""
        return self._routes.take_ways()

    def peers(self) -> Sequence[str]:
        """See ``Exchange``."""
        return self._known.newest_first()

    def visible_maddrs(self) -> list[str]:
        """Addresses under which others can reach this peer."""
        return self._records.visible_maddrs()

    def close(self) -> None:
        """See ``Exchange``."""
        with self._close_lock:
            if self._is_closed:
                return
            self._is_closed = True
            try:
                self._loop.call(self._shut_down(), _LEAVE_SECONDS)
            except TimeoutError:
                logger.warning("Leaving the swarm took over %.0f s; its daemon may linger a while.", _LEAVE_SECONDS)
            self._loop.end()

    def finish(
        self, gathering: RoundGathering, timeout_seconds: float, enough_shares: int, swarm_round: int | None
    ) -> list[ReceivedShare]:
        """End a gathering for the node's thread; empty once the exchange is closed."""
        if self._is_closed:
            return []
        work = gathering.finish(timeout_seconds=timeout_seconds, enough_shares=enough_shares, swarm_round=swarm_round)
        try:
            return self._loop.call(work, timeout_seconds + _CLOSE_SECONDS)
        except TimeoutError:
            logger.warning("The gathering of round %d could not be ended in order.", gathering.round)
            return []

    # Below here everything runs on the loop.

    @property
    def level(self) -> int:
        """The current DHT node's (the daemon may have been restarted)."""
        return self._records.level

    async def read(self, round: int, *parts: Slice, thorough: bool = True) -> list[Announcement]:
        """See ``level``."""
        return await self._records.read(round, *parts, thorough=thorough)

    async def survey(self, round: int) -> list[Announcement]:
        """See ``level``."""
        return await self._records.survey(round)

    async def _open_records(self) -> DhtRecords:
        records = await DhtRecords.create(
            identity=self._identity,
            swarm_id=self._rules.swarm_id,
            host=self._host,
            port=self._port,
            announce=self._announce,
            bootnodes=self._bootnodes,
            on_drop=self._drops.add,
            clock=self._clock,
        )
        try:
            await self._server.start(records.p2p)
        except BaseException as error:
            await records.close()
            if isinstance(error, (P2PDaemonError, OSError, EOFError)):
                raise SwarmError(f"The peer-to-peer daemon (p2pd) ended right after its start: {error}") from error
            raise
        return records

    @property
    def _records(self) -> DhtRecords:
        return self._lasting.current

    def _publish_again(self) -> None:
        if self._newest is not None:
            self._loop.spawn(self._keep_publishing(self._newest))

    def _begin(self, gathering: RoundGathering) -> None:
        if self._current is not None:
            self._loop.spawn(self._current.stop())
        self._current = gathering
        self._lasting.set_round(gathering.round)
        gathering.start()

    def _offer(self, data: bytes, announcement: Announcement) -> None:
        self._store.put(announcement.round, data)
        self._newest = announcement
        self._loop.spawn(self._keep_publishing(announcement))

    async def _keep_publishing(self, announcement: Announcement) -> None:
        """Publish an announcement, trying again until it holds or a newer one takes its place."""
        pause = 0.3
        while announcement is self._newest:
            try:
                if await self._records.publish(announcement):
                    return
            except ValueError as error:
                logger.error("This round's share can't be announced: %s", error)
                return
            except Exception:
                # The DHT library fails in many ways while daemon or network are away: tried again shortly.
                logger.debug("Announcing failed.", exc_info=True)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _fetch(self, announcement: Announcement) -> bytes:
        return await self._routes.fetch(self._records.p2p, announcement, self._records.bootnodes)

    async def _shut_down(self) -> None:
        if self._current is not None:
            await self._current.stop()
        await self._loop.stop_spawned()
        await self._publish_leave_notices()
        await self._records.close()

    async def _publish_leave_notices(self) -> None:
        """Tell the others not to wait for this peer."""
        last, self._newest = self._newest, None
        if last is None:
            return  # nobody knows of this peer
        reached = self._current.round if self._current is not None else last.round
        notices = leave_notices(last, reached=reached, now=self._clock.now())
        await self._publish_once(notices)
        try:
            # systemd's SIGTERM goes to every process of a service: the daemon may have been gone before us. What was
            # published then is kept by nobody but this peer, so it is asked afterwards.
            if await self._lasting.replace_if_stopped():
                logger.info("The peer-to-peer daemon (p2pd) had ended already; a new one publishes the leave notice.")
                await self._publish_once(notices)
        except SwarmError as error:
            logger.debug("The leave notice did not get through: %s", error)

    async def _publish_once(self, notices: Sequence[Announcement]) -> None:
        try:
            async with asyncio.timeout(_LEAVE_NOTICE_SECONDS):
                await asyncio.gather(*(self._records.publish(notice) for notice in notices))
        except Exception:
            # The DHT library fails in many ways while daemon or network are away; the others then wait in vain.
            logger.debug("The leave notice did not get through.", exc_info=True)


class LibP2PGathering:
    """The node's end of a ``RoundGathering`` (see ``Gathering``)."""

    def __init__(self, exchange: LibP2PExchange, gathering: RoundGathering) -> None:
        self._exchange = exchange
        self._gathering = gathering
        self._result: list[ReceivedShare] | None = None

    def close(
        self, *, timeout_seconds: float, enough_shares: int, swarm_round: int | None = None
    ) -> list[ReceivedShare]:
        """See ``Gathering``."""
        if self._result is None:
            self._result = self._exchange.finish(self._gathering, timeout_seconds, enough_shares, swarm_round)
        return list(self._result)


def _check_names(swarm_id: str, tasks_digest: str) -> None:
    for name, text, limit in (
        ("swarm id", swarm_id, MAX_SWARM_ID_BYTES),
        ("tasks digest", tasks_digest, MAX_DIGEST_BYTES),
    ):
        if not text.isprintable() or len(text.encode()) > limit:
            raise SwarmError(f"The {name} {text!r} does not fit into announcements: printable, at most {limit} bytes.")
