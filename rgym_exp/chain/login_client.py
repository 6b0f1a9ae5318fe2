"""The login server's REST, as a node calls it: bounded answers, and every failure as one of ``login_errors``.

web3 is not imported here: who only asks for the login needn't pay for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import requests
from urllib3.exceptions import NewConnectionError

from rgym_exp.base.called import as_called
from rgym_exp.base.http_client import fetch
from rgym_exp.base.shallow_json import shallow_json
from rgym_exp.base.text import one_line
from rgym_exp.chain.coordinator import ChainError
from rgym_exp.chain.login_errors import (
    LoginServerAway,
    LoginServerTrouble,
    NotLoggedIn,
    TokenRefused,
    WriteRefused,
)

ANSWER_SECONDS = 10.0
"""For what the server knows by itself."""
WRITE_SECONDS = 180.0
"""A write is answered when the chain has included it: after those of the account's other nodes, and replaced twice."""
MAX_ANSWER_BYTES = 64 * 1024
SERVICE = "rl-swarm-login"

Activation = Literal["activated", "pending", "expired"]
Route = Literal["register-peer", "submit-reward", "submit-winner", "guess-answer", "claim-reward"]

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_HASH = re.compile(r"0x[0-9a-fA-F]{64}")
_REFUSALS = (400, 413, 415, 422)
"""Statuses that the same request would meet again."""


@dataclass(frozen=True, kw_only=True)
class LoginHealth:
    """What the server at an address is."""

    version: str
    wallet: str
    """``local`` or ``alchemy``."""
    chain_id: int
    contract: str | None
    """The SwarmCoordinator that its writes go to."""
    market: str | None
    """The PredictionMarket that its bets go to."""
    data_dir: str
    """SHA-256, in hex, of the absolute path of its data folder: tells one's own server from others."""


@dataclass(frozen=True, kw_only=True)
class LoginAccount:
    """Who is logged in."""

    org_id: str
    address: str | None
    """The account that owns the peers; None until a key was activated."""
    activation: Activation
    expires_at: float | None
    """When the key ends, seconds since the epoch; None where it doesn't."""
    email: str | None
    """Told only to those who have the token."""


