"""A small internet of network namespaces: a hub in public, homes behind routers with NAT, delay and loss between them.

Real processes talk over it with the kernel's own TCP. Nothing leaves the namespaces, and all of them end with the lab.
It needs root, ``/dev/net/tun``, ``ip``, ``nft`` and a C compiler: ``missing`` names what is not there.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
SWITCH_SOURCE = ROOT / "tests" / "network" / "wan.c"

_END_SECONDS = 10.0
_PREFIX = "rls-"
_LABS = itertools.count()


@dataclass(frozen=True, kw_only=True)
class Link:
    """What the line between a place and the internet is like, in each direction."""

    delay_ms: float = 0.0
    loss_percent: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a process runs: a namespace, and its own address there."""

    namespace: str
    address: str


def missing() -> str:
    """Why this machine can't have a lab, as a sentence; empty when it can."""
    if not sys.platform.startswith("linux"):
        return "Network namespaces are Linux's."
    lacks = [program for program in ("ip", "nft", "sysctl", "cc") if shutil.which(program) is None]
    if os.geteuid() != 0:
        return "Making network namespaces needs root: run the tests of tests/network as root to have them run."
    if not Path("/dev/net/tun").exists():
        return "This machine has no /dev/net/tun, through which the lab's switch sees frames."
    if lacks:
        return f"The lab needs {', '.join(lacks)}: install iproute2, nftables, procps and a C compiler."
    made = f"{_PREFIX}{os.getpid():x}f-probe"
    if subprocess.run(["ip", "netns", "add", made], capture_output=True, check=False).returncode != 0:
        return "This machine does not let us make network namespaces (a container without CAP_SYS_ADMIN?)."
    _run("ip", "netns", "del", made)
    return ""


