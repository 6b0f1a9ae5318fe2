"""Asking a hub over HTTP, for those who run on the host's machine or have joined."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rgym_exp.config.shallow_json import shallow_json
from rgym_exp.config.web import open_url, read_capped
from rgym_exp.hub.hub_errors import HubError
from rgym_exp.hub.leaderboard_page import MAX_PEERS_SHOWN, Page, page_from_json

MAX_ANSWER_BYTES = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What an HTTP server said."""

    body: bytes
    date: str | None
    """Its ``Date`` header."""


def fetch(url: str, *, timeout_seconds: float = 3.0, data: bytes | None = None) -> Answer:
    """GET (or, with data, POST as JSON) of at most MAX_ANSWER_BYTES, within the time.

    Raises a HubError that says why there is no answer. An error status counts as no answer.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise HubError(f"{url} is no http or https address.")
    headers = {"User-Agent": "rl-swarm", **({"Content-Type": "application/json"} if data else {})}
    try:
        request = urllib.request.Request(url, data=data, headers=headers)
        with open_url(request, timeout_seconds=timeout_seconds) as answer:
            body = read_capped(answer, max_bytes=MAX_ANSWER_BYTES, timeout_seconds=timeout_seconds)
            date = answer.headers.get("Date")
    except urllib.error.HTTPError as error:
        raise HubError(f"{url} answered with status {error.code}.") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise HubError(f"{url} does not answer ({reason}).") from error
    if len(body) > MAX_ANSWER_BYTES:
        raise HubError(f"{url} answers with more than {MAX_ANSWER_BYTES} bytes, which no hub does.")
    return Answer(body=body, date=date)


def hub_status(hub_url: str, *, timeout_seconds: float = 3.0) -> Mapping[str, Any]:
    """The hub's ``/status``; raises a HubError when there is no hub there."""
    url = f"{hub_url.rstrip('/')}/status"
    body = fetch(url, timeout_seconds=timeout_seconds).body
    try:
        answer = shallow_json(body)
    except ValueError as error:
        raise HubError(f"{url} answers, but not as a hub of RL Swarm does.") from error
    if not isinstance(answer, dict) or "swarm_id" not in answer:
        raise HubError(f"{url} answers, but not as a hub of RL Swarm does.")
    return answer


def hub_invite(hub_url: str, *, timeout_seconds: float = 3.0) -> str:
    """The hub's invite as text; raises a HubError when there is no hub there."""
    url = f"{hub_url.rstrip('/')}/invite"
    text = fetch(url, timeout_seconds=timeout_seconds).body.decode("utf-8", "replace").strip()
    if not text.startswith("rlswarm"):
        raise HubError(f"{url} answers, but not as a hub of RL Swarm does.")
    return text


def hub_leaderboard(hub_url: str, *, limit: int = MAX_PEERS_SHOWN, timeout_seconds: float = 3.0) -> Page:
    """The first peers of the hub's leaderboard; raises a HubError when there is none."""
    url = f"{hub_url.rstrip('/')}/leaderboard?limit={limit}"
    body = fetch(url, timeout_seconds=timeout_seconds).body
    try:
        return page_from_json(shallow_json(body))
    except ValueError as error:
        raise HubError(f"{url} answers, but not as a hub of RL Swarm does.") from error
