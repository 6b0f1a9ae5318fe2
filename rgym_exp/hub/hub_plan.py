"""What a hub is going to be: its options, its record and its ports, checked before anything heavy is loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from urllib.parse import urlsplit

from rgym_exp.base.called import as_called
from rgym_exp.base.lock import file_lock
from rgym_exp.config.paths import Home
from rgym_exp.config.validate import is_http_url
from rgym_exp.errors import HubError
from rgym_exp.hub.addresses import http_url, reachable_host, require_free
from rgym_exp.hub.client_address import Network, trusted_networks
from rgym_exp.hub.hub_record import HubRecord, load_record, new_swarm_id
from rgym_exp.hub.keeper import RoundLimits

DEFAULT_PORT = 8600
DEFAULT_P2P_PORT = 38600
DEFAULT_RPC_PORT = 8645
"""Of the hub's own chain, on loopback."""

_STARTER_TASKS = "starter"


@dataclass(frozen=True, kw_only=True)
class HubOptions:
    """What the host chose. None: as this hub was last time, else the default."""

    host: str = "127.0.0.1"
    """Address that the API and the bootnode listen on. The devnet always listens on loopback."""
    public_host: str | None = None
    """Name or address that joiners are told; also that of the bootnode behind a ``public_url``."""
    public_url: str | None = None
    """What invites name as the hub, where a reverse proxy stands before its API: ``https://swarm.example.org``."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of reverse proxies, whose X-Forwarded-For is believed."""
    port: int | None = None
    p2p_port: int | None = None
    rpc_port: int | None = None
    """The devnet's; any free one when the default is taken, for only this machine uses it."""
    tasks: str | None = None
    model_name: str | None = None
    limits: RoundLimits = RoundLimits()
    rpc_url: str | None = None
    """A chain of the host's choice instead of the devnet."""
    contract: str | None = None
    """An existing SwarmCoordinator on that chain, of which the owner key is stage manager."""
    judge: bool = True
    """Whether this hub asks its peers questions and scores their answers."""
    market: bool = True
    """Whether it runs a prediction market. Its clues are told by the judge, so there is none without."""


@dataclass(frozen=True, kw_only=True)
class HubPlan:
    """A hub that can be started: nobody else has its home or its ports."""

    home: Home
    options: HubOptions
    record: HubRecord
    public_host: str
    """Name or address that joiners are told for the bootnode."""
    hub_url: str
    """What joiners are told for the API."""
    trusted_proxies: tuple[Network, ...] = ()


@contextmanager
def planned(home: Home, options: HubOptions) -> Iterator[HubPlan]:
    """Make the plan, and keep other hubs out of this home for as long as the context lasts.

    Raises a HubError that says what is in the way.
    """
    with _only_hub_of(home):
        record = _record(home, options)
        trusted_proxies = trusted_networks(options.trusted_proxies)
        public_url = _public_url(options.public_url)
        _require_ports(options, record)
        public_host = reachable_host(
            options.host, options.public_host or (public_url and urlsplit(public_url).hostname)
        )
        yield HubPlan(
            home=home,
            options=options,
            record=record,
            public_host=public_host,
            hub_url=public_url or http_url(public_host, record.port),
            trusted_proxies=trusted_proxies,
        )


@contextmanager
def _only_hub_of(home: Home) -> Iterator[None]:
    """Hold the home's hub lock; raises a HubError when another hub has it. The system frees it however we end."""
    home.hub.mkdir(parents=True, exist_ok=True, mode=0o700)
    with file_lock(home.hub / "hub.lock") as held:
        if held is None:
            raise HubError(
                f"Another hub already runs from {home.root}. Use that one (`{as_called('invite')}` shows its invite), "
                "stop "
                f"it first, or give this one a folder of its own with `--home DIR`."
            )
        yield


def _record(home: Home, options: HubOptions) -> HubRecord:
    """This hub's record: what it was, changed by what the host now asks for."""
    known = load_record(home.hub / "hub.json") or HubRecord(
        swarm_id=new_swarm_id(),
        tasks=_STARTER_TASKS,
        model_name=_default_model(_STARTER_TASKS),
        port=DEFAULT_PORT,
        p2p_port=DEFAULT_P2P_PORT,
    )
    tasks = _known_tasks(options.tasks) if options.tasks else known.tasks
    record = dataclasses.replace(
        known,
        tasks=tasks,
        model_name=options.model_name or (known.model_name if tasks == known.tasks else _default_model(tasks)),
        port=options.port or known.port,
        p2p_port=options.p2p_port or known.p2p_port,
        rpc_url=options.rpc_url or known.rpc_url,
        contract=options.contract or known.contract,
    )
    if record.rpc_url != known.rpc_url and options.contract is None:
        record = dataclasses.replace(record, contract=None, market=None)
    return record


def _public_url(url: str | None) -> str | None:
    """The address as invites name it, without a slash at its end. Raises a HubError for what no joiner could use."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        plain = parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)
        good = plain and not parts.username and is_http_url(url) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise HubError(
            f"--public-url {url} is no address of a web server. Name what joiners reach, as https://swarm.example.org "
            "(a path is fine, a user, a query or a fragment is not)."
        )
    return url.rstrip("/")


def _default_model(tasks: str) -> str:
    """The starter tasks suit the small model that needs no model hub; for others each joiner's hardware decides."""
    return "SmolLM2-135M-Instruct" if tasks == _STARTER_TASKS else "auto"


def _known_tasks(name: str) -> str:
    """The name of a tasks file that every joiner has too; raises a HubError for any other, with the names there are."""
    folder = files("rgym_exp.config").joinpath("tasks")
    names = sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    if name not in names:
        raise HubError(
            f"--tasks {name} is none of {', '.join(names)}. An invite can only name tasks that joiners have as well: "
            f"files in rgym_exp/config/tasks."
        )
    return name


def _require_ports(options: HubOptions, record: HubRecord) -> None:
    """Name a taken port before anything is started."""
    require_free(options.host, record.port, option="--port", purpose="the hub's HTTP API")
    require_free(options.host, record.p2p_port, option="--p2p-port", purpose="the bootnode")
    if options.rpc_port is not None and record.rpc_url is None:
        require_free("127.0.0.1", options.rpc_port, option="--rpc-port", purpose="the hub's chain")