class NetworkLab:
    """A hub in public and homes behind NAT; a context manager that leaves nothing behind.

    IPv4: the hub is 45.33.0.1, the routers 45.33.0.11 and on; every home's network is 192.168.1.0/24, as homes' are.
    With ``ipv6`` there is no NAT and no IPv4: the hub is 2a01:7e00::1, the homes 2a01:7e00::b and on, all in public.
    """

    def __init__(
        self,
        folder: Path,
        *,
        homes: int = 2,
        publics: int = 1,
        link: Link | None = None,
        ipv6: bool = False,
        forwarded_port: int | None = None,
    ) -> None:
        """``link`` is every home's line; the hub, and what else is in public, has one without delay or loss.

        ``forwarded_port`` is a TCP port that the routers let through to the homes, as people set routers to do.
        """
        self._folder = folder
        self._publics = publics
        self._links = [*([Link()] * publics), *([link or Link()] * homes)]
        self._ipv6 = ipv6
        self._forwarded_port = forwarded_port
        # Whose it is, for ``_sweep``; names of interfaces have 15 characters at most.
        self._tag = f"{os.getpid():x}{next(_LABS) % 16:x}"
        self._namespaces: list[str] = []
        self._switch: subprocess.Popen[str] | None = None
        self._processes: list[subprocess.Popen[bytes]] = []
        self.publics: list[Place] = []
        self.homes: list[Place] = []

    def __enter__(self) -> NetworkLab:
        _sweep()
        try:
            self._start_switch()
            for number in range(self._publics):
                self.publics.append(self._public_place(f"public{number}", number, 1 + number))
            for number in range(self._publics, len(self._links)):
                home = self._public_place if self._ipv6 else self._home_behind_router
                self.homes.append(home(f"home{number}", number, 10 + number))
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    @property
    def hub(self) -> Place:
        """Where the hub runs."""
        return self.publics[0]

    def start(
        self, place: Place, command: Sequence[str], *, output: Path, environ: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Start a process at a place, its output appended to a file; it ends with the lab at the latest."""
        with output.open("ab") as file:
            process = subprocess.Popen(
                ["ip", "netns", "exec", place.namespace, *command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environ},
            )
        self._processes.append(process)
        return process

    def _start_switch(self) -> None:
        program = self._folder / "wan"
        _run("cc", "-O1", "-o", str(program), str(SWITCH_SOURCE))
        words = [
            word
            for number, link in enumerate(self._links)
            for word in (self._tap(number), str(link.delay_ms), str(link.loss_percent))
        ]
        self._switch = subprocess.Popen([program, *words], stdout=subprocess.PIPE, text=True)
        assert self._switch.stdout is not None
        if self._switch.stdout.readline() != "ready\n":
            raise RuntimeError("The lab's switch did not start; it says why above.")

    def _tap(self, number: int) -> str:
        return f"w{self._tag}t{number}"

    def _public_place(self, name: str, number: int, last: int) -> Place:
        """A namespace on the internet itself."""
        namespace, tap = self._namespace(name), self._tap(number)
        address = f"2a01:7e00::{last:x}" if self._ipv6 else f"45.33.0.{last}"
        _run("ip", "link", "set", tap, "netns", namespace)
        if not self._ipv6:
            _run("ip", "netns", "exec", namespace, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
        options = ("nodad",) if self._ipv6 else ()  # no second of silence while the kernel looks for a twin
        _run("ip", "-n", namespace, "addr", "add", f"{address}/{64 if self._ipv6 else 24}", "dev", tap, *options)
        _run("ip", "-n", namespace, "link", "set", tap, "up")
        # What lies outside is answered with "unreachable" at once elsewhere, and with silence on the real internet.
        _run("ip", "-n", namespace, *(("-6",) if self._ipv6 else ()), "route", "add", "default", "dev", tap)
        return Place(namespace=namespace, address=address)

    def _home_behind_router(self, name: str, number: int, last: int) -> Place:
        """A namespace behind another one that masquerades, and drops what nobody inside asked for, as routers do."""
        router, home = self._public_place(f"router{number}", number, last), self._namespace(name)
        outside, inside, device = self._tap(number), f"w{self._tag}r{number}", f"w{self._tag}h{number}"
        _run("ip", "link", "add", device, "type", "veth", "peer", "name", inside)
        for interface, namespace, address in ((device, home, "192.168.1.2"), (inside, router.namespace, "192.168.1.1")):
            _run("ip", "link", "set", interface, "netns", namespace)
            _run("ip", "-n", namespace, "addr", "add", f"{address}/24", "dev", interface)
            _run("ip", "-n", namespace, "link", "set", interface, "up")
        _run("ip", "-n", home, "route", "add", "default", "via", "192.168.1.1")
        _run("ip", "netns", "exec", router.namespace, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        rules = _ROUTER_RULES.format(outside=outside, inside=inside)
        if self._forwarded_port is not None:
            rules += _FORWARDING_RULES.format(outside=outside, port=self._forwarded_port)
        _run("ip", "netns", "exec", router.namespace, "nft", "-f", "-", input=rules)
        return Place(namespace=home, address="192.168.1.2")

    def _namespace(self, name: str) -> str:
        namespace = f"{_PREFIX}{self._tag}-{name}"
        _run("ip", "netns", "add", namespace)
        self._namespaces.append(namespace)
        _run("ip", "-n", namespace, "link", "set", "lo", "up")
        return namespace

    def _end(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait(_END_SECONDS)
        if self._switch is not None:
            self._switch.kill()
            self._switch.wait(_END_SECONDS)
            assert self._switch.stdout is not None
            self._switch.stdout.close()
        for namespace in self._namespaces:
            _remove(namespace)


def _sweep() -> None:
    """Remove the namespaces of a test run that was killed, and so could not."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False)
    for namespace in (line.split()[0] for line in listed.stdout.splitlines() if line.startswith(_PREFIX)):
        owner = namespace.removeprefix(_PREFIX).partition("-")[0][:-1]
        if not Path("/proc", str(int(owner, 16))).exists():
            _remove(namespace)


def _remove(namespace: str) -> None:
    """Remove a namespace and whatever still runs in it, such as the p2pd of a process that was killed just now."""
    listed = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False)
    for pid in listed.stdout.split():
        subprocess.run(["kill", "-KILL", pid], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)


_ROUTER_RULES = """
table ip translation {{
    chain after {{
        type nat hook postrouting priority srcnat
        oifname "{outside}" masquerade
    }}
}}
table ip wall {{
    chain through {{
        type filter hook forward priority 0; policy drop
        ct state established,related accept
        iifname "{inside}" accept
    }}
    chain to_the_router {{
        type filter hook input priority 0; policy accept
        ct state established,related accept
        iifname "{outside}" drop
    }}
}}
"""

_FORWARDING_RULES = """
table ip translation {{
    chain before {{
        type nat hook prerouting priority dstnat
        iifname "{outside}" tcp dport {port} dnat to 192.168.1.2
    }}
}}
table ip wall {{
    chain through {{
        ct status dnat accept
    }}
}}
"""


def _run(*command: str, input: str | None = None) -> None:
    done = subprocess.run(command, input=input, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"`{' '.join(command)}` failed: {done.stderr.strip() or done.stdout.strip()}")