class LoginClient:
    """One login server, asked over HTTP. Nothing is asked before the first call. Safe to use from several threads."""

    def __init__(
        self,
        base_url: str,
        token_file: Path | None,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        write_seconds: float = WRITE_SECONDS,
    ) -> None:
        """``base_url`` ends in ``/api``, with a slash or without. ``token_file`` None: the server wants no token."""
        self.base_url = base_url.rstrip("/")
        self.page_url = self.base_url.removesuffix("/api")
        """What people open in a browser."""
        self._token_file = token_file
        self._answer_seconds = answer_seconds
        self._write_seconds = write_seconds

    def health(self) -> LoginHealth:
        """What serves there. Raises LoginServerAway or LoginServerTrouble; ChainError when it is something else."""
        try:
            status, answer = self._exchange("health", None, self._headers(posts=False, with_token=False))
            if status != 200:
                if self._told_otherwise(status, answer):
                    raise self._not_a_login_server()
                raise self._failure(status, answer)
        except NotLoggedIn as error:
            raise self._not_a_login_server() from error
        match answer:
            case {
                "service": str(service),
                "version": str(version),
                "wallet": str(wallet),
                "chainId": int(chain_id),
                "contract": str() | None as contract,
                "dataDir": str(data_dir),
                **more,
            } if service == SERVICE:
                market = more.get("market")
                return LoginHealth(
                    version=version,
                    wallet=wallet,
                    chain_id=chain_id,
                    contract=contract,
                    market=market if isinstance(market, str) else None,
                    data_dir=data_dir,
                )
        raise self._not_a_login_server()

    def account(self) -> LoginAccount | None:
        """Who is logged in; None when nobody is.

        Raises LoginServerAway, LoginServerTrouble, TokenRefused; ChainError when it is no login server of ours.
        """
        try:
            answer = self._ask("account", None)
        except NotLoggedIn as error:
            raise self._not_a_login_server() from error
        if answer is None:
            return None
        match answer:
            case {
                "orgId": str(org_id),
                "address": (str() | None) as address,
                "activation": "activated" | "pending" | "expired" as activation,
                "expiresAt": (int() | float() | None) as expires_at,
                **more,
            } if address is None or _ADDRESS.fullmatch(address):
                email = more.get("email")
                return LoginAccount(
                    org_id=org_id,
                    address=address,
                    activation=cast(Activation, activation),
                    expires_at=None if expires_at is None else float(expires_at),
                    email=email if isinstance(email, str) else None,
                )
        raise self._senseless("who is logged in")

    def write(self, route: Route, body: Mapping[str, Any]) -> str:
        """Have the server make a transaction; its hash (0x-hex), once the chain has included it.

        A registration of a peer that is the account's already gets a hash of zeros, and needs no transaction.

        Raises WriteRefused, NotLoggedIn, LoginServerAway, LoginServerTrouble, TokenRefused.
        """
        match self._ask(route, body):
            case {"hash": str(hash)} if _HASH.fullmatch(hash):
                return hash
        raise self._senseless("what became of a transaction")

    def _ask(self, route: str, body: Mapping[str, Any] | None, *, with_token: bool = True) -> Any:
        """GET, or POST where there is a body; the parsed answer of status 200. Raises as the public methods say."""
        try:
            content = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise WriteRefused(f"its values aren't text ({error.reason})") from error
        status, said = self._exchange(route, content, self._headers(content is not None, with_token))
        if status == 200:
            return said
        raise self._failure(status, said)

    def _exchange(self, route: str, content: bytes | None, headers: dict[str, str]) -> tuple[int, Any]:
        url = f"{self.base_url}/{route}"
        seconds = self._answer_seconds if content is None else self._write_seconds
        try:
            answer = fetch(
                url,
                data=content,
                headers=headers,
                max_bytes=MAX_ANSWER_BYTES,
                timeout_seconds=seconds,
                connect_seconds=self._answer_seconds,
                # Neither a proxy nor a .netrc of the environment may see or replace the token.
                trust_env=False,
            )
            return answer.status, _parsed(answer.body) if answer.status != 200 else shallow_json(answer.body)
        except requests.exceptions.RequestException as error:
            if isinstance(error, requests.exceptions.ReadTimeout):
                raise LoginServerTrouble(
                    f"The login server at {self.page_url} gave no answer within {seconds:.0f} s. Its chain may be "
                    "slow; asked again shortly. The file logs/yarn.log of the node that started it may say more."
                ) from error
            raise LoginServerAway(
                f"No login server answers at {self.page_url} ({type(error).__name__}). `{as_called('login')}` starts "
                "it "
                "again, as every run of a node with a browser login does.",
                is_unheard=_is_unheard(error),
            ) from error
        except ValueError as error:
            raise self._senseless(f"an answer at all ({error})") from error

    def _headers(self, posts: bool, with_token: bool) -> dict[str, str]:
        headers = {"accept": "application/json", "user-agent": "rl-swarm"}
        if posts:
            headers["content-type"] = "application/json"
        token = self._token() if with_token else None
        if token:
            headers["authorization"] = f"Bearer {token}"
        return headers

    def _token(self) -> str | None:
        """Read at every call: a server that was started anew may have a new one. None when there is none to read."""
        if self._token_file is None:
            return None
        try:
            token = self._token_file.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise TokenRefused(
                f"The login server's token {self._token_file} can't be read ({error}). It belongs to the user who "
                "started the server: run the node as that user."
            ) from error
        return token if token.isprintable() else None

    def _failure(self, status: int, said: Any) -> Exception:
        """The error for an answer other than 200."""
        match said:
            case {"error": str(error)}:
                reason = one_line(error)
            case _:
                reason = ""
        told = f": {reason}" if reason else ""
        if status in _REFUSALS and reason:
            return WriteRefused(reason)
        if status == 404 and not reason:
            return self._senseless("why it has no such page")
        if status == 404:
            return NotLoggedIn(
                f"Nobody is logged in at {self.page_url} any more as the user whose account this node uses, or the "
                f"login has run out. Log in again at {self.page_url} with the same email (`{as_called('login')}` "
                "prints the "
                "address with its token); what is owed waits in the outbox."
            )
        if status in (401, 403, 421):
            file = f"the token in {self._token_file}" if self._token_file is not None else "a caller without a token"
            return TokenRefused(
                f"The login server at {self.page_url} doesn't accept {file} (status {status}{told}). It may be a "
                f"server of another checkout or user: stop that one, or start yours with `{as_called('login')}`."
            )
        return LoginServerTrouble(
            f"The login server at {self.page_url} has trouble (status {status}{told}); asked again shortly."
        )

    def _told_otherwise(self, status: int, said: Any) -> bool:
        """Whether a server that is no login server says that it has no such page, or nobody may see it."""
        return 400 <= status < 500 and not (isinstance(said, dict) and isinstance(said.get("error"), str))

    def _senseless(self, wanted: str) -> LoginServerTrouble:
        return LoginServerTrouble(
            f"What answers at {self.page_url} doesn't say {wanted}, as a login server does. Another program may have "
            f"taken its port: `{as_called('login')}` starts the server on a free one."
        )

    def _not_a_login_server(self) -> ChainError:
        return ChainError(
            f"What answers at {self.page_url} isn't a login server of this version. Another program may have taken its "
            f"port: `{as_called('login')}` starts the server on a free one (LOGIN_PORT chooses it)."
        )


def _parsed(body: bytes) -> Any:
    """A failure's words; None when they aren't JSON: its status says enough."""
    try:
        return shallow_json(body)
    except ValueError:
        return None


def _is_unheard(error: requests.exceptions.RequestException) -> bool:
    """Whether it failed before the request could go out. requests tells only by what it wraps."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(error, requests.exceptions.ConnectTimeout) or isinstance(reason, NewConnectionError)
