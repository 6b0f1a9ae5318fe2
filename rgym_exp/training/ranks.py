"""The wires between the processes of one peer: messages over gloo, tensors over NCCL on GPUs and over gloo elsewhere.

These are process groups of our own, not torch's default one: libraries that find a default group take the run for one
that they are to distribute (accelerate, TRL, vLLM), and every one of them would have to be told otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor
from torch.distributed import PrefixStore, ProcessGroupGloo, Store
from torch.distributed.rendezvous import rendezvous

from rgym_exp.config.launch import Launch
from rgym_exp.errors import SwarmUserError
from rgym_exp.training.orders import Message, decode, encode

# Between two orders lies a round, and a swarm may pause for days; a process that died is noticed by its connection.
_LONGEST_WAIT = timedelta(days=365)
_LENGTH, _BODY = 0, 1
_LOOPBACK = "127.0.0.1"


class RankLost(SwarmUserError):
    """Another process of this peer is gone."""


class Ranks:
    """One process's connections to the others. Every call blocks until the other side takes part.

    Args:
        store: where the processes find each other.
        one_machine: listen on loopback only.
    """

    def __init__(self, store: Store, *, rank: int, size: int, one_machine: bool = True) -> None:
        self.rank = rank
        self.size = size
        self._store = store
        self._one_machine = one_machine
        with _naming("A process of this peer"):
            self._words: Any = self._gloo("words")
        self._numbers: Any = self._words

    @classmethod
    def join(cls, launch: Launch) -> Ranks:
        """Meet the other processes of a launcher, at the address that it left in the environment."""
        store, _, _ = next(iter(rendezvous("env://", launch.rank, launch.size, timeout=_LONGEST_WAIT)))
        restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        return cls(
            PrefixStore(f"rl-swarm/{restart}", store),
            rank=launch.rank,
            size=launch.size,
            one_machine=launch.local_size == launch.size,
        )

    def use(self, device: str) -> None:
        """Tensors will be on this kind of device; every rank calls it, once."""
        if device == "cuda":
            self._numbers = self._nccl()

    def send(self, to: int, message: Message) -> None:
        """Hand a message to one rank.

        Raises:
            RankLost: it is gone.
        """
        body = torch.frombuffer(bytearray(encode(message)), dtype=torch.uint8)
        with _naming(f"Process {to} of this peer"):
            self._words.send([torch.tensor([len(body)])], to, _LENGTH).wait()
            self._words.send([body], to, _BODY).wait()

    def receive(self, source: int) -> Any:
        """The next message of one rank.

        Raises:
            RankLost: it is gone.
        """
        length = torch.zeros(1, dtype=torch.long)
        with _naming(f"Process {source} of this peer"):
            self._words.recv([length], source, _LENGTH).wait()
            body = torch.empty(int(length), dtype=torch.uint8)
            self._words.recv([body], source, _BODY).wait()
        return decode(body.numpy().data)

    def spread(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite every rank's tensors by rank 0's."""
        self._all(self._numbers.broadcast(tensor.detach(), 0) for tensor in tensors)

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Leave the sum of every rank's tensors in rank 0's; what the others hold afterwards is undefined."""
        self._all(self._numbers.reduce(tensor.detach(), 0) for tensor in tensors)

    def _all(self, works: Iterable[Any]) -> None:
        with _naming("A process of this peer"):
            for work in list(works):
                work.wait()

    # Any: torch's stubs know neither these groups' options nor that they are process groups.
    def _gloo(self, name: str) -> Any:
        if not self._one_machine:
            return ProcessGroupGloo(PrefixStore(name, self._store), self.rank, self.size, _LONGEST_WAIT)
        kind: Any = ProcessGroupGloo
        options = kind._Options()
        options._timeout = _LONGEST_WAIT
        # gloo would listen on the address of the host's name otherwise.
        options._devices = [kind.create_device(hostname=_LOOPBACK)]
        return kind(PrefixStore(name, self._store), self.rank, self.size, options)

    def _nccl(self) -> Any:
        if self._one_machine:
            os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
        # Looked up here: builds of torch without CUDA have no such group.
        kind: Any = torch.distributed.ProcessGroupNCCL
        return kind(PrefixStore("numbers", self._store), self.rank, self.size, kind.Options())


@contextmanager
def _naming(whom: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise RankLost(
            f"{whom} ended or cannot be reached. Its log (logs/rank-<n>.log, or logs/swarm.log of the first) says why; "
            f"the run goes on from the last checkpoint when you start it again. ({str(error).splitlines()[0]})"
        ) from error
