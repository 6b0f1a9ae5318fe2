"""A peer that knows the protocols well and means ill."""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from rgym_exp.config.invite import Invite
from rgym_exp.swarm.dht_records import DhtRecords
from rgym_exp.swarm.identity import load_or_create_identity
from rgym_exp.swarm.loop_thread import LoopThread
from rgym_exp.swarm.shards import record_key
from rgym_exp.swarm.transfer import HERE, NOT_HERE, PROTOCOL
from rgym_exp.types import Announcement
from tests.support.letter_tasks import LetterTasks

_CALL_SECONDS = 60.0


class HostilePeer:
    """Announces, signed and all, whatever a test wants, and serves whatever a test wants to whoever asks.

    A context manager; its daemon ends with it.
    """

    def __init__(self, folder: Path, invite: Invite) -> None:
        self._invite = invite
        self._shares: dict[bytes, bytes] = {}
        self._loop = LoopThread("hostile")
        self.identity = load_or_create_identity(folder / "hostile.pem")
        self.peer_id = self.identity.peer_id
        records = DhtRecords.create(
            identity=self.identity, swarm_id=invite.swarm_id, bootnodes=invite.bootnodes, first_contact_seconds=30
        )
        self._records = self._loop.call(records, _CALL_SECONDS)
        self._loop.call(self._records.p2p.add_binary_stream_handler(PROTOCOL, self._serve), _CALL_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call(self._records.close(), _CALL_SECONDS)
        self._loop.end()

    async def _serve(self, info: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = self._shares.get(await reader.readexactly(32))
        writer.write(NOT_HERE if data is None else HERE + len(data).to_bytes(4, "big") + data)
        await writer.drain()
        writer.close()

    def announcement(self, round: int, data: bytes, **false_words: Any) -> Announcement:
        """What an honest peer would say of these bytes, but for the false words."""
        truth = Announcement(
            swarm_id=self._invite.swarm_id,
            round=round,
            listed=round,
            peer_id=self.peer_id,
            share_digest=hashlib.sha256(data).hexdigest(),
            share_size=len(data),
            group_count=2,
            tasks_digest=LetterTasks.DIGEST,
            model_name="hostile",
            account="",
            mean_reward=1.0,
            time=time.time(),
        )
        return replace(truth, **false_words)

    def announce(self, announcement: Announcement, served: bytes | None) -> None:
        """Publish an announcement in order, and serve these bytes (None: nothing) to those who ask for its share."""
        if served is not None:
            self._shares[bytes.fromhex(announcement.share_digest)] = served
        self._loop.call(self._records.publish(announcement), _CALL_SECONDS)

    def publish(self, round: int, value: object, *, subkey: object) -> None:
        """Write anything at all where the announcements of a round are."""
        # The DHT itself lets only announcements through, so this goes round it.
        writing = self._records._node.store(
            record_key(self._invite.swarm_id, round, 0, 0), value, time.time() + 600, subkey=subkey
        )
        self._loop.call(writing, _CALL_SECONDS)
